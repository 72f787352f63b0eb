"""Bytes that are at hand while a call runs, by their digest."""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Generator, Mapping
from contextlib import contextmanager

import xxhash

from coatcheck.protocol import Digest

_MAX_NAMED = 4096  # some 300 bytes each

_Key = tuple[int, int, bytes]


class Sources:
    """What calls that run now can upload, or put inline. Safe for threads.

    Nothing is copied, and nothing held longer than the calls that hold it.
    """

    def __init__(self) -> None:
        self._held: dict[Digest, tuple[bytes, int]] = {}
        self._named: OrderedDict[_Key, Digest] = OrderedDict()
        self._seed = secrets.randbits(64)
        self._lock = threading.Lock()

    @contextmanager
    def holding(self, blobs: Mapping[Digest, bytes]) -> Generator[None]:
        """Have them at hand within."""
        with self._lock:
            for digest, data in blobs.items():
                _, count = self._held.get(digest, (data, 0))
                self._held[digest] = (data, count + 1)
        try:
            yield
        finally:
            with self._lock:
                for digest in blobs:
                    data, count = self._held.pop(digest)
                    if count > 1:
                        self._held[digest] = (data, count - 1)

    @property
    def is_empty(self) -> bool:
        """Whether no call holds anything."""
        return not self._held

    def get(self, digest: Digest) -> bytes | None:
        """Return a blob's bytes, where a call holds them."""
        with self._lock:
            held = self._held.get(digest)
        return None if held is None else held[0]

    def digest_of(self, data: bytes) -> Digest:
        """Return the digest of bytes, without hashing again what was met lately.

        They are known again as texts are: see `client.familiar`.
        """
        key = (len(data), hash(data), xxhash.xxh3_128_digest(data, self._seed))
        with self._lock:
            if (known := self._named.get(key)) is not None:
                self._named.move_to_end(key)
                return known
        digest = Digest.of(data)
        with self._lock:
            self._named[key] = digest
            if len(self._named) > _MAX_NAMED:
                self._named.popitem(last=False)
        return digest
