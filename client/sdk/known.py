"""What is known of a server by an SDK's client, whose messages are Python's own strings."""

import secrets
import sys
from collections import OrderedDict
from threading import Lock

from coatcheck.protocol import FoundInline, NamedBytes, TakenText

from ..known import Known

_MAX_TEXTS = 4096  # some 300 bytes each

_Key = tuple[int, int, int, bool]


class SdkKnown(Known):
    """As `Known`; and a string that is met again is known by its keyed hash, which it keeps itself.

    Nothing is read of it then: an application that passes the same messages again pays nothing for their
    images. The hash is SipHash under a secret of this process; where it has none, this is not done.
    """

    def __init__(self) -> None:
        super().__init__(secrets.randbits(64))
        self._is_keyed = bool(sys.flags.hash_randomization) and "siphash" in sys.hash_info.algorithm
        self._texts: OrderedDict[_Key, NamedBytes] = OrderedDict()
        self._lock = Lock()

    def name_bytes(self, found: FoundInline) -> NamedBytes | None:
        """Name inline bytes; see `Known.name_bytes`."""
        text = found.text
        if not self._is_keyed or isinstance(text, TakenText):
            return super().name_bytes(found)
        key = (hash(text), len(text), found.start, found.is_url_safe)
        with self._lock:
            if (known := self._texts.get(key)) is not None:
                self._texts.move_to_end(key)
                return known
        if (named := super().name_bytes(found)) is not None:
            with self._lock:
                self._texts[key] = named
                if len(self._texts) > _MAX_TEXTS:
                    self._texts.popitem(last=False)
        return named
