"""One change at a time to the bytes of one blob."""

import asyncio
from weakref import WeakValueDictionary

from coatcheck.protocol import Digest


class DigestLocks:
    """A lock for each digest that somebody is working on."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    def of(self, digest: Digest) -> asyncio.Lock:
        """Return the lock that everybody who asks for this digest now shares."""
        return self._locks.setdefault(digest, asyncio.Lock())
