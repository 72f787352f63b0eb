"""Disk set aside for uploads before they write.

Each running upload counts with what it has reserved and not yet written, because the file
system only knows what was written. Reservations are counts, not preallocated blocks: other
programs may still fill the disk, and then the write itself reports it.

Safe across threads; asking the file system blocks.
"""

import errno
import os
import threading
from pathlib import Path

from .errors import StoreFullError
from .reservations import Reservations


class DiskSpace:
    """Reservations on the file system that holds a folder."""

    def __init__(
        self, folder: Path, min_free_bytes: int, reservations: Reservations | None = None
    ) -> None:
        """`reservations` where other processes write there too; they are closed with this."""
        self._reservations = reservations
        self._folder = folder
        self._min_free_bytes = min_free_bytes
        self._outstanding_bytes = 0
        self._lock = threading.Lock()

    def reserve(self, count: int) -> None:
        """Set bytes aside.

        Raises:
            StoreFullError: they do not fit beside the other uploads and the reserve.
            OSError: as `free_bytes`.
        """
        available = self._measure()
        with self._lock:
            if count > self._unreserved(available):
                raise StoreFullError
            self._outstanding_bytes += count
            self._tell()

    def give_back(self, count: int) -> None:
        """End the reservation of bytes that were written, or that never will be."""
        with self._lock:
            self._outstanding_bytes -= count
            self._tell()

    def close(self) -> None:
        """Tell the others no more. May be called twice."""
        with self._lock:
            if self._reservations:
                self._reservations.close()

    def free_bytes(self) -> int:
        """Return how much may still be reserved; not below zero.

        Raises:
            OSError: the file system does not answer, or takes no writes, as one that failed and
                was mounted anew for reading alone.
        """
        available = self._measure()
        with self._lock:
            return max(0, self._unreserved(available))

    def _measure(self) -> int:
        system = os.statvfs(self._folder)
        if system.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        reserved = self._reservations.of_others() if self._reservations else 0
        return system.f_bavail * system.f_frsize - reserved

    def _tell(self) -> None:
        if self._reservations:
            self._reservations.note(self._outstanding_bytes)

    def _unreserved(self, available: int) -> int:
        return available - self._outstanding_bytes - self._min_free_bytes


class Claim:
    """What one upload has set aside and not yet written. Used by one thread at a time; blocking."""

    def __init__(self, space: DiskSpace) -> None:
        self._space = space
        self._unwritten_bytes = 0

    def reserve(self, more_bytes: int) -> None:
        """See that so many bytes are set aside, for what will be written next.

        Raises:
            StoreFullError, OSError: as `DiskSpace.reserve`; what was set aside before stays.
        """
        if more_bytes > self._unwritten_bytes:
            self._space.reserve(more_bytes - self._unwritten_bytes)
            self._unwritten_bytes = more_bytes

    def wrote(self, count: int) -> None:
        """Say that so many bytes are written: the file system knows of them now."""
        self._unwritten_bytes -= count
        self._space.give_back(count)

    def end(self) -> None:
        """Give back what will never be written. May be called twice."""
        self._space.give_back(self._unwritten_bytes)
        self._unwritten_bytes = 0
