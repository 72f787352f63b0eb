"""One data folder for several processes: the right to serve it, and what they tell each other.

A parent takes it and hands its descriptors down. The right lasts until the last process that has it
ends, however it ends.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .changes import CHANGES_BYTES
from .durable import let_go
from .errors import disk_error
from .file_lock import FileLock, lock_folder


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """Held from `take` or `inherit` until `close`. Every `Store` that is given it may be open."""

    lock: FileLock
    memory: int
    """The descriptor of the memory in which grants that changed are noted. It is no file on a disk:
    to write into one that is full would end the process."""

    @classmethod
    def take(cls, folder: Path) -> Self:
        """Take the right to serve a folder, making it if need be. Blocking.

        Raises:
            FolderInUseError: somebody else has it.
            StoreFullError, StoreUnavailableError: the disk or the system refused.
        """
        lock = lock_folder(folder)
        try:
            memory = os.memfd_create("coatcheck-changes")
        except OSError as error:
            lock.close()
            raise disk_error(error) from error
        os.ftruncate(memory, CHANGES_BYTES)
        return cls(lock, memory)

    @classmethod
    def inherit(cls, descriptors: tuple[int, int]) -> Self:
        """Return what a parent took, from the `descriptors` it handed down."""
        lock, memory = descriptors
        return cls(FileLock(lock), memory)

    @property
    def descriptors(self) -> tuple[int, int]:
        """What a child needs."""
        return self.lock.descriptor, self.memory

    def close(self) -> None:
        """Give up this process's part; once."""
        self.lock.close()
        let_go(self.memory)
