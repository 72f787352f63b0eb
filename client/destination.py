"""Where a download goes: memory, a path, or a file of the caller's.

A file appears at its path whole and verified, or not at all: it grows under a temporary name
beside it and is renamed. What stood there before stays until then. A file that the caller passed
is written as bytes come, since nobody can take them back from a pipe.
"""

import io
import os
from itertools import count
from pathlib import Path
from typing import BinaryIO, Protocol, TypeAlias

from .errors import InvalidArgumentError, LocalFileError

Destination: TypeAlias = str | os.PathLike[str] | BinaryIO
"""A path, or a binary file (from where it stands, left open)."""


class Target(Protocol):
    """`open`, any number of `write`, then `commit`; always `close`, which may be called twice.

    Each may raise LocalFileError, `write` also InvalidArgumentError.
    """

    def open(self) -> None:
        """Get ready."""
        ...

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def commit(self) -> bytes:
        """Learn that what came is right; return it where nothing else has it."""
        ...

    def close(self) -> None:
        """Let go; nothing is left but what was committed, or is the caller's."""
        ...


def target(to: Destination | None) -> Target:
    """Return the target that the caller means; None is memory.

    Raises:
        InvalidArgumentError: it is neither a path nor something to write to.
    """
    if to is None:
        return _Memory()
    if isinstance(to, str | os.PathLike):
        return _AtPath(Path(to))
    if callable(getattr(to, "write", None)):
        return _CallersFile(to)
    raise InvalidArgumentError(
        f"a blob goes to a path or a binary file, not to {type(to).__name__}"
    )


class _Memory:
    def __init__(self) -> None:
        self._file = io.BytesIO()

    def open(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def commit(self) -> bytes:
        return self._file.getvalue()

    def close(self) -> None:
        self._file.close()


class _AtPath:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary: Path | None = None
        self._file: BinaryIO | None = None

    def open(self) -> None:
        try:
            self._temporary, self._file = _create_beside(self._path)
        except (OSError, ValueError) as error:  # ValueError: no file can have that path
            raise LocalFileError(f"cannot write beside {self._path}: {error}") from error

    def write(self, data: bytes) -> None:
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise LocalFileError(f"cannot write {self._temporary}: {error}") from error

    def commit(self) -> bytes:
        assert self._file is not None
        assert self._temporary is not None
        try:
            self._file.close()  # flushes, so a full disk shows here
            os.replace(self._temporary, self._path)
        except OSError as error:
            raise LocalFileError(f"cannot write {self._path}: {error}") from error
        self._temporary = None
        return b""

    def close(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except OSError:
            pass  # the flush of bytes that are thrown away
        finally:
            self._remove()

    def _remove(self) -> None:
        if self._temporary is None:
            return
        left, self._temporary = self._temporary, None
        try:
            left.unlink(missing_ok=True)
        except OSError as error:
            raise LocalFileError(f"cannot remove {left}: {error}") from error


class _CallersFile:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def open(self) -> None:
        pass

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[self._write_some(left) :]

    def commit(self) -> bytes:
        try:
            self._file.flush()
        except (OSError, ValueError) as error:
            raise LocalFileError(f"cannot write the file that was passed: {error}") from error
        return b""

    def close(self) -> None:
        pass

    def _write_some(self, data: memoryview) -> int:
        """Raw files, such as pipes without a buffer, take what fits."""
        try:
            written: int | None = self._file.write(data)
        except TypeError as error:
            raise InvalidArgumentError("a file to write to is opened in binary mode") from error
        except (OSError, ValueError) as error:  # ValueError: it is closed, or not for writing
            raise LocalFileError(f"cannot write the file that was passed: {error}") from error
        if not written:
            raise LocalFileError("the file that was passed takes no bytes: it must be blocking")
        return written


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
