"""The flags that stand before settings, such as `--host` and `--data`, and which `--config`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import click

from .settings import Settings, load_settings

__all__ = ["Flags", "settings_flags"]

_P = ParamSpec("_P")
_T = TypeVar("_T")

_OPTIONS = (
    click.option("--host", help="Address to listen on. [default: 127.0.0.1]"),
    click.option("--port", type=int, help="Port; 0 picks a free one. [default: 8420]"),
    click.option("--uds", type=click.Path(path_type=Path), help="Unix socket, beside the port."),
    click.option("--workers", type=int, help="Worker processes. [default: this process]"),
    click.option(
        "--data", type=click.Path(path_type=Path), help="Data folder. [default: ./coatcheck-data]"
    ),
    click.option("--config", type=click.Path(path_type=Path), help="Settings. [./coatcheck.toml]"),
)


@dataclass(frozen=True, slots=True)
class Flags:
    """What the user gave."""

    config: Path | None
    given: Mapping[str, object]
    """By the settings' field names."""

    def load(self) -> Settings:
        """Read the settings under these flags.

        Raises:
            SettingsError: see `load_settings`.
        """
        return load_settings(self.config, self.given)


def settings_flags(command: Callable[Concatenate[Flags, _P], _T]) -> Callable[..., _T]:
    """Add the flags to a command, which gets them as its first argument."""

    @wraps(command)
    def with_flags(
        host: str | None,
        port: int | None,
        uds: Path | None,
        workers: int | None,
        data: Path | None,
        config: Path | None,
        *args: _P.args,
        **options: _P.kwargs,
    ) -> _T:
        named = {"host": host, "port": port, "uds": uds, "workers": workers, "data": data}
        given = {name: value for name, value in named.items() if value is not None}
        return command(Flags(config, given), *args, **options)

    decorated: Callable[..., _T] = with_flags
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated
