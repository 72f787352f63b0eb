"""What each process on a data folder has set aside on its disk, for the others to see.

A number in a file beside the process's spool, which the next one to open the spool removes once its
owner is gone. It is read again at each reservation; two that reserve in the same moment may not see
each other.
"""

import contextlib
import os
from pathlib import Path

from .durable import let_go

_NAME = "reserved"
_BYTES = 8


class Reservations:
    """One process's number, and the sum of the others'. Blocking."""

    def __init__(self, spool: Path) -> None:
        """`spool` is the process's own folder among the spools; it goes with all that is in it.

        Raises:
            OSError: the file cannot be made.
        """
        self._root = spool.parent
        self._own = spool / _NAME
        self._descriptor: int | None = os.open(self._own, os.O_RDWR | os.O_CREAT, 0o600)
        self.note(0)

    def note(self, reserved_bytes: int) -> None:
        """Say how much this process has set aside and not yet written."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):  # others then count with what was said before
            os.pwrite(self._descriptor, reserved_bytes.to_bytes(_BYTES), 0)

    def of_others(self) -> int:
        """Return how much all other processes have set aside."""
        return sum(_read(path) for path in self._root.glob(f"*/{_NAME}") if path != self._own)

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            let_go(descriptor)


def _read(path: Path) -> int:
    try:
        return int.from_bytes(path.read_bytes())
    except FileNotFoundError:  # its owner has ended
        return 0
