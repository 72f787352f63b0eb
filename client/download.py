"""Bytes on their way in: hashed and counted as they come."""

import hashlib

from coatcheck.protocol import Digest

from .content import Progress
from .destination import Target
from .errors import DigestMismatchError


class Download:
    """A sink for one blob: `begin`, any number of `write` and `received`, `commit`; then `close`.

    `size` is what the caller expects, where it knows.
    """

    def __init__(
        self, digest: Digest, size: int | None, target: Target, progress: Progress | None = None
    ) -> None:
        self._digest = digest
        self._size = size
        self._target = target
        self._progress = progress
        self._sha256 = hashlib.sha256()
        self._taken = 0
        self._told = 0

    def begin(self, size: int | None) -> None:
        """Get the target ready.

        Raises:
            DigestMismatchError: the server announces another size than the caller expects.
            LocalFileError: the target cannot be written.
        """
        if None not in (size, self._size) and size != self._size:
            raise DigestMismatchError(f"{self._digest} has {self._size} bytes, not {size}")
        self._size = self._size if size is None else size
        self._target.open()

    def write(self, data: bytes) -> None:
        """Hash and pass on the next bytes.

        Raises:
            DigestMismatchError: there are more than announced.
            LocalFileError: they cannot be written.
            InvalidArgumentError: the caller's file is none for bytes.
        """
        self._taken += len(data)
        if self._size is not None and self._taken > self._size:
            raise DigestMismatchError(f"{self._digest} came with over {self._size} bytes")
        self._sha256.update(data)
        self._target.write(data)

    def received(self, count: int) -> None:
        """Count bytes that were written, and tell the caller."""
        self._told += count
        if self._progress:
            self._progress(self._told, self._told if self._size is None else self._size)

    def commit(self) -> bytes:
        """Check what came; return it, or leave it where it belongs and return nothing.

        Raises:
            DigestMismatchError: it is not the blob that was asked for.
            LocalFileError: it cannot be left there.
        """
        if self._taken != (self._taken if self._size is None else self._size):
            raise DigestMismatchError(f"{self._digest} came with {self._taken} bytes")
        if self._sha256.digest() != self._digest.raw:
            raise DigestMismatchError(f"other bytes came than {self._digest}")
        return self._target.commit()

    def close(self) -> None:
        """Let go; nothing is left but what was committed. May be called twice.

        Raises:
            LocalFileError: what was written so far cannot be removed.
        """
        self._target.close()
