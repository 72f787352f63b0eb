"""`coatcheck demo`: the same conversation about photographs, three ways, on a link like yours."""

import asyncio
import signal
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from coatcheck.protocol import SNIFF_BYTES, sniff

from .demo_report import DemoReport, print_report, report_json
from .demo_run import DemoPlan, Picture, run_demo
from .errors import DemoError, QuantityError
from .output import note, print_json
from .photograph import photograph
from .quantity import parse_duration, parse_rate, parse_size

__all__ = ["demo"]

_PICTURES = 3
_PLAIN_COLUMNS = 100
T = TypeVar("T")


def _amount(
    parse: Callable[[str], T],
) -> Callable[[click.Context, click.Parameter, str], T]:
    """An option written as people write amounts."""

    def convert(context: click.Context, parameter: click.Parameter, text: str) -> T:
        try:
            return parse(text)
        except QuantityError as error:
            raise click.BadParameter(str(error), context, parameter) from error

    return convert


@click.command()
@click.option(
    "--image",
    "images",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"An image to talk about; may be given several times.  [default: {_PICTURES} painted ones]",
)
@click.option("--turns", default=10, show_default=True, type=click.IntRange(1, 1000))
@click.option("--uplink", default="20mbit", show_default=True, callback=_amount(parse_rate))
@click.option("--rtt", default="40ms", show_default=True, callback=_amount(parse_duration))
@click.option(
    "--body-limit",
    default="1m",
    show_default=True,
    callback=_amount(parse_size),
    help="What a reverse proxy takes as a request body; 0 takes all. Not on /v1/blobs.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
def demo(
    images: tuple[Path, ...],
    turns: int,
    uplink: float,
    rtt: float,
    body_limit: int,
    as_json: bool,
) -> None:
    """Run one conversation about images three ways and compare what crosses the link."""
    with _progress() as say:
        say("preparing the images")
        pictures = tuple(_read(path) for path in images) or _painted()
        plan = DemoPlan(pictures, turns, uplink, rtt, body_limit or None)
        try:
            report = asyncio.run(_run(plan, say))
        except asyncio.CancelledError as error:
            raise click.Abort from error
    if as_json:
        print_json(report_json(report))
    else:
        print_report(report, Console(width=None if sys.stdout.isatty() else _PLAIN_COLUMNS))


@contextmanager
def _progress() -> Generator[Callable[[str], None]]:
    """Yield what tells people how far it is: one changing line, or lines where none can change."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield note
        return
    with console.status("") as status:
        yield lambda text: status.update(text)


async def _run(plan: DemoPlan, say: Callable[[str], None]) -> DemoReport:
    """Run in a temporary folder; SIGTERM ends it as Ctrl-C does, children included."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="coatcheck-demo-") as folder:
        return await run_demo(plan, Path(folder), say)


def _painted() -> tuple[Picture, ...]:
    return tuple(Picture(photograph(seed), "image/jpeg") for seed in range(1, _PICTURES + 1))


def _read(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DemoError(f"{path} cannot be read: {error.strerror}") from error
    media_type = sniff(data[:SNIFF_BYTES])
    if media_type is None or not media_type.startswith("image/"):
        raise DemoError(f"{path} is no image that can be told by its first bytes")
    return Picture(data, media_type)
