"""Buffers for one piece or slab each, used again instead of being allocated for each read.

A fresh buffer costs more page faults than the reading it is for, and what `malloc` gets back
from many threads it keeps: 32 readers of 2.6 MB at once grew the process by twice their buffers.
A buffer here is a mapping of its own. Only the pages that were filled exist, and a mapping that
is dropped is gone.
"""

import mmap
from collections import deque

from coatcheck.protocol import PIECE_BYTES

# Enough that a few readers at once never allocate; at most 16 MiB that nobody uses.
_KEPT = 4


class PieceBuffers:
    """Lends buffers of `size` bytes, any number at once. Safe across threads."""

    def __init__(self, size: int = PIECE_BYTES, *, kept: int = _KEPT) -> None:
        """Keep so many that nobody uses at the moment."""
        self._size = size
        self._free: deque[mmap.mmap] = deque(maxlen=kept)

    def take(self) -> mmap.mmap:
        """Return a buffer with any content."""
        try:
            return self._free.pop()
        except IndexError:
            return mmap.mmap(-1, self._size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def give_back(self, buffer: mmap.mmap) -> None:
        """End a loan. Beyond the few that are kept, the memory goes back to the system.

        A buffer that is still read through any view of it, or a slice of one, is not lent again;
        its memory goes back with the last view.
        """
        try:
            # Moves nothing: a mapping only refuses it while views of it live, and says so.
            buffer.resize(self._size)
        except BufferError:
            return
        self._free.append(buffer)
