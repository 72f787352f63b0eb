"""How many connections each process on one socket has, for all of them to see.

The kernel wakes every process that waits for a connection, and gives it to the first to ask. A few
clients that keep their connections would so end up in one process, while the others have nothing to
do. So a process that has more than another leaves the next one to others for a moment.

Slots of memory that the processes share, one each. A slot holds the count and one more; zero is a
process that accepts nothing, or none at all.
"""

import mmap
from typing import Final

_SLOT_BYTES: Final = 4
BALANCE_SLOTS: Final = 256  # of workers at most 64, twice during a reload, and again
BALANCE_BYTES: Final = BALANCE_SLOTS * _SLOT_BYTES
_SLACK: Final = 8


class Balance:
    """The table, as the process with one of the slots sees it."""

    def __init__(self, descriptor: int, slot: int) -> None:
        """`descriptor` is of memory of `BALANCE_BYTES`."""
        self._memory = mmap.mmap(descriptor, BALANCE_BYTES)
        self._counts = memoryview(self._memory).cast("I")
        self._slot = slot

    def report(self, connections: int) -> None:
        """Say how many connections this process has."""
        self._counts[self._slot] = connections + 1

    def leave(self) -> None:
        """Say that this process accepts nothing. May be called twice."""
        self._counts[self._slot] = 0

    @property
    def is_ahead(self) -> bool:
        """Whether another process has fewer connections, by more than an eighth of its own."""
        counts = self._counts.tolist()
        least = min(filter(None, counts), default=1) - 1
        return counts[self._slot] - 1 > least + least // _SLACK

    def close(self) -> None:
        """Let go of the memory. May be called twice."""
        self._counts.release()
        self._memory.close()
