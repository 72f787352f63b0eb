"""`dify install-hook` and `dify uninstall-hook`: refs inside the plugins of a Dify installation."""

import json
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from coatcheck.client import InvalidArgumentError
from coatcheck.client.dify import HookConfig, Placement, place, take_away
from coatcheck.protocol import Json

from .daemon_key import daemon_key
from .errors import NotFoundError, PlacementError, UsageError
from .output import note, print_json

__all__ = ["dify"]

_LOOK_SECONDS = 0.5
"""From one look for new environments to the next: installing a plugin's packages takes longer."""


@click.group()
def dify() -> None:
    """Take Coatcheck into Dify, and out again."""


@dify.command("install-hook")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--socket", type=click.Path(path_type=Path), help="The daemon's Unix socket.")
@click.option("--daemon", metavar="URL", help="The daemon's origin, http://host:port.")
@click.option(
    "--key-file", type=click.Path(path_type=Path), help="A file with a key of the daemon."
)
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    help="The daemon's folder of copies, read without asking for grants: for one tenant alone.",
)
@click.option(
    "--timeout", type=click.FloatRange(min=0, min_open=True), help="Seconds. [default: 60]"
)
@click.option(
    "--no-splice", is_flag=True, help="Leave the SDK's own requests to models as they are."
)
@click.option("--watch", is_flag=True, help="Go on, and place it in new environments.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with --watch a line for each.")
def install_hook(
    folder: Path,
    socket: Path | None,
    daemon: str | None,
    key_file: Path | None,
    cache: Path | None,
    timeout: float | None,
    no_splice: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Place the hook that resolves refs into the virtual environments in DIR.

    DIR is one, or a plugin's working folder, or the plugin daemon's folder of all of them. A plugin
    that runs has the hook when it starts again.
    """
    try:
        config = HookConfig(
            socket=None if socket is None else socket.absolute(),
            daemon=daemon,
            key=None if key_file is None else daemon_key(key_file, {}),
            cache=None if cache is None else cache.absolute(),
            total_seconds=timeout,
            splice=False if no_splice else None,
        )
    except InvalidArgumentError as error:
        raise UsageError(f"{error}; see --socket, --daemon and --cache") from error
    if watch:
        _watch(folder, config, as_json=as_json)
    else:
        _tell(folder, place(folder, config), as_json=as_json)


@dify.command("uninstall-hook")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def uninstall_hook(folder: Path, as_json: bool) -> None:
    """Remove the hook from the virtual environments in DIR, which are then as they were.

    A plugin that runs has it until it starts again.
    """
    _tell(folder, take_away(folder), as_json=as_json)


def _tell(folder: Path, done: Sequence[Placement], *, as_json: bool) -> None:
    """Print what became of each environment.

    Raises:
        NotFoundError: there is none.
        PlacementError: one failed.
    """
    if not done:
        raise NotFoundError(f"{folder}: no virtual environment, and no folder of plugins with one")
    if as_json:
        print_json([_described(placement) for placement in done])
    else:
        for placement in done:
            click.echo(_line(placement))
    if failed := [placement for placement in done if placement.state == "failed"]:
        raise PlacementError(f"{failed[0].environment}: {failed[0].reason}")


def _watch(folder: Path, config: HookConfig, *, as_json: bool) -> None:
    """Place the hook until SIGTERM or SIGINT, and print what changes."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    note(f"watching {folder}")
    last: dict[Path, Placement] = {}
    while True:
        now = {placement.environment: placement for placement in place(folder, config)}
        for placement in _news(now, last):
            click.echo(json.dumps(_described(placement)) if as_json else _line(placement))
        last = now
        if ended.wait(_LOOK_SECONDS):
            return


def _news(now: dict[Path, Placement], last: dict[Path, Placement]) -> Iterator[Placement]:
    """Yield what was done, and what is in another way than it was."""
    for environment, placement in now.items():
        before = last.get(environment)
        was_told = before is not None and placement.state in ("unchanged", before.state)
        if placement.state in ("placed", "replaced") or not was_told:
            yield placement


def _described(placement: Placement) -> dict[str, Json]:
    described: dict[str, Json] = {
        "environment": str(placement.environment),
        "state": placement.state,
    }
    return described | ({"reason": placement.reason} if placement.reason else {})


def _line(placement: Placement) -> str:
    reason = f": {placement.reason}" if placement.reason else ""
    return f"{placement.state:<9}  {placement.environment}{reason}"
