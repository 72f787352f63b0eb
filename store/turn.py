"""One writer after another, each for the moment that its transaction takes.

SQLite lets its writers try again after growing pauses, so that one process can keep another from its
turn for long. The kernel wakes whoever waits for a `flock` as soon as it is free. Those that do not
ask here still have SQLite's own lock to wait for.
"""

import fcntl
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from .durable import let_go
from .errors import disk_error


class Turn:
    """Enter it to have the turn; not by two threads at once. Blocking."""

    def __init__(self, path: Path) -> None:
        """Make the file, if need be, that those who share the turn have in common.

        Raises:
            StoreUnavailableError, StoreFullError: the file cannot be made.
        """
        try:
            self._descriptor: int | None = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error) from error

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._descriptor is not None:
            let_go(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        self._flock(fcntl.LOCK_EX)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flock(fcntl.LOCK_UN)

    def _flock(self, operation: int) -> None:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, operation)
        except OSError as error:
            raise disk_error(error) from error
