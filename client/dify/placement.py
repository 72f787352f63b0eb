"""The plugin hook in virtual environments: placed, placed again, and taken away without a trace.

All of it is `coatcheck_dify_hook/` in `site-packages`, with the hook's modules and its configuration,
and one line beside that, which is written last and removed first, also while modules are replaced: an
interpreter that starts meanwhile has the hook whole or not at all. Files are replaced by renaming, so
that none is ever half written.
"""

import contextlib
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from ..errors import InvalidArgumentError
from . import hook
from .environment import find_environments, open_packages
from .hook import CONFIG_NAME

__all__ = ["HookConfig", "Placement", "State", "place", "take_away"]

State = Literal["placed", "replaced", "unchanged", "waiting", "removed", "absent", "failed"]
"""`waiting` is an environment that is still being made: it has no `site-packages`."""

_TELLING: Final[tuple[State, ...]] = (
    "placed",
    "replaced",
    "removed",
    "waiting",
    "unchanged",
    "absent",
)
_PACKAGE: Final = "coatcheck_dify_hook"
_LINE_FILE: Final = f"{_PACKAGE}.pth"
_LINE: Final = f"import {_PACKAGE}; {_PACKAGE}.install()\n".encode()
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
_SECRET, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class HookConfig:
    """What the hook is told; `hook` says what each means. `key` is a secret.

    Raises:
        InvalidArgumentError: the hook would not take it.
    """

    socket: Path | None = None
    daemon: str | None = None
    key: str | None = field(default=None, repr=False)
    cache: Path | None = None
    total_seconds: float | None = None
    splice: bool | None = None

    def __post_init__(self) -> None:
        try:
            hook.check_config(self._given())
        except ValueError as error:
            raise InvalidArgumentError(str(error)) from error

    def written(self) -> bytes:
        """Return the configuration's file."""
        return (json.dumps(self._given(), indent=2) + "\n").encode()

    def _given(self) -> dict[str, str | float | bool]:
        given = {
            "socket": None if self.socket is None else str(self.socket),
            "daemon": self.daemon,
            "key": self.key,
            "cache": None if self.cache is None else str(self.cache),
            "total_seconds": self.total_seconds,
            "splice": self.splice,
        }
        return {name: value for name, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Placement:
    """What became of one environment; `reason` is why it failed."""

    environment: Path
    state: State
    reason: str = ""


def place(folder: Path, config: HookConfig) -> list[Placement]:
    """Put the hook into every environment of a folder. May be called again.

    Raises:
        PluginEnvironmentError: the folder cannot be read.
    """
    modules = {path.name: path.read_bytes() for path in Path(hook.__file__).parent.glob("*.py")}
    return _each(folder, lambda packages: _place(packages, modules, config.written()), "waiting")


def take_away(folder: Path) -> list[Placement]:
    """Remove the hook from every environment of a folder. May be called again.

    Raises:
        PluginEnvironmentError: the folder cannot be read.
    """
    return _each(folder, _take_away, "absent")


def _each(folder: Path, work: Callable[[int], State], without: State) -> list[Placement]:
    done: list[Placement] = []
    for environment in find_environments(folder):
        path = folder / environment
        try:
            with open_packages(folder, environment) as found:
                states = {work(packages) for packages in found} or {without}
            done.append(Placement(path, min(states, key=_TELLING.index)))
        except OSError as error:
            done.append(Placement(path, "failed", error.strerror or str(error)))
    return done


def _place(packages: int, modules: Mapping[str, bytes], config: bytes) -> State:
    """Write what is not there as it should be, the line last."""
    was_there = _exists(packages, _LINE_FILE)
    folder = _made(packages)
    try:
        if not all(_is_as(folder, name, data, _PUBLIC) for name, data in modules.items()):
            _remove_line(packages)
        changes = [_write(folder, folder, CONFIG_NAME, config, _SECRET)]
        changes += [_write(folder, folder, name, data, _PUBLIC) for name, data in modules.items()]
        changes.append(_write(folder, packages, _LINE_FILE, _LINE, _PUBLIC))
    finally:
        os.close(folder)
    if not any(changes):
        return "unchanged"
    return "replaced" if was_there else "placed"


def _take_away(packages: int) -> State:
    """Remove the line, then the rest with what interpreters compiled of it."""
    was_there = _exists(packages, _LINE_FILE) or _exists(packages, _PACKAGE)
    _remove_line(packages)
    _clear(packages)
    return "removed" if was_there else "absent"


def _remove_line(packages: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_LINE_FILE, dir_fd=packages)


def _made(packages: int) -> int:
    """Return a descriptor of the hook's folder; what else has its name goes."""
    status = _status(packages, _PACKAGE)
    if status is not None and not stat.S_ISDIR(status.st_mode):
        _clear(packages)
    with contextlib.suppress(FileExistsError):
        os.mkdir(_PACKAGE, 0o755, dir_fd=packages)
    folder = os.open(_PACKAGE, _FOLDER, dir_fd=packages)
    _give(folder, packages)
    return folder


def _clear(packages: int) -> None:
    status = _status(packages, _PACKAGE)
    if status is None:
        return
    if stat.S_ISDIR(status.st_mode):
        shutil.rmtree(_PACKAGE, dir_fd=packages)
    else:
        os.unlink(_PACKAGE, dir_fd=packages)


def _write(folder: int, into: int, name: str, data: bytes, mode: int) -> bool:
    """Write a file by way of the hook's folder, if it is not that already; say whether."""
    if _is_as(into, name, data, mode):
        return False
    new = f".{name}.{secrets.token_hex(8)}"  # of nobody else's, whose process may have our number
    made = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode, dir_fd=folder)
    with open(made, "wb") as file:
        _give(made, folder)
        os.fchmod(made, mode)
        file.write(data)
        file.flush()
        os.fsync(made)
    os.rename(new, name, src_dir_fd=folder, dst_dir_fd=into)
    return True


def _is_as(parent: int, name: str, data: bytes, mode: int) -> bool:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
    except OSError:  # whatever it is, it is replaced
        return False
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        is_like = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == mode
        return is_like and file.read(len(data) + 1) == data


def _give(descriptor: int, like: int) -> None:
    """Let a file belong to whom the folder belongs, as far as we may: the plugin has to read it."""
    if os.geteuid() == 0:
        owner = os.fstat(like)
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _exists(parent: int, name: str) -> bool:
    return _status(parent, name) is not None


def _status(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None
