"""A plugin's virtual environment, and a folder in which some are.

Plugins are strangers' programs, and the folder is theirs to write: nothing below the folder that was
named is entered by a symbolic link, and what is open stays the same folder whatever happens to its
name meanwhile.
"""

import errno
import os
import stat
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePath
from typing import Final

from ..errors import PluginEnvironmentError

__all__ = ["find_environments", "open_packages"]

_ENVIRONMENT: Final = ".venv"
_MARK: Final = "pyvenv.cfg"
_DEPTH: Final = 3
"""The plugin daemon has `<author>/<name>-<version>@<checksum>`."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_NO_FOLDER: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})


def find_environments(folder: Path) -> list[PurePath]:
    """Return what virtual environments there are, as paths below `folder`, in their order.

    It is one itself, or a plugin's working folder, or the folder of all of them.

    Raises:
        PluginEnvironmentError: it is no folder, or cannot be read.
    """
    try:
        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if _is_plain_file(root, _MARK):
                return [PurePath()]
            return sorted(_below(root, PurePath(), _DEPTH))
        finally:
            os.close(root)
    except OSError as error:
        raise PluginEnvironmentError(f"{folder}: {error.strerror}") from error


@contextmanager
def open_packages(folder: Path, environment: PurePath) -> Generator[list[int]]:
    """Yield descriptors of an environment's `site-packages`: none while it is being made.

    Raises:
        OSError: they cannot be read.
    """
    with ExitStack() as stack:

        def entered(parent: int, *names: str) -> int:
            for name in names:
                parent = os.open(name, _FOLDER, dir_fd=parent)
                stack.callback(os.close, parent)
            return parent

        root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, root)
        try:
            library = entered(root, *environment.parts, "lib")
            versions = [name for name in os.listdir(library) if name.startswith("python3.")]
            found = [entered(library, name, "site-packages") for name in sorted(versions)]
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            found = []
        yield found


def _below(parent: int, path: PurePath, depth: int) -> Iterator[PurePath]:
    """Yield the environments of a plugin's folder, or of the plugins further below."""
    found = _folder(parent, _ENVIRONMENT)
    if found is not None:
        try:
            if _is_plain_file(found, _MARK):
                yield path / _ENVIRONMENT
        finally:
            os.close(found)
        return
    if depth == 0:
        return
    for name in os.listdir(parent):
        if name.startswith("."):  # such as the installer's cache
            continue
        child = _folder(parent, name)
        if child is not None:
            try:
                yield from _below(child, path / name, depth - 1)
            finally:
                os.close(child)


def _folder(parent: int, name: str) -> int | None:
    """Open a folder in a folder; None when it is none, or may not be read."""
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except OSError as error:
        if error.errno in _NO_FOLDER or error.errno == errno.EACCES:
            return None
        raise


def _is_plain_file(parent: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except OSError:
        return False
