"""What is known of a server by an SDK's client, which meets the same images turn after turn."""

import secrets
import sys
from collections import OrderedDict
from threading import Lock

from coatcheck.protocol import FoundInline, NamedBytes, TakenText

from ..known import Known

_MAX_TEXTS = 4096  # some 300 bytes each

_Key = tuple[int, int, int, bool]


class SdkKnown(Known):
    """As `Known`; and a text that is met again is known by its length and its keyed hash alone.

    A string keeps its hash: an application that passes the same messages again pays nothing for their
    images. It is SipHash under a secret of this process, so that nobody can make two texts that have the
    same; where there is no secret, this is not done.
    """

    def __init__(self) -> None:
        super().__init__(secrets.randbits(64))
        self._is_keyed = bool(sys.flags.hash_randomization) and "siphash" in sys.hash_info.algorithm
        self._texts: OrderedDict[_Key, NamedBytes] = OrderedDict()
        self._lock = Lock()

    def name_bytes(self, found: FoundInline) -> NamedBytes | None:
        """Name inline bytes; see `Known.name_bytes`."""
        if not self._is_keyed:
            return super().name_bytes(found)
        text = found.text
        keyed = hash((text.head, text.content)) if isinstance(text, TakenText) else hash(text)
        key = (keyed, found.length, found.start, found.is_url_safe)
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
