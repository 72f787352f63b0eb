"""Uploads in parts in memory, which end with their process."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from coatcheck.protocol import Buffer, Digest

from .errors import StoreUnavailableError

if TYPE_CHECKING:
    from .memory_backend import MemoryBackend


class MemoryParts:
    """The `Parts` of a `MemoryBackend`."""

    def __init__(self, backend: "MemoryBackend") -> None:
        self._backend = backend
        self._parts: dict[str, bytearray] = {}
        self._locked: set[str] = set()

    def part(self, upload_id: str) -> "MemoryPart":
        """Return an upload's part; see `Parts.part`."""
        return MemoryPart(upload_id, self._backend, self._parts, self._locked)

    def list(self) -> Sequence[str]:
        """Return the ids of uploads with a part; see `Parts.list`."""
        return list(self._parts)

    def size_of(self, upload_id: str) -> int | None:
        """Return how many bytes a part has; see `Parts.size_of`."""
        data = self._parts.get(upload_id)
        return None if data is None else len(data)

    def remove(self, upload_id: str) -> None:
        """Remove a part; see `Parts.remove`."""
        self._backend.reserve(-len(self._parts.pop(upload_id, b"")))


class MemoryPart:
    """A `Part` over a bytearray. Its bytes stay reserved until it is removed."""

    def __init__(
        self,
        upload_id: str,
        backend: "MemoryBackend",
        parts: dict[str, bytearray],
        locked: set[str],
    ) -> None:
        self._id = upload_id
        self._backend = backend
        self._parts = parts
        self._locked = locked
        self._is_locked = False
        self._reserved_bytes = 0  # on top of the bytes that are here

    async def lock(self) -> bool:
        """Become the one who writes; see `Part.lock`."""
        if self._id in self._locked:
            return False
        self._locked.add(self._id)
        self._is_locked = True
        self._parts.setdefault(self._id, bytearray())
        return True

    async def reserve(self, more_bytes: int) -> None:
        """Set room aside; see `Part.reserve`."""
        self._reserve(more_bytes)

    async def resume(self, size: int) -> bool:
        """Drop what lies behind `size`; see `Part.resume`."""
        data = self._data()
        if (beyond := len(data) - size) > 0:
            del data[size:]
            self._backend.reserve(-beyond)
        return len(data) == size

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append; see `Part.write`."""
        data = self._data()
        count = sum(map(len, parts))
        self._reserve(count)
        self._reserved_bytes -= count
        for part in parts:
            data += part
        await asyncio.get_running_loop().run_in_executor(None, beside)

    async def sync(self) -> None:
        """Do nothing: there is no disk; see `Part.sync`."""

    async def read(self, offset: int, buffer: memoryview, take: Callable[[int], object]) -> None:
        """Read; see `Part.read`."""
        part = memoryview(self._data())[offset : offset + buffer.nbytes]
        buffer[: part.nbytes] = part
        await asyncio.get_running_loop().run_in_executor(None, take, part.nbytes)

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Make it a blob; see `Part.commit`."""
        assert not rest, "a part is written before it is committed"
        self._backend.put(digest, memoryview(self._data()).toreadonly())

    async def remove(self) -> None:
        """Remove the part; see `Part.remove`."""
        self._backend.reserve(-len(self._parts.pop(self._id, b"")))

    async def close(self) -> None:
        """Let others lock it; see `Part.close`."""
        if self._is_locked:
            self._is_locked = False
            self._locked.discard(self._id)
        self._backend.reserve(-self._reserved_bytes)
        self._reserved_bytes = 0

    def _data(self) -> bytearray:
        data = self._parts.get(self._id)
        if data is None:  # by `MemoryParts.remove`, which waits for nobody
            raise StoreUnavailableError("the upload was removed meanwhile")
        return data

    def _reserve(self, more_bytes: int) -> None:
        if more_bytes > self._reserved_bytes:
            self._backend.reserve(more_bytes - self._reserved_bytes)
            self._reserved_bytes = more_bytes
