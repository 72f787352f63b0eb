"""Reading a copy: each piece checked in the very buffer it leaves from, on every read."""

import contextlib
import mmap

from coatcheck.protocol import CHECKSUM_BYTES, PIECE_BYTES, Digest, piece_checksum, piece_count
from coatcheck.store import PieceBuffers

from .errors import DamagedError, GoneError
from .files import CacheFiles, OpenCopy
from .rows import Copy
from .threads import Threads


class CopyReader:
    """A copy, open for reading by one task; it stays as long as it is open."""

    def __init__(
        self, copy: Copy, file: OpenCopy, seed: int, buffers: PieceBuffers, threads: Threads
    ) -> None:
        self._copy = copy
        self._file = file
        self._seed = seed
        self._buffers = buffers
        self._threads = threads
        self._buffer: mmap.mmap | None = None
        self._lent: memoryview | None = None
        self._loaded: int | None = None

    @classmethod
    async def open(
        cls,
        copy: Copy,
        files: CacheFiles,
        seed: int,
        buffers: PieceBuffers,
        threads: Threads,
        first_piece: int,
    ) -> "CopyReader":
        """Open a copy and check one piece, in one turn of a thread.

        Raises:
            GoneError: the file is gone.
            DamagedError: it has another size, or the piece is damaged.
        """

        def work() -> "CopyReader":
            file = _opened(files, copy.digest)
            reader = cls(copy, file, seed, buffers, threads)
            try:
                if file.size != copy.size:
                    raise DamagedError(f"{copy.digest} has {file.size} bytes")
                reader._load(first_piece)
            except BaseException:
                reader.close()
                raise
            return reader

        opened = await threads.open(work)
        assert opened is not None
        return opened

    def hold(self) -> OpenCopy:
        """Return the copy, which stays until that is closed, too."""
        return self._file.twin()

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self._copy.size

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index`, verified; the view is good until the next call.

        Raises:
            DamagedError: it is not what was fetched.
        """
        if not 0 <= index < piece_count(self.size):
            raise IndexError(f"a blob of {self.size} bytes has no piece {index}")
        if index != self._loaded:
            await self._threads.run(lambda: self._load(index))
        assert self._buffer is not None
        self._lent = memoryview(self._buffer)[: self._piece_bytes(index)].toreadonly()
        return self._lent

    def close(self) -> None:
        """Let go of the copy. May be called twice; not while `read_piece` runs."""
        self._file.close()
        if self._lent is not None:
            with contextlib.suppress(BufferError):  # a slice of it is still being sent
                self._lent.release()
        buffer, self._buffer = self._buffer, None
        self._loaded = None
        if buffer is not None:
            self._buffers.give_back(buffer)

    def _load(self, index: int) -> None:
        self._loaded = None
        if self._buffer is None:
            self._buffer = self._buffers.take()
        with memoryview(self._buffer)[: self._piece_bytes(index)] as piece:
            try:
                count = self._file.read_into(index * PIECE_BYTES, piece)
            except OSError as error:
                raise DamagedError(f"{self._copy.digest} cannot be read: {error}") from error
            wanted = self._copy.checksums[index * CHECKSUM_BYTES :][:CHECKSUM_BYTES]
            if count != piece.nbytes or piece_checksum(piece, self._seed) != wanted:
                raise DamagedError(f"piece {index} of {self._copy.digest} is damaged")
        self._loaded = index

    def _piece_bytes(self, index: int) -> int:
        return min(PIECE_BYTES, self.size - index * PIECE_BYTES)


def _opened(files: CacheFiles, digest: Digest) -> OpenCopy:
    try:
        file = files.open(digest)
    except OSError as error:
        raise DamagedError(f"{digest} cannot be opened: {error}") from error
    if file is None:
        raise GoneError(f"{digest} is gone")
    return file
