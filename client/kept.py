"""Which prompts the server said it keeps: what lets a turn send only what is new.

A guess that turned out wrong costs one request, so entries need no expiry: the oldest make way.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from coatcheck.protocol import Digest

MAX_KEPT = 16_384  # about 3 MB; a conversation of 100 messages takes 100


class KeptPrompts:
    """A bounded set of prompt digests, least recently used first out. Safe for threads."""

    def __init__(self, max_entries: int = MAX_KEPT) -> None:
        self._max_entries = max_entries
        self._digests: OrderedDict[Digest, None] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, digests: Iterable[Digest]) -> None:
        """Add digests, the one of the longest list last.

        A prompt lives as long as its youngest descendant, so a list's prefixes are kept with it.
        """
        with self._lock:
            for digest in digests:
                self._digests[digest] = None
                self._digests.move_to_end(digest)
            while len(self._digests) > self._max_entries:
                self._digests.popitem(last=False)

    def forget(self, digests: Iterable[Digest]) -> None:
        """Remove digests, known or not."""
        with self._lock:
            for digest in digests:
                self._digests.pop(digest, None)

    def longest(self, digests: Sequence[Digest]) -> int:
        """Return how many messages of a list are kept, given the digest after each message."""
        with self._lock:
            for count in range(len(digests), 0, -1):
                if digests[count - 1] in self._digests:
                    return count
        return 0
