"""Chunks of any size on their way to the disk, joined until they are worth a turn of a thread.

A mebibyte is written and hashed in about a millisecond, beside which a turn costs nothing
(docs/decisions/0004).
"""

import mmap
from collections.abc import Awaitable, Callable
from typing import Final

from .piece_buffers import PieceBuffers

SLAB_BYTES: Final = 1024 * 1024
"""What one body holds in memory."""


class Slab:
    """Joins one body's chunks. What is handed on is not changed before the hand that took it is done."""

    def __init__(
        self, buffers: PieceBuffers, hand_on: Callable[[memoryview], Awaitable[None]]
    ) -> None:
        """`buffers` lends slabs of `SLAB_BYTES`, one to this, until it is closed."""
        self._buffers = buffers
        self._hand_on = hand_on
        self._slab: mmap.mmap | None = None
        self._filled_bytes = 0

    @property
    def is_begun(self) -> bool:
        """Whether anything was filled in."""
        return self._slab is not None

    async def fill(self, data: bytes | bytearray) -> None:
        """Take the next bytes, and hand on each slab that is full."""
        chunk = memoryview(data)
        if self._slab is None:
            self._slab = self._buffers.take()
        while chunk:
            part = chunk[: SLAB_BYTES - self._filled_bytes]
            end = self._filled_bytes + part.nbytes
            self._slab[self._filled_bytes : end] = part
            self._filled_bytes = end
            chunk = chunk[part.nbytes :]
            if end == SLAB_BYTES:
                await self.flush()

    async def flush(self) -> None:
        """Hand on what is left, if anything is."""
        if self._slab is None or not self._filled_bytes:
            return
        data = memoryview(self._slab)[: self._filled_bytes]
        self._filled_bytes = 0  # handed on once, whatever becomes of it
        await self._hand_on(data)
        data.release()

    def close(self) -> None:
        """Give the slab back, unless a cancelled write still reads it. May be called twice."""
        slab, self._slab = self._slab, None
        if slab is not None:
            self._buffers.give_back(slab)
