"""Disk set aside for uploads before they write.

Each running upload counts with what it has reserved and not yet written, because the file
system only knows what was written. Reservations are counts, not preallocated blocks: other
programs may still fill the disk, and then the write itself reports it.

Asking the file system blocks; counting does not and is done on the event loop, so that a
cancelled upload never leaves a reservation behind.
"""

import errno
import os
from pathlib import Path

from .errors import StoreFullError


class DiskSpace:
    """Reservations on the file system that holds a folder."""

    def __init__(self, folder: Path, min_free_bytes: int) -> None:
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._outstanding_bytes = 0

    def measure(self) -> int:
        """Ask the file system how many bytes it has left. Blocking.

        Raises:
            OSError: it does not answer, or takes no writes, as one that failed and was mounted
                anew for reading alone.
        """
        system = os.statvfs(self._folder)
        if system.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return system.f_bavail * system.f_frsize

    def reserve(self, count: int, available: int) -> None:
        """Set bytes aside, given what `measure` just said.

        Raises:
            StoreFullError: they do not fit beside the other uploads and the reserve.
        """
        if count > self.free_bytes(available):
            raise StoreFullError
        self._outstanding_bytes += count

    def give_back(self, count: int) -> None:
        """End the reservation of bytes that were written, or that never will be."""
        self._outstanding_bytes -= count

    def free_bytes(self, available: int) -> int:
        """Return how much of what `measure` said may still be reserved; not below zero."""
        return max(0, available - self._outstanding_bytes - self._min_free_bytes)
