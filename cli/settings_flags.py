"""The flags that stand before settings, such as `--host` and `--data`, and which `--config`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

from .settings import Settings
from .settings_sources import load_settings

__all__ = ["Flags", "daemon_flags", "settings_flags"]

_T = TypeVar("_T")
_Option: TypeAlias = Callable[[Any], Any]  # what click makes of a function is its own business

DAEMON_PORT = 8421
"""Beside a store on the same host."""

_LISTENING = (
    click.option("--host", help="Address to listen on. [default: 127.0.0.1]"),
    click.option("--uds", type=click.Path(path_type=Path), help="Unix socket, beside the port."),
    click.option("--workers", type=int, help="Worker processes. [default: this process]"),
    click.option("--config", type=click.Path(path_type=Path), help="Settings. [./coatcheck.toml]"),
)
_STORE = (
    click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8420]"),
    click.option(
        "--data", type=click.Path(path_type=Path), help="Data folder. [default: ./coatcheck-data]"
    ),
)
_DAEMON = (
    click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8421]"),
    click.option("--store", help="The store's origin. [default: http://127.0.0.1:8420]"),
    click.option("--remote", help="Be the edge of the daemon at this origin, without a store."),
    click.option(
        "--cache",
        type=click.Path(path_type=Path),
        help="Cache folder. [default: ./coatcheck-cache]",
    ),
    click.option(
        "--key-file",
        type=click.Path(path_type=Path),
        help="File with the key there. [default: COATCHECK_KEY]",
    ),
)
_NAMES = ("host", "port", "uds", "workers", "data", "store", "remote", "cache", "key_file")


@dataclass(frozen=True, slots=True)
class Flags:
    """What the user gave."""

    config: Path | None
    given: Mapping[str, object]
    """By the settings' field names."""
    defaults: Mapping[str, object] = field(default_factory=dict[str, object])
    """The command's own, where they are not the settings'."""

    def load(self) -> Settings:
        """Read the settings under these flags.

        Raises:
            SettingsError: see `load_settings`.
        """
        return load_settings(self.config, self.given, self.defaults)


def settings_flags(command: Callable[..., _T]) -> Callable[..., _T]:
    """Add the flags of a store to a command, which gets them as its first argument."""
    return _flagged(command, (*_LISTENING, *_STORE), {})


def daemon_flags(command: Callable[..., _T]) -> Callable[..., _T]:
    """Add the flags of a daemon to a command, which gets them as its first argument."""
    return _flagged(command, (*_LISTENING, *_DAEMON), {"port": DAEMON_PORT})


def _flagged(
    command: Callable[..., _T], options: Sequence[_Option], defaults: Mapping[str, object]
) -> Callable[..., _T]:
    @wraps(command)
    def with_flags(*, config: Path | None, **values: object) -> _T:
        named = {name: values.pop(name) for name in _NAMES if name in values}
        given = {name: value for name, value in named.items() if value is not None}
        return command(Flags(config, given, defaults), **values)

    decorated: Callable[..., _T] = with_flags
    for option in reversed(options):
        decorated = option(decorated)
    return decorated
