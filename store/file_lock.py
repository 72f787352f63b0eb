"""A lock that dies with its processes.

`flock` belongs to the open file, so the kernel drops it however the process ends; nothing
has to be cleaned up after a crash. A child that inherits the open file shares the lock: it is held
until the last of them has ended. The file itself stays: removing a lock file would let two
processes hold locks on two files of one name.
"""

import fcntl
import os
from pathlib import Path
from typing import Self

from .durable import let_go, make_folder
from .errors import FolderInUseError, StoreClosedError, disk_error


class FileLock:
    """An exclusive `flock` on a file, held from `take` or `wait` until `close`. Blocking."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` is an open file's with the lock, such as one inherited from a parent."""
        self._descriptor: int | None = descriptor

    @property
    def descriptor(self) -> int:
        """The open file, to be handed to a child.

        Raises:
            StoreClosedError: `close` was called before.
        """
        if self._descriptor is None:
            raise StoreClosedError
        return self._descriptor

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Lock the file, making it if need be; `None` when another process holds it.

        Raises:
            StoreUnavailableError, StoreFullError: the file cannot be made or locked.
        """
        return cls._lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @classmethod
    def wait(cls, path: Path) -> Self:
        """Lock the file as `take` does, but wait until the lock is free."""
        lock = cls._lock(path, fcntl.LOCK_EX)
        assert lock is not None
        return lock

    @classmethod
    def _lock(cls, path: Path, operation: int) -> Self | None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error) from error
        try:
            fcntl.flock(descriptor, operation)
        except BlockingIOError:
            let_go(descriptor)
            return None
        except OSError as error:
            let_go(descriptor)
            raise disk_error(error) from error
        return cls(descriptor)

    def close(self) -> None:
        """Give the lock back. May be called twice."""
        if self._descriptor is not None:
            let_go(self._descriptor)
            self._descriptor = None


def lock_folder(folder: Path) -> FileLock:
    """Take the right to serve a data folder, making the folder if need be. Blocking.

    Raises:
        FolderInUseError: somebody else has it.
        StoreFullError, StoreUnavailableError: the disk refused.
    """
    try:
        make_folder(folder)
    except OSError as error:
        raise disk_error(error) from error
    lock = FileLock.take(folder / "lock")
    if lock is None:
        raise FolderInUseError(folder)
    return lock
