"""Bytes on their way in: checked before anybody sees them.

A file appears at its path whole and verified, or not at all: it grows under a temporary name
beside it and is renamed. What stood there before stays until then.
"""

import hashlib
import io
import os
from itertools import count
from pathlib import Path
from typing import BinaryIO

from coatcheck.protocol import Digest

from .errors import DigestMismatchError, LocalFileError


class Download:
    """A sink for one blob: `begin`, any number of `write`, then `commit`; always `close`.

    `size` is what the caller expects, where it knows; `to` is None for bytes in memory.
    """

    def __init__(self, digest: Digest, size: int | None, to: Path | None) -> None:
        self._digest = digest
        self._size = size
        self._to = to
        self._temporary: Path | None = None
        self._file: BinaryIO = io.BytesIO()
        self._sha256 = hashlib.sha256()
        self._received = 0

    def begin(self, size: int | None) -> None:
        """Open the temporary file.

        Raises:
            DigestMismatchError: the server announces another size than the caller expects.
            LocalFileError: the file cannot be made.
        """
        if None not in (size, self._size) and size != self._size:
            raise DigestMismatchError(f"{self._digest} has {self._size} bytes, not {size}")
        self._size = self._size if size is None else size
        if self._to is not None:
            try:
                self._temporary, self._file = _create_beside(self._to)
            except OSError as error:
                raise LocalFileError(f"cannot write beside {self._to}: {error}") from error

    def write(self, data: bytes) -> None:
        """Hash and keep the next bytes.

        Raises:
            DigestMismatchError: there are more than announced.
            LocalFileError: they cannot be written.
        """
        self._received += len(data)
        if self._size is not None and self._received > self._size:
            raise DigestMismatchError(f"{self._digest} came with over {self._size} bytes")
        self._sha256.update(data)
        try:
            self._file.write(data)
        except OSError as error:
            raise LocalFileError(f"cannot write {self._temporary}: {error}") from error

    def commit(self) -> bytes:
        """Check what came; return it, or move it to its path and return nothing.

        Raises:
            DigestMismatchError: it is not the blob that was asked for.
            LocalFileError: it cannot be moved.
        """
        if self._received != (self._received if self._size is None else self._size):
            raise DigestMismatchError(f"{self._digest} came with {self._received} bytes")
        if self._sha256.digest() != self._digest.raw:
            raise DigestMismatchError(f"other bytes came than {self._digest}")
        if self._to is None:
            assert isinstance(self._file, io.BytesIO)
            return self._file.getvalue()
        try:
            self._file.close()  # flushes, so a full disk shows here
            if self._temporary is not None:
                os.replace(self._temporary, self._to)
                self._temporary = None
        except OSError as error:
            raise LocalFileError(f"cannot write {self._to}: {error}") from error
        return b""

    def close(self) -> None:
        """Let go; nothing is left but what was committed. May be called twice."""
        try:
            self._file.close()
        except OSError:
            pass  # the flush of bytes that are thrown away
        finally:
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
                self._temporary = None


def _create_beside(path: Path) -> tuple[Path, BinaryIO]:
    """Make a new file with the permissions of any new file; the name is free because it is new."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder")
    for number in count():
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{number}.part")
        try:
            return temporary, open(temporary, "xb")
        except FileExistsError:
            continue
    raise AssertionError("count() does not end")
