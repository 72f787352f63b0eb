"""A blob's plain file, open for reading."""

import os
import stat
from typing import Self

from .durable import let_go
from .errors import StoreUnavailableError, disk_error

_NOWAIT: int | None = getattr(os, "RWF_NOWAIT", None)  # of Linux


class DiskBlobFile:
    """A `BlobFile` over a descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor: int | None = descriptor
        self._size = size

    @classmethod
    def of(cls, descriptor: int) -> Self | None:
        """Return what was opened, which is its own now; None, and closed, where it is no plain file.

        Raises:
            OSError: the system does not say what it is; it is closed.
        """
        try:
            status = os.fstat(descriptor)
        except OSError:
            let_go(descriptor)
            raise
        if not stat.S_ISREG(status.st_mode):
            let_go(descriptor)
            return None
        return cls(descriptor, status.st_size)

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; see `BlobFile.read_into`."""
        if self._descriptor is None:
            raise StoreUnavailableError("the blob was closed while it was read")
        done = 0
        try:
            while done < buffer.nbytes:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise disk_error(error) from error
        return done

    def read_now(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer with what is in memory; see `BlobFile.read_now`.

        A file system that cannot say what is in memory (preadv2(2), `RWF_NOWAIT`) has nothing there.
        """
        if self._descriptor is None or _NOWAIT is None:
            return 0
        try:
            return os.preadv(self._descriptor, [buffer], offset, _NOWAIT)
        except OSError:
            return 0

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._descriptor is not None:
            let_go(self._descriptor)
            self._descriptor = None
