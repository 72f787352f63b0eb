"""What commands print: for people on a terminal, or one JSON document for programs.

Results go to standard output, everything else to standard error.
"""

import json
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from coatcheck.client import Progress as ProgressCallback
from coatcheck.protocol import Descriptor, Json

_BAR_FROM_BYTES = 8 * 1024 * 1024  # below this an upload is over before a bar is read


def print_json(value: Json) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def described(descriptor: Descriptor) -> dict[str, Json]:
    """Return a descriptor as JSON, unknown fields left out."""
    return descriptor.model_dump(exclude_none=True)


def print_descriptors(descriptors: Sequence[Descriptor]) -> None:
    """Print one line for each: ref, size, media type, pixels."""
    for item in descriptors:
        pixels = f"  {item.width}x{item.height}" if item.width and item.height else ""
        click.echo(f"{item.ref}  {item.size:>11,}  {item.media_type}{pixels}")


def note(text: str) -> None:
    """Tell the person at the terminal something that is not the result."""
    click.echo(text, err=True)


@contextmanager
def progress_bar(name: str, *, is_wanted: bool) -> Generator[ProgressCallback]:
    """Yield a callback that draws a bar for a long transfer, on a terminal only."""
    console = Console(stderr=True)
    if not (is_wanted and console.is_terminal):
        yield lambda sent, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name[-40:], visible=False)

        def update(sent: int, total: int) -> None:
            bar.update(task, completed=sent, total=total, visible=total >= _BAR_FROM_BYTES)

        yield update


def stdout_bytes(data: bytes) -> None:
    """Write bytes to standard output as they are."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
