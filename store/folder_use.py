"""Who has the databases of a folder open: a lock that all of them share.

Taking a damaged index away from a process that still writes to it would lose what it acknowledges. So
it is replaced only by who has it alone.
"""

import fcntl
import os
from pathlib import Path
from typing import Final, Self

from .durable import let_go
from .errors import disk_error

_NAME: Final = "users"


class FolderUse:
    """A share of the lock, from `open` until `close`. Blocking."""

    def __init__(self, descriptor: int) -> None:
        """Called by `open`."""
        self._descriptor: int | None = descriptor

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Take a share; waits while somebody has the folder alone.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        try:
            descriptor = os.open(folder / _NAME, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error) from error
        use = cls(descriptor)
        use._lock(fcntl.LOCK_SH)
        return use

    def be_alone(self) -> bool:
        """Have it alone until `share`, if nobody else has a share.

        To be called by one at a time, who keeps others from opening the folder meanwhile.
        """
        try:
            self._lock(fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock(fcntl.LOCK_SH)  # the kernel may have dropped it
            return False
        return True

    def share(self) -> None:
        """Let others have a share again."""
        self._lock(fcntl.LOCK_SH)

    def close(self) -> None:
        """Give the share back. May be called twice."""
        if self._descriptor is not None:
            let_go(self._descriptor)
            self._descriptor = None

    def _lock(self, operation: int) -> None:
        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, operation)
        except BlockingIOError:
            raise
        except OSError as error:
            raise disk_error(error) from error
