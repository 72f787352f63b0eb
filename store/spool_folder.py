"""Temporary files that no crash leaves behind for good.

Every process that spools owns a folder and the lock in it. Whoever opens the spool next clears
the folders whose lock is free, because their owner is gone, and no others. One more lock, held
only meanwhile, keeps a new folder from being cleared before its owner has locked it.
"""

import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path

from .durable import make_folder
from .errors import StoreUnavailableError, disk_error
from .file_lock import FileLock


class SpoolFolder:
    """This process's own spool. Blocking."""

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self.folder = folder
        """Where what this process spools lies."""
        self._lock = lock
        self._count = 0

    @classmethod
    def open(cls, root: Path, random: Callable[[int], bytes]) -> "SpoolFolder":
        """Clear what dead owners left under `root` and make a folder of our own.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        try:
            make_folder(root)
            gate = FileLock.wait(root / "lock")
            try:
                _clear(root)
                folder = root / random(16).hex()
                folder.mkdir(mode=0o700)
                lock = FileLock.take(folder / "lock")
            finally:
                gate.close()
        except OSError as error:
            raise disk_error(error) from error
        if lock is None:
            raise StoreUnavailableError(f"{folder} was locked by another process")
        return cls(folder, lock)

    def new_path(self) -> Path:
        """Return a name that nothing has had; the file is the caller's to make and to remove."""
        self._count += 1
        return self.folder / f"{self._count}.part"

    def close(self) -> None:
        """Remove the folder with all that is in it. May be called twice."""
        _remove(self.folder)
        self._lock.close()


def _clear(root: Path) -> None:
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock.take(folder / "lock")
        if lock is not None:
            _remove(folder)
            lock.close()


def _remove(folder: Path) -> None:
    """Remove a folder; what is left of it is cleared when the spool is next opened."""
    with contextlib.suppress(OSError):  # rmtree ignores most errors, but not each one of stat
        shutil.rmtree(folder, ignore_errors=True)
