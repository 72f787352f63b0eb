"""Blobs in memory, for tests and for stores that need not outlive their process.

Bytes are immutable once committed, so a blob that is open stays readable after it is moved aside
or replaced, as an open file does.
"""

import asyncio
import os
import threading
from collections.abc import Callable, Sequence

from coatcheck.protocol import Buffer, Digest

from .backend import Listing
from .body_spool import BodySpools
from .errors import StoreFullError, StoreUnavailableError
from .memory_parts import MemoryParts


class MemoryBackend:
    """A `Backend` and `Measured` over a dict.

    `capacity_bytes` bounds committed and spooled bytes together; `None` is what the
    machine has.
    """

    def __init__(self, capacity_bytes: int | None = None) -> None:
        if capacity_bytes is None:
            capacity_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        self._capacity_bytes = capacity_bytes
        self._blobs: dict[Digest, memoryview] = {}
        self._quarantined: dict[Digest, memoryview] = {}
        self._kept_bytes = 0
        self._reserved_bytes = 0
        self._lock = threading.Lock()  # bytes are removed in threads
        self.parts = MemoryParts(self)
        """Where uploads lie that come over several requests."""
        self.bodies = BodySpools(None, None)
        """Where bodies lie of which it is not known yet whose they are; not in memory either."""

    def spool(self) -> "MemorySpool":
        """Return a new, empty spool; see `Backend.spool`."""
        return MemorySpool(self)

    def open(self, digest: Digest) -> "MemoryBlobFile | None":
        """Return the blob's bytes; see `Backend.open`."""
        data = self._blobs.get(digest)
        return None if data is None else MemoryBlobFile(data)

    def open_now(self, digest: Digest) -> "MemoryBlobFile | None":
        """Return the blob's bytes; see `Backend.open_now`."""
        return self.open(digest)

    def quarantine(self, digest: Digest) -> None:
        """Move the blob aside; see `Backend.quarantine`."""
        with self._lock:
            data = self._blobs.pop(digest, None)
            if data is not None:
                self._kept_bytes -= len(self._quarantined.get(digest, b""))
                self._quarantined[digest] = data

    def remove(self, digest: Digest) -> None:
        """Remove the blob; see `Backend.remove`."""
        with self._lock:
            self._kept_bytes -= len(self._blobs.pop(digest, b""))

    def remove_quarantined(self, digest: Digest) -> None:
        """Remove what was moved aside; see `Backend.remove_quarantined`."""
        with self._lock:
            self._kept_bytes -= len(self._quarantined.pop(digest, b""))

    def sync_removed(self) -> None:
        """Do nothing: there is no disk."""

    def quarantined(self) -> Sequence[Digest]:
        """List what was moved aside; see `Backend.quarantined`."""
        return list(self._quarantined)

    def has_quarantined(self, digest: Digest) -> bool:
        """Say whether bytes were moved aside; see `Backend.has_quarantined`."""
        return digest in self._quarantined

    def listing(self, shard: int) -> Listing:
        """Return what lies in a shard; see `Backend.listing`."""
        begin = f"sha256:{shard:02x}"
        with self._lock:
            held = list(self._blobs.items())
        return Listing({str(name): len(data) for name, data in held if name.startswith(begin)})

    def free_bytes(self) -> int:
        """Return what uploads may still take; see `Measured.free_bytes`."""
        return max(0, self._capacity_bytes - self._kept_bytes - self._reserved_bytes)

    def close(self) -> None:
        """Forget every blob. May be called twice."""
        self._blobs.clear()
        self._quarantined.clear()
        self._kept_bytes = 0

    def reserve(self, count: int) -> None:
        """Set room aside, or give it back when negative; a spool's business."""
        if count > 0 and count > self.free_bytes():
            raise StoreFullError
        self._reserved_bytes += count

    def put(self, digest: Digest, data: memoryview) -> None:
        """Keep verified bytes, which nobody changes any more; a spool's business."""
        with self._lock:
            self._kept_bytes += len(data) - len(self._blobs.get(digest, b""))
            self._blobs[digest] = data


class MemorySpool:
    """A `Spool` over a bytearray."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._data = bytearray()
        self._reserved_bytes = 0

    async def reserve(self, total_bytes: int) -> None:
        """Set room aside; see `Spool.reserve`."""
        self._reserve(total_bytes)

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append; see `Spool.write`."""
        self._append(parts)
        await asyncio.get_running_loop().run_in_executor(None, beside)

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Make what was written a blob; see `Spool.commit`."""
        self._append(rest)
        # Handed over, not copied: that would stop the event loop for as long as the blob is large.
        data, self._data = self._data, bytearray()
        self._backend.put(digest, memoryview(data).toreadonly())
        await self.discard()

    async def discard(self) -> None:
        """Remove what is left; see `Spool.discard`."""
        self._backend.reserve(-self._reserved_bytes)
        self._reserved_bytes = 0
        self._data.clear()

    def _append(self, parts: Sequence[Buffer]) -> None:
        self._reserve(len(self._data) + sum(map(len, parts)))
        for part in parts:
            self._data += part

    def _reserve(self, total_bytes: int) -> None:
        more = total_bytes - self._reserved_bytes
        if more > 0:
            self._backend.reserve(more)
            self._reserved_bytes = total_bytes


class MemoryBlobFile:
    """A `BlobFile` over a blob's bytes."""

    def __init__(self, data: memoryview) -> None:
        self._data: memoryview | None = data
        self._size = len(data)

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; see `BlobFile.read_into`."""
        data = self._data
        if data is None:
            raise StoreUnavailableError("the blob was closed while it was read")
        part = data[offset : offset + buffer.nbytes]
        buffer[: part.nbytes] = part
        return part.nbytes

    def read_now(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; see `BlobFile.read_now`."""
        return 0 if self._data is None else self.read_into(offset, buffer)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        self._data = None
