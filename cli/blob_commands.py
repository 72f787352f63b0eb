"""`put`, `get`, `stat`, `ls`, `rm`, `pin`, `unpin`: the store from the command line."""

import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from coatcheck.client import Client
from coatcheck.protocol import Json

from .errors import NotFoundError, UsageError
from .output import (
    described,
    note,
    print_descriptors,
    print_json,
    progress_bar,
    results,
)

_P = ParamSpec("_P")
_T = TypeVar("_T")


def server_options(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Add `--url`, `--key` and `--json` to a command."""
    command = click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
    command = click.option(
        "--key", envvar="COATCHECK_KEY", help="The key; rather set COATCHECK_KEY."
    )(command)
    return click.option(
        "--url",
        envvar="COATCHECK_URL",
        default="http://127.0.0.1:8420",
        show_default=True,
        help="The server's origin; or set COATCHECK_URL.",
    )(command)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--pin", is_flag=True, help="Keep until unpinned, not for a lease.")
@click.option("--pointer", is_flag=True, help="Print pointers, for clients that insist on data.")
@click.option("--type", "media_type", help="The media type, where content does not show it.")
@server_options
def put(
    files: tuple[Path, ...],
    pin: bool,
    pointer: bool,
    media_type: str | None,
    url: str,
    key: str | None,
    as_json: bool,
) -> None:
    """Upload FILES, unless the server has them; print their refs."""
    with results(as_json=as_json) as done, Client(url, key) as client:
        for file in files:
            with progress_bar(file.name, is_wanted=not as_json) as progress:
                item = client.put(file, media_type=media_type, progress=progress)
            if pin:
                client.pin(item.digest)
            document: dict[str, Json] = {"path": str(file), **described(item)}
            if pointer:
                done(document | {"pointer": item.pointer}, item.pointer)
            else:
                done(document, f"{item.ref}\n")
                if not as_json:
                    note(f"{file}: {item.size:,} bytes of {item.media_type}")


@click.command()
@click.argument("ref")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write here, not to stdout.")
@server_options
def get(ref: str, output: Path | None, url: str, key: str | None, as_json: bool) -> None:
    """Download the blob that REF (a ref or a digest) names, verified.

    Without --output bytes are written as they come; only exit code 0 says that they were right.
    """
    if as_json and output is None:
        raise UsageError("--json needs --output: standard output would hold the bytes")
    with Client(url, key) as client, progress_bar(ref, is_wanted=not as_json) as progress:
        client.get(ref, to=output or sys.stdout.buffer, progress=progress)
    if output is None:
        return
    if as_json:
        print_json({"path": str(output), "size": output.stat().st_size})
    else:
        note(f"wrote {output} ({output.stat().st_size:,} bytes)")


@click.command()
@click.argument("ref")
@server_options
def stat(ref: str, url: str, key: str | None, as_json: bool) -> None:
    """Describe the blob that REF names."""
    with Client(url, key) as client:
        descriptor = client.stat(ref)
    if descriptor is None:
        raise NotFoundError(f"no such blob: {ref}")
    if as_json:
        print_json(described(descriptor))
    else:
        for name, value in described(descriptor).items():
            click.echo(f"{name:<11} {value}")


@click.command()
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True)
@server_options
def ls(limit: int, url: str, key: str | None, as_json: bool) -> None:
    """List the blobs that this key holds."""
    with Client(url, key) as client:
        found = list(islice(client.list(), limit + 1))
    shown, has_more = found[:limit], len(found) > limit
    if as_json:
        print_json([described(item) for item in shown])
    else:
        print_descriptors(shown)
    if has_more:
        note(f"there are more than {limit}; raise --limit")


@click.command()
@click.argument("refs", nargs=-1, required=True)
@server_options
def rm(refs: tuple[str, ...], url: str, key: str | None, as_json: bool) -> None:
    """Drop lease and pin of the blobs that REFS name; says what still holds them."""
    with results(as_json=as_json) as done, Client(url, key) as client:
        for ref in refs:
            released = client.delete(ref)
            holds = ", ".join(f"{hold.kind} {hold.name}" for hold in released.holds)
            if holds:
                text = f"released {released.digest}; still held by {holds}\n"
            else:
                text = f"removed {released.digest}\n"
            done(released.model_dump(mode="json"), text)


@click.command()
@click.argument("refs", nargs=-1, required=True)
@server_options
def pin(refs: tuple[str, ...], url: str, key: str | None, as_json: bool) -> None:
    """Keep the blobs that REFS name until they are unpinned."""
    _for_each(refs, Client.pin, "pinned", url, key, as_json)


@click.command()
@click.argument("refs", nargs=-1, required=True)
@server_options
def unpin(refs: tuple[str, ...], url: str, key: str | None, as_json: bool) -> None:
    """Let leases decide again over the blobs that REFS name."""
    _for_each(refs, Client.unpin, "unpinned", url, key, as_json)


def _for_each(
    refs: tuple[str, ...],
    act: Callable[[Client, str], object],
    word: str,
    url: str,
    key: str | None,
    as_json: bool,
) -> None:
    with results(as_json=as_json, under=word) as done, Client(url, key) as client:
        for ref in refs:
            act(client, ref)
            done(ref, f"{word} {ref}\n")
