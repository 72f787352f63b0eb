"""Work on a whole store, where the store is: in a folder that no server has, or behind a server.

A data folder belongs to one process at a time. So a command opens the folder if it is free, and asks
the server that has it otherwise. `--url` asks a server in any case, also on another host.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
import urllib3
from pydantic import BaseModel

from coatcheck import api, store
from coatcheck.client import Endpoint
from coatcheck.protocol import Json, JsonObject

from .address_file import AddressFile
from .errors import MaintenanceError, NotFoundError, RefusedWorkError, UnansweredWorkError
from .origin import origin_to_ask
from .settings import Settings
from .settings_sources import load_settings

__all__ = ["Place", "place_options"]

_T = TypeVar("_T")
_R = TypeVar("_R", bound=BaseModel)
_CONNECT_SECONDS = 10.0
_MAX_LINE_BYTES = 1024 * 1024
_IDLE_SECONDS = 600.0  # a sweep says nothing before its end


@dataclass(frozen=True, slots=True)
class Place:
    """Where the user says that the store is."""

    settings: Settings
    url: str | None
    key: str | None

    def run(self, work: "api.Work[_R]", request: _R) -> Generator[JsonObject]:
        """Do the work and yield its lines, the last of kind `done`. Close the generator.

        Raises:
            NotFoundError: there is no such data folder, and no server was named.
            RefusedWorkError: the server refused; the message says why.
            UnansweredWorkError: no server answers, or it went away.
            MaintenanceError: the work failed.
        """
        if self.url is not None:
            yield from _ask(self.url, self.key, work, request)
            return
        folder = self.settings.data
        if not store.has_index(folder):
            raise NotFoundError(f"{folder} is no data folder of a store; name a server by --url")
        try:
            yield from _work_here(self.settings.store_config(), work, request)
        except store.FolderInUseError:  # before anything was done
            yield from _ask(self._server(), self.key, work, request)

    def _server(self) -> str:
        told = AddressFile(self.settings.data).read()
        return told or origin_to_ask(self.settings.host, self.settings.port)


def place_options(command: Callable[..., _T]) -> Callable[..., _T]:
    """Add `--data`, `--config`, `--url`, `--key` and `--json`; the command gets a `Place` first."""

    @wraps(command)
    def with_place(
        *, data: Path | None, config: Path | None, url: str | None, key: str | None, **values: Any
    ) -> _T:
        settings = load_settings(config, {} if data is None else {"data": data})
        return command(Place(settings, url, key), **values)

    decorated: Callable[..., _T] = with_place
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
        click.option(
            "--key",
            envvar="COATCHECK_KEY",
            help="A key with scope admin, for a server that has keys.",
        ),
        click.option("--url", help="Ask this server. [default: whoever has the data folder]"),
        click.option("--config", type=click.Path(path_type=Path), help="[./coatcheck.toml]"),
        click.option(
            "--data",
            type=click.Path(path_type=Path),
            help="Data folder. [default: ./coatcheck-data]",
        ),
    ):
        decorated = option(decorated)
    return decorated


def _work_here(
    config: store.StoreConfig, work: "api.Work[_R]", request: _R
) -> Generator[JsonObject]:
    """Open the folder and do the work in this process."""

    async def lines() -> AsyncGenerator[BaseModel]:
        async with (
            await store.Store.open(config) as opened,
            aclosing(work.run(opened, request)) as running,
        ):
            async for line in running:
                yield line

    async def following(running: AsyncGenerator[BaseModel]) -> BaseModel | None:
        return await anext(running, None)

    with asyncio.Runner() as runner:
        running = lines()
        try:
            while (line := runner.run(following(running))) is not None:
                yield line.model_dump(mode="json", exclude_none=True)
        except store.FolderInUseError:
            raise
        except store.StoreError as error:
            raise MaintenanceError(f"{config.data_folder}: {error}") from error
        finally:
            runner.run(running.aclose())


def _ask(url: str, key: str | None, work: "api.Work[_R]", request: _R) -> Generator[JsonObject]:
    """Ask a server for the work."""
    endpoint = Endpoint(url, key)
    timeout = urllib3.Timeout(connect=_CONNECT_SECONDS, read=_IDLE_SECONDS)
    headers = endpoint.headers({"Content-Type": "application/json"})
    try:
        with (
            urllib3.PoolManager(retries=False, timeout=timeout) as pool,
            contextlib.closing(
                pool.request(
                    "POST",
                    f"{endpoint.base_url}{work.path}",
                    body=request.model_dump_json().encode(),
                    headers=headers,
                    preload_content=False,
                )
            ) as answer,
        ):
            if answer.status != 200:
                raise RefusedWorkError(_refusal(url, answer.status, answer.read(64 * 1024)))
            yield from _told(url, _lines(answer.stream(64 * 1024)))
    except urllib3.exceptions.HTTPError as error:
        raise UnansweredWorkError(f"no answer from {url}: {error}") from error


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Cut a stream into lines; what stands behind the last line break is none."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
        if len(rest) > _MAX_LINE_BYTES:
            raise UnansweredWorkError("the answer is no list of lines")


def _told(url: str, lines: Iterator[bytes]) -> Generator[JsonObject]:
    line: JsonObject = {}
    for text in lines:
        line = _line(url, text)
        if line.get("kind") == "error":
            raise MaintenanceError(f"{url}: {line.get('detail')}")
        yield line
    if line.get("kind") != "done":
        raise UnansweredWorkError(f"{url} went away before the work was done")


def _line(url: str, text: bytes) -> JsonObject:
    try:
        line: Json = json.loads(text)
    except ValueError as error:
        raise UnansweredWorkError(f"{url} is no Coatcheck store: {error}") from error
    if not isinstance(line, dict):
        raise UnansweredWorkError(f"{url} is no Coatcheck store")
    return line


def _refusal(url: str, status: int, body: bytes) -> str:
    try:
        problem: Json = json.loads(body)
    except ValueError:
        problem = None
    said = problem.get("detail") if isinstance(problem, dict) else None
    hint = "; make a key: coatcheck keys create --scope admin" if status in (401, 403) else ""
    return f"{url} answers {status}: {said or 'no Coatcheck store'}{hint}"
