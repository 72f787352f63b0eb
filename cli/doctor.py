"""`doctor`: is everything there that Coatcheck needs, and does the server answer?

Each check is a function that returns what it saw, or raises what is wrong. None changes anything.
"""

import shutil
import socket
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

import click
import pybase64
import urllib3

from coatcheck.protocol import Json

from .errors import CheckFailedError, CliError
from .origin import origin_to_ask
from .output import print_json
from .settings import Settings
from .settings_flags import Flags, settings_flags
from .settings_sources import environment
from .upstream_settings import UpstreamSettings

_PATIENCE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    check: str
    is_ok: bool
    detail: str


def examine(flags: Flags) -> list[Finding]:
    """Run every check; those of the settings' parts only when the settings can be read."""
    findings = [_run("python", _python), _run("base64", _base64), _run("sqlite", _sqlite)]
    try:
        settings = flags.load()
    except CliError as error:
        return [*findings, Finding("settings", False, str(error))]
    findings.append(Finding("settings", True, f"{len(settings.upstream)} upstreams"))
    return [*findings, *(_run(name, check) for name, check in _checks(settings))]


def _checks(settings: Settings) -> Iterator[tuple[str, Callable[[], str]]]:
    yield "data folder", partial(_data_folder, settings)
    yield "server", partial(_server, settings)
    for upstream in settings.upstream:
        yield f"upstream {upstream.name}", partial(_upstream, upstream)


def _run(name: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, check())
    except (CliError, OSError) as error:
        return Finding(name, False, str(error))


def _python() -> str:
    return sys.version.split()[0]


def _base64() -> str:
    name = pybase64.get_version()
    if "C extension active" not in name:
        raise CheckFailedError(f"pybase64 {name}: no compiled form, encoding will be slow")
    return f"pybase64 {name}"


def _sqlite() -> str:
    if sqlite3.sqlite_version_info < (3, 35):
        raise CheckFailedError(f"SQLite {sqlite3.sqlite_version} is older than 3.35")
    return sqlite3.sqlite_version


def _data_folder(settings: Settings) -> str:
    folder = settings.data.absolute()
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        raise CheckFailedError(f"{place} is not a folder")
    free = shutil.disk_usage(place).free
    if free < settings.min_free_bytes:
        raise CheckFailedError(
            f"{folder}: {free:,} bytes free, uploads need over {settings.min_free_bytes:,}"
        )
    return f"{folder}: {free:,} bytes free"


def _server(settings: Settings) -> str:
    url = f"{origin_to_ask(settings.host, settings.port)}/readyz"
    try:
        with urllib3.PoolManager(retries=False, timeout=_PATIENCE_SECONDS) as pool:
            answer = pool.request("GET", url)
    except urllib3.exceptions.HTTPError as error:
        raise CheckFailedError(
            f"nothing answers at {url}; start it with: coatcheck serve"
        ) from error
    if answer.status != 200:
        raise CheckFailedError(f"{url} answers {answer.status}: {answer.data[:200]!r}")
    return f"{url} is ready"


def _upstream(upstream: UpstreamSettings) -> str:
    upstream.config(environment())
    return ", ".join(_reached(url) for url in upstream.urls)


def _reached(url: str) -> str:
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((host, port), _PATIENCE_SECONDS):
            return f"{host}:{port} accepts connections"
    except UnicodeError as error:  # a name that cannot be looked up
        raise CheckFailedError(f"{host[:80]} is no host name: {error}") from error


@click.command()
@settings_flags
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(flags: Flags, as_json: bool) -> None:
    """Check what Coatcheck needs, and whether the server answers. Exits 1 if anything is wrong.

    Give it the flags that the server was started with.
    """
    findings = examine(flags)
    if as_json:
        rows: list[Json] = [
            {"check": item.check, "ok": item.is_ok, "detail": item.detail} for item in findings
        ]
        print_json(rows)
    else:
        for item in findings:
            click.echo(f"{'ok  ' if item.is_ok else 'FAIL'}  {item.check:<16} {item.detail}")
    if not all(item.is_ok for item in findings):
        raise SystemExit(1)
