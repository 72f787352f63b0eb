"""The real server under strace, and a client that hands in, pins and releases over HTTP.

The client notes in memory what it asked and was told. An answer of 503 or 507 is a refusal, which it
tries again; any other than expected is a fault of ours. So is a traceback in the server's log.
"""

import asyncio
import io
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from coatcheck.protocol import BLOB_PATH, Digest
from coatcheck.store import open_keys

from .ledger import Line, Mark, content, digest_of
from .writer import SLABS, SMALL, TRIES

_REFUSED = frozenset({503, 507})
_ADDRESS = re.compile(rb"http://[0-9.:]+")
_ANSWER_SECONDS = 20.0


async def make_keys(folder: Path) -> dict[str, str]:
    """Return a key for each tenant of a data folder that nobody serves."""
    async with open_keys(folder) as keys:
        return {
            tenant: (await keys.create(tenant=tenant, scopes={"read", "write"})).key.text
            for tenant in ("a", "b")
        }


class DiedError(Exception):
    """The server is gone."""


@dataclass
class Client:
    """Says to one server what `run` says, and notes it in `lines`."""

    session: aiohttp.ClientSession
    url: str
    keys: Mapping[str, str]
    lines: list[Line] = field(default_factory=list[Line])

    async def run(self) -> None:
        """Do every step; return early when the server dies."""
        with suppress(DiedError):
            await self._put("a", "short", SMALL, promised=False)
            await self._put("b", "long", SLABS, promised=True)
            await self._put("a", "short", SMALL, promised=True)
            await self._put("b", "before", SMALL, promised=False)
            await self._put_other("a", "refused", SMALL)
            await self._put_other("b", "refused, long", SLABS)
            await self._hold("pin", "PUT", "a", digest_of("short", SMALL))
            await self._hold("release", "DELETE", "b", digest_of("to be released", SMALL))
            for tenant, name, size in (("a", "short", SMALL), ("b", "long", SLABS)):
                await self._get(tenant, name, size)

    async def _put(self, tenant: str, name: str, size: int, *, promised: bool) -> None:
        data = content(name, size)
        digest = Digest.of(data)
        how = ("PUT", BLOB_PATH + digest) if promised else ("POST", BLOB_PATH.rstrip("/"))
        await self._step("put", lambda: self._ask(tenant, *how, data), 201, tenant, digest)

    async def _put_other(self, tenant: str, name: str, size: int) -> None:
        path = BLOB_PATH + digest_of(f"not {name}", size)
        data = content(name, size)
        await self._step("mismatch", lambda: self._ask(tenant, "PUT", path, data), 422, tenant)

    async def _hold(self, step: str, method: str, tenant: str, digest: Digest) -> None:
        path = BLOB_PATH + digest + ("/pin" if step == "pin" else "")
        await self._step(step, lambda: self._ask(tenant, method, path), 200, tenant, digest)

    async def _get(self, tenant: str, name: str, size: int) -> None:
        digest = digest_of(name, size)
        path = BLOB_PATH + digest
        body = await self._step("read", lambda: self._ask(tenant, "GET", path), 200, tenant, digest)
        if body is not None and body != content(name, size):
            self._note(Mark.BROKEN, "read", text=f"{name} reads back otherwise")

    async def _step(
        self,
        step: str,
        ask: Callable[[], Awaitable[tuple[int, bytes]]],
        expected: int,
        tenant: str,
        digest: str = "",
    ) -> bytes | None:
        for tried in range(TRIES):
            self._note(Mark.BEGUN, step, tenant, digest)
            status, body = await ask()
            # A release that was done and not told is not found when it is tried again.
            if status == expected or (step == "release" and tried and status == 404):
                self._note(Mark.DONE, step, tenant, digest)
                return body
            mark = Mark.REFUSED if status in _REFUSED else Mark.BROKEN
            self._note(mark, step, tenant, digest, f"{status}: {body[:300]!r}")
        self._note(Mark.BROKEN, step, text=f"refused {TRIES} times")
        return None

    async def _ask(
        self, tenant: str, method: str, path: str, data: bytes | None = None
    ) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {self.keys[tenant]}"}
        try:
            async with self.session.request(
                method, self.url + path, data=data and io.BytesIO(data), headers=headers
            ) as answer:
                return answer.status, await answer.read()
        except TimeoutError:
            self._note(Mark.BROKEN, method, tenant, text=f"no answer in {_ANSWER_SECONDS} s")
        except aiohttp.ClientError as error:
            raise DiedError from error
        return 0, b""

    def _note(
        self, mark: Mark, step: str, tenant: str = "", digest: str = "", text: str = ""
    ) -> None:
        self.lines.append(Line(mark, step, tenant, digest, text))


@dataclass(frozen=True, slots=True)
class Served:
    """How it went: what the client noted, and how the server ended."""

    lines: Sequence[Line]
    code: int
    """Its exit code, the number of a signal negative."""
    log: str


async def serve(
    command: Sequence[object], folder: Path, keys: Mapping[str, str], cwd: Path
) -> Served:
    """Serve the folder below a command, ask what the client asks, and end the server."""
    log = folder.with_suffix(".log")
    arguments = ["api", "--port", "0", "--data", folder]
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *map(str, (*command, sys.executable, "-m", "coatcheck.cli", *arguments)),
            cwd=cwd,
            env=_environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    lines: Sequence[Line] = []
    try:
        async with asyncio.timeout(10 * _ANSWER_SECONDS):
            lines = await _talk(process, keys)
            await process.wait()
    except TimeoutError:
        lines = [*lines, Line(Mark.BROKEN, "serve", text="it hung")]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()
    assert process.returncode is not None
    return Served(lines, process.returncode, log.read_text("utf-8", "replace"))


async def _talk(process: asyncio.subprocess.Process, keys: Mapping[str, str]) -> Sequence[Line]:
    assert process.stdout is not None
    found = _ADDRESS.search(await process.stdout.readline())
    if found is None:  # it could not start, and has ended
        return []
    timeout = aiohttp.ClientTimeout(total=_ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        client = Client(session, found[0].decode(), keys)
        await client.run()
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children():
            child.terminate()  # not strace, which would only let go of it
    return client.lines


def _environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("COATCHECK_")}
