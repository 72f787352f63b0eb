"""`keys create`, `keys list`, `keys revoke`: who may ask a store, kept in its data folder.

They open the index beside a server that may be running; it knows of a change within a second.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

import click

from coatcheck import store
from coatcheck.protocol import DEFAULT_TENANT, Json, Scope, is_tenant

from .errors import KeyAccessError, NotFoundError, UsageError
from .output import note, print_json, results
from .quantity import parse_duration
from .settings_sources import load_settings

_P = ParamSpec("_P")
_T = TypeVar("_T")

_SCOPES: tuple[Scope, ...] = ("read", "write", "gateway", "admin")
_USUAL: tuple[Scope, ...] = ("read", "write", "gateway")
_ANY_TENANT = "(any: a daemon's)"
_MAX_VALID_SECONDS = 100 * 366 * 86400
"""Longer than anything here lasts, and well before the last date that can be printed."""
_MAX_LABEL = 200
_HEADINGS = ("ID", "STATE", "TENANT", "SCOPES", "EXPIRES", "LAST USED", "LABEL")


def _folder_options(command: Callable[_P, _T]) -> Callable[_P, _T]:
    """Add `--data`, `--config` and `--json`."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option("--config", type=click.Path(path_type=Path), help="[./coatcheck.toml]"),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Data folder. [default: ./coatcheck-data]",
        ),
    ):
        command = option(command)
    return command


@click.group()
def keys() -> None:
    """Make, list and revoke the keys of a store."""


@keys.command()
@click.option("--tenant", help=f"For whom it asks. [default: {DEFAULT_TENANT}]")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(_SCOPES),
    help="What it is for; may be given several times. [default: read, write, gateway]",
)
@click.option("--daemon", "is_daemon", is_flag=True, help="A daemon's: it asks for any tenant.")
@click.option("--expires", help="For how long it is valid, such as 90d. [default: for ever]")
@click.option("--label", default="", help="What to call it in lists.")
@_folder_options
def create(
    tenant: str | None,
    scopes: tuple[Scope, ...],
    is_daemon: bool,
    expires: str | None,
    label: str,
    data: Path | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """Make a key and print it. It is shown this once; the store keeps only its hash.

    As soon as there is a key, every request needs one.
    """
    owner = _owner(tenant, is_daemon=is_daemon)
    _require_label(label)
    seconds = _valid_seconds(expires)
    folder = _folder(data, config)

    async def work() -> store.NewKey:
        expires_at = None if seconds is None else time.time() + seconds
        async with _open(folder) as opened:
            return await opened.create(
                tenant=owner, scopes=scopes or _USUAL, label=label, expires_at=expires_at
            )

    made = asyncio.run(work())
    if as_json:
        print_json({"key": made.key.text, **_described(made.info)})
        return
    click.echo(made.key.text)
    note(
        f"key {made.key.id}, tenant {owner or _ANY_TENANT}, for {_scopes(made.info)}; "
        "it is not shown again"
    )


@keys.command("list")
@_folder_options
def list_(data: Path | None, config: Path | None, as_json: bool) -> None:
    """List every key that was ever made, oldest first; never their secrets."""
    folder = _existing(_folder(data, config))

    async def work() -> Sequence[store.KeyInfo]:
        async with _open(folder) as opened:
            return await opened.list()

    found = asyncio.run(work())
    if as_json:
        print_json([_described(info) for info in found])
    else:
        _print_table([_HEADINGS, *map(_row, found)])


@keys.command()
@click.argument("ids", metavar="ID..", nargs=-1, required=True)
@_folder_options
def revoke(ids: tuple[str, ...], data: Path | None, config: Path | None, as_json: bool) -> None:
    """End the keys with these IDs.

    Every server of this store knows within a second; a daemon elsewhere within 30 seconds, and
    while it cannot reach the store, within an hour.
    """
    if not all(key_id.isascii() and key_id.isalnum() for key_id in ids):
        raise UsageError("an ID is the eight letters and digits that `keys list` shows")
    folder = _existing(_folder(data, config))

    async def work() -> None:
        with results(as_json=as_json) as done:
            async with _open(folder) as opened:
                for key_id in ids:
                    info = await opened.revoke(key_id)
                    done(_described(info), f"revoked {info.id}\n")

    asyncio.run(work())


@asynccontextmanager
async def _open(folder: Path) -> AsyncGenerator[store.Keys]:
    try:
        async with store.open_keys(folder) as opened:
            yield opened
    except store.KeyNotFoundError as error:
        raise NotFoundError(str(error)) from error
    except store.StoreError as error:
        raise KeyAccessError(f"{folder}: {error}") from error


def _folder(data: Path | None, config: Path | None) -> Path:
    return load_settings(config, {} if data is None else {"data": data}).data


def _existing(folder: Path) -> Path:
    if not store.has_index(folder):
        raise NotFoundError(f"{folder} is no data folder of a store")
    return folder


def _owner(tenant: str | None, *, is_daemon: bool) -> str | None:
    if is_daemon:
        if tenant is not None:
            raise UsageError("a daemon's key has no tenant: it asks for whichever it names")
        return None
    owner = DEFAULT_TENANT if tenant is None else tenant
    if not is_tenant(owner):
        raise UsageError(f"no name of a tenant: {owner!r}; 1 to 128 of A-Z a-z 0-9 . _ : @ -")
    return owner


def _require_label(label: str) -> None:
    """Refuse what would break a line of the list, or a terminal."""
    if len(label) > _MAX_LABEL or not label.isprintable():
        raise UsageError(f"a label is at most {_MAX_LABEL} printable characters")


def _valid_seconds(expires: str | None) -> float | None:
    if expires is None:
        return None
    if not (seconds := parse_duration(expires)):
        raise UsageError("--expires is a time above zero, such as 90d")
    if seconds > _MAX_VALID_SECONDS:
        raise UsageError("--expires is at most a hundred years; leave it out for a key without end")
    return seconds


def _described(info: store.KeyInfo) -> dict[str, Json]:
    return {
        "id": info.id,
        "state": _state(info),
        "tenant": info.tenant,
        "scopes": [scope for scope in _SCOPES if scope in info.scopes],
        "label": info.label,
        "created_at": int(info.created_at),
        "expires_at": _whole(info.expires_at),
        "revoked_at": _whole(info.revoked_at),
        "last_used_at": _whole(info.last_used_at),
    }


def _state(info: store.KeyInfo) -> str:
    if info.revoked_at is not None:
        return "revoked"
    return "valid" if info.is_valid(time.time()) else "expired"


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else int(seconds)


def _row(info: store.KeyInfo) -> tuple[str, ...]:
    return (
        info.id,
        _state(info),
        info.tenant or _ANY_TENANT,
        _scopes(info),
        _moment(info.expires_at),
        _moment(info.last_used_at),
        info.label,
    )


def _scopes(info: store.KeyInfo) -> str:
    return ",".join(scope for scope in _SCOPES if scope in info.scopes)


def _moment(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%MZ")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())
