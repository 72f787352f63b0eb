"""What commands print: for people on a terminal, or one JSON document for programs.

Results go to standard output, everything else to standard error.
"""

import json
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from coatcheck.client import Progress as ProgressCallback
from coatcheck.protocol import Descriptor, Json, JsonObject

_BAR_FROM_BYTES = 8 * 1024 * 1024  # below this a transfer is over before a bar is read


def print_json(value: Json) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def described(descriptor: Descriptor) -> dict[str, Json]:
    """Return a descriptor as JSON, unknown fields left out."""
    return descriptor.model_dump(exclude_none=True)


def descriptor_line(item: Descriptor) -> str:
    """Return the line for a blob: ref, size, media type, pixels."""
    pixels = f"  {item.width}x{item.height}" if item.width and item.height else ""
    return f"{item.ref}  {item.size:>11,}  {item.media_type}{pixels}\n"


def print_descriptors(descriptors: Sequence[Descriptor]) -> None:
    """Print one line for each."""
    for item in descriptors:
        click.echo(descriptor_line(item), nl=False)


def without_kind(line: JsonObject) -> JsonObject:
    """Return a line of work on a store without what says which kind of line it is."""
    return {name: value for name, value in line.items() if name != "kind"}


def print_counts(line: JsonObject, named: Iterable[tuple[str, str]]) -> None:
    """Print counts of a line under one another; `named` has their names, and what to call them."""
    for name, text in named:
        count = line.get(name, 0)
        assert isinstance(count, int)
        click.echo(f"{count:>15,}  {text}")


@contextmanager
def results(*, as_json: bool, under: str | None = None) -> Generator[Callable[[Json, str], None]]:
    """Yield what takes each result as it is done: as JSON, and as the text to print.

    Text is printed at once. JSON is printed at the end as one list, `under` a name if there is
    one; also when an error ends the command, since what was done is done.
    """
    done: list[Json] = []

    def add(value: Json, text: str) -> None:
        if as_json:
            done.append(value)
        else:
            click.echo(text, nl=False)

    try:
        yield add
    finally:
        if as_json:
            print_json(done if under is None else {under: done})


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
