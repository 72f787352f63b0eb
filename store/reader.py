"""Verified reads.

1. No byte leaves that was not checked in the very buffer it leaves from, on every read; nothing
   is remembered across opens.
2. A reader has one buffer of at most one piece, whatever the blob's size.
3. A piece costs one turn in a thread; the first one is read in the same turn that opens the file.
4. A blob of one piece costs none where all of it is in memory: what neither waits nor takes as long as
   handing it to a thread is done at once (docs/decisions/0036-what-waits-for-nothing-needs-no-thread.md).
"""

import asyncio
import contextlib
import mmap
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from types import TracebackType
from typing import Self

from coatcheck.protocol import (
    CHECKSUM_BYTES,
    PIECE_BYTES,
    Digest,
    piece_checksum,
    piece_count,
)

from .backend import Backend, BlobFile, Filed
from .errors import CorruptBlobError, StoreUnavailableError
from .grant import Grant, HeldBlob
from .piece_buffers import PieceBuffers


class BlobReader:
    """A blob, open for reading by one task. Whoever opened it closes it."""

    def __init__(
        self,
        held: HeldBlob,
        seed: int,
        backend: Backend,
        buffers: PieceBuffers,
        executor: Executor,
        on_damage: Callable[[HeldBlob], Awaitable[None]],
    ) -> None:
        """Open nothing yet: `open` has to come first."""
        self._held = held
        self._seed = seed
        self._backend = backend
        self._buffers = buffers
        self._executor = executor
        self._on_damage = on_damage
        self._file: BlobFile | None = None
        self._buffer: mmap.mmap | None = None
        self._lent: memoryview | None = None
        self._loaded: int | None = None
        self._closed = False
        # A cancelled read may still be running in its thread when the next call comes.
        self._lock = threading.Lock()

    @property
    def grant(self) -> Grant:
        """The grant it was opened under, with media type and picture size."""
        return self._held.grant

    @property
    def digest(self) -> Digest:
        """The blob's name."""
        return self._held.grant.digest

    @property
    def size(self) -> int:
        """Bytes in all."""
        return self._held.grant.size

    @property
    def path(self) -> Path | None:
        """The plain file that it reads; None where the backend has none."""
        return self._backend.path_of(self.digest) if isinstance(self._backend, Filed) else None

    async def open(self, first_piece: int) -> Self:
        """Open the file and read one piece, which the next `read_piece` of it then has ready.

        Raises:
            CorruptBlobError: the file is gone, has another size, or the piece is damaged. The
                blob is in quarantine now.
            StoreUnavailableError: the file cannot be read.
        """
        try:
            await self._read(first_piece)
        except BaseException:
            await self.close()
            raise
        return self

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index` of the blob, verified: a read-only view, good until the next call.

        A piece has `PIECE_BYTES` bytes, the last one what is left. After the next read, or
        `close`, the memory has other bytes. Whoever keeps these longer, such as a transport with
        a full socket, has to copy them first.

        Raises:
            IndexError: the blob has no such piece.
            CorruptBlobError: the piece is damaged; the blob is in quarantine now.
            StoreUnavailableError: it cannot be read, or the reader was closed.
        """
        if not 0 <= index < piece_count(self.size):
            raise IndexError(f"a blob of {self.size} bytes has no piece {index}")
        if index != self._loaded:
            await self._read(index)
        assert self._buffer is not None
        self._lent = memoryview(self._buffer)[: self._piece_bytes(index)].toreadonly()
        return self._lent

    async def chunks(
        self, start: int = 0, stop: int | None = None, chunk_bytes: int = 1024 * 1024
    ) -> AsyncGenerator[memoryview]:
        """Yield the bytes from `start` up to and without `stop`, in views of up to this size.

        A view is good until the next one is asked for; see `read_piece`.

        Raises:
            CorruptBlobError, StoreUnavailableError: as `read_piece`, before a damaged byte.
        """
        stop = self.size if stop is None else min(stop, self.size)
        while start < stop:
            index, offset = divmod(start, PIECE_BYTES)
            piece = await self.read_piece(index)
            end = min(piece.nbytes, offset + stop - start)
            for at in range(offset, end, chunk_bytes):
                yield piece[at : min(at + chunk_bytes, end)]
            start += end - offset

    async def close(self) -> None:
        """Let go of the file and the buffer. May be called twice, also after the store's end."""
        if self._closed:
            return
        self._closed = True
        self._loaded = None
        if self._lock.acquire(blocking=False):
            # Closing a file that was only read waits for nothing, so it needs no thread; and the
            # next reader finds the buffer.
            try:
                self._shut()
            finally:
                self._lock.release()
            return
        try:  # a cancelled read still runs
            self._executor.submit(self._shut_after_read)
        except RuntimeError:  # the store was closed meanwhile, which waits for that read
            self._shut_after_read()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _read(self, index: int) -> None:
        self._loaded = None
        good = self._load_now(index)
        if good is None:
            loop = asyncio.get_running_loop()
            good = await loop.run_in_executor(self._executor, self._load, index)
        if not good:
            await self._on_damage(self._held)
            raise CorruptBlobError(self.digest)
        self._loaded = index

    def _load(self, index: int) -> bool:
        """Read a piece into the buffer and say whether it is what was stored. Blocking."""
        with self._lock:
            if self._closed:
                raise StoreUnavailableError("the reader is closed")
            if self._file is None:
                self._file = self._backend.open(self.digest)
            if self._file is None or self._file.size != self.size:
                return False
            piece = self._room(index)
            count = self._file.read_into(index * PIECE_BYTES, piece)
            return count == piece.nbytes and self._is_stored(index, piece)

    def _load_now(self, index: int) -> bool | None:
        """Do the same without waiting; None where that cannot be, or takes long."""
        if self.size > PIECE_BYTES or not self._lock.acquire(blocking=False):
            return None
        try:
            if self._closed:
                return None
            if self._file is None:
                self._file = self._backend.open_now(self.digest)
            if self._file is None or self._file.size != self.size:
                return None
            piece = self._room(index)
            count = self._file.read_now(index * PIECE_BYTES, piece)
            return self._is_stored(index, piece) if count == piece.nbytes else None
        finally:
            self._lock.release()

    def _room(self, index: int) -> memoryview:
        """Return where a piece is read to."""
        if self._buffer is None:
            self._buffer = self._buffers.take()
        return memoryview(self._buffer)[: self._piece_bytes(index)]

    def _is_stored(self, index: int, piece: memoryview) -> bool:
        """Say whether a piece is what was stored."""
        at = index * CHECKSUM_BYTES
        return piece_checksum(piece, self._seed) == self._held.checksums[at : at + CHECKSUM_BYTES]

    def _shut_after_read(self) -> None:
        with self._lock:
            self._shut()

    def _shut(self) -> None:
        if self._file is not None:
            self._file.close()
        if self._lent is not None:
            with contextlib.suppress(BufferError):  # a thread of the caller's still reads it
                self._lent.release()
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            self._buffers.give_back(buffer)

    def _piece_bytes(self, index: int) -> int:
        return min(PIECE_BYTES, self.size - index * PIECE_BYTES)
