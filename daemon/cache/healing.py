"""A reader that outlives its copy: a piece found damaged is read from a new copy, mid-stream."""

from collections.abc import Awaitable, Callable

from ..source import HeldFile
from ..whole_read import WholeRead
from .copy_reader import CopyReader
from .errors import DamagedError
from .streamed import StreamedReader

Reopen = Callable[[int, DamagedError], Awaitable[CopyReader | StreamedReader]]
"""Opens the blob anew, with this piece of it verified."""


class HealingReader:
    """A blob, open for reading by one task."""

    def __init__(
        self, reader: CopyReader, size: int, reopen: Reopen, note_verified: Callable[[], None]
    ) -> None:
        """`note_verified` is told when all pieces were read in order from the first."""
        self._reader: CopyReader | StreamedReader = reader
        self._size = size
        self._reopen = reopen
        self._note_verified = note_verified
        self._whole = WholeRead(size)

    @property
    def size(self) -> int:
        """Bytes of the blob."""
        return self._size

    def hold(self) -> HeldFile | None:
        """Return the copy's file, in use; None while the bytes come straight from the store."""
        return self._reader.hold() if isinstance(self._reader, CopyReader) else None

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index`, verified; see `PieceReader.read_piece`."""
        try:
            view = await self._reader.read_piece(index)
        except DamagedError as error:
            await self.close()
            self._reader = await self._reopen(index, error)
            view = await self._reader.read_piece(index)
        if self._whole.note(index):
            self._note_verified()
        return view

    async def close(self) -> None:
        """Let go of the copy. May be called twice."""
        if isinstance(self._reader, StreamedReader):
            await self._reader.close()
        else:
            self._reader.close()
