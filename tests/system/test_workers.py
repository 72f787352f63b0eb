"""Several workers under one supervisor: crashes, reloads, ends, and a Unix socket beside the port."""

import asyncio
import http.client
import json
import os
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psutil
import pytest
from aiohttp import ClientSession, TCPConnector, UnixConnector

from coatcheck.client import Client
from coatcheck.protocol import Json

Fixture = Callable[..., Any]

pytestmark = pytest.mark.system

QUIET = "log_level = 'warning'\n"
TWO = "workers = 2\n"
PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.02


class Served(Protocol):
    """A server of the fixture `serve`."""

    process: "subprocess.Popen[bytes]"
    url: str
    folder: Path

    def stop(self) -> int: ...


def workers(served: Served) -> dict[int, psutil.Process]:
    return {child.pid: child for child in psutil.Process(served.process.pid).children()}


def wait_until(true: Callable[[], bool]) -> None:
    """Look until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(PAUSE_SECONDS)


def is_refused(served: Served) -> bool:
    """Whether nobody listens any more."""
    try:
        socket.create_connection(address(served), timeout=PATIENCE_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # in the queue as it was closed
        pass
    return False


def address(served: Served) -> tuple[str, int]:
    parts = urlsplit(served.url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


class Line:
    """One client's connection, and the worker that has it."""

    def __init__(self, served: Served) -> None:
        self._http = http.client.HTTPConnection(*address(served), timeout=PATIENCE_SECONDS)
        assert self.ask("GET", "/healthz")[0] == 200  # now somebody has accepted it
        port = self._http.sock.getsockname()[1]
        self.worker = next(
            pid
            for pid, process in workers(served).items()
            if any(item.raddr and item.raddr.port == port for item in process.net_connections())
        )

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        self._http.request(method, path, body)
        answer = self._http.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        self._http.close()


@contextmanager
def lines_to_both(served: Served) -> Generator[tuple[Line, Line]]:
    """Connect until both workers have a connection."""
    opened: dict[int, Line] = {}
    every: list[Line] = []
    try:
        while len(opened) < 2:
            every.append(Line(served))
            opened.setdefault(every[-1].worker, every[-1])
            assert len(every) < 500
        one, other = opened.values()
        yield one, other
    finally:
        for line in every:
            line.close()


def test_what_one_worker_does_the_other_knows_at_once(serve: Fixture) -> None:
    served: Served = serve(TWO + QUIET)
    with lines_to_both(served) as (one, other):
        for number in range(20):
            status, body = one.ask("POST", "/v1/blobs", b"%d" % number)
            assert status == 201
            path = f"/v1/blobs/{json.loads(body)['digest']}"
            for line in (one, other):
                assert line.ask("GET", path) == (200, b"%d" % number)
            assert other.ask("DELETE", path)[0] == 200
            assert one.ask("GET", path)[0] == 404
            one, other = other, one
    with Client(served.url) as client:
        messages: list[dict[str, Json]] = []
        for number in range(10):  # whichever worker gets each turn
            messages.append({"role": "user", "content": f"turn {number}"})
            assert client.chat(model="echo", messages=messages)


def test_a_killed_worker_takes_only_its_own_connections_along(
    serve: Fixture, tmp_path: Path
) -> None:
    served: Served = serve(TWO + QUIET)
    before = set(workers(served))
    with lines_to_both(served) as (doomed, lucky):
        os.kill(doomed.worker, signal.SIGKILL)
        for _ in range(50):
            assert lucky.ask("GET", "/healthz")[0] == 200
            line = http.client.HTTPConnection(*address(served), timeout=PATIENCE_SECONDS)
            line.request("GET", "/healthz")
            assert line.getresponse().status == 200
            line.close()
        with pytest.raises((http.client.HTTPException, ConnectionError)):
            doomed.ask("GET", "/healthz")
    wait_until(lambda: len(set(workers(served)) - before) == 1)
    with lines_to_both(served) as (one, other):  # the new one serves
        assert {one.worker, other.worker} == set(workers(served))
    assert served.stop() == 0
    assert "ended unasked (signal 9)" in (tmp_path / "serve.log").read_text()


async def hammer(url: str, stop: asyncio.Event, *, keep_alive: bool) -> int:
    """Upload until told to stop; return how often. Any failure raises: no POST is sent twice."""
    count = 0
    connector = TCPConnector(force_close=not keep_alive)
    async with ClientSession(connector=connector) as session:
        while not stop.is_set():
            async with session.post(f"{url}/v1/blobs/missing", json={"digests": []}) as answer:
                assert answer.status == 200
                await answer.read()
                count += 1
    return count


BROKEN = {
    "workers = 0": "greater than or equal to 1",
    "/proc/self/mem": "cannot be read",
    "[[upstream]]\nname = 'x'\nbase_url = 'http://x'\napi_key_env = 'NONE'": "has no NONE",
}
"""Settings that cannot be served with, or a file to stand for theirs, and what is said of them."""


async def test_a_reload_under_load_loses_no_request_and_brings_new_settings(
    serve: Fixture, tmp_path: Path
) -> None:
    served: Served = serve(TWO + QUIET)
    before = set(workers(served))
    stop = asyncio.Event()
    hammering = [
        asyncio.create_task(hammer(served.url, stop, keep_alive=keep_alive))
        for keep_alive in (True, True, False)
    ]
    config = tmp_path / "settings.toml"
    log = tmp_path / "serve.log"
    config.write_text(TWO + QUIET + "max_blob_bytes = 3\nuds = 'later'", "utf-8")
    served.process.send_signal(signal.SIGHUP)
    await asyncio.to_thread(
        wait_until, lambda: not before & set(workers(served))
    )  # the old ones leave
    async with (
        ClientSession() as session,
        session.post(f"{served.url}/v1/blobs", data=b"four") as answer,
    ):
        assert answer.status == 413
    reloaded = set(workers(served))
    assert len(reloaded) == 2
    for broken, reason in BROKEN.items():
        config.unlink()
        if broken.startswith("/"):
            config.symlink_to(broken)
        else:
            config.write_text(broken, "utf-8")
        served.process.send_signal(signal.SIGHUP)
        await asyncio.to_thread(wait_until, lambda: reason in log.read_text())  # noqa: B023
    assert set(workers(served)) == reloaded
    stop.set()
    assert all(count > 10 for count in await asyncio.gather(*hammering))
    assert await asyncio.to_thread(served.stop) == 0
    assert log.read_text().count("nothing was reloaded") == len(BROKEN)
    assert "uds stays as it is" in log.read_text()
    assert "Traceback" not in log.read_text()


async def healthy(path: Path) -> int:
    """Ask at a Unix socket; return the status."""
    async with (
        ClientSession(connector=UnixConnector(str(path))) as session,
        session.get("http://localhost/healthz") as answer,
    ):
        return answer.status


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder for sockets, whose whole path has at most 107 bytes; see unix(7)."""
    with tempfile.TemporaryDirectory(prefix="cc-") as folder:
        yield Path(folder)


def test_sigterm_drains_the_workers_and_leaves_nothing(
    serve: Fixture, tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_path))
    served: Served = serve(TWO + QUIET + "uds = 'socket'")
    path = tmp_path / "socket"
    assert served.process.stdout
    assert served.process.stdout.readline() == b"coatcheck: listening on unix:socket\n"
    assert asyncio.run(healthy(path)) == 200
    children = list(workers(served).values())
    assert len(list(short_path.glob("*/*.door"))) == 2
    with socket.create_connection(address(served), timeout=PATIENCE_SECONDS) as upload:
        upload.sendall(
            b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2000005\r\n\r\n"
            + b"x" * 2_000_000
        )
        wait_until(lambda: any((served.folder / "spool").glob("*/*.part")))
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: is_refused(served))
        upload.sendall(b"67890")
        assert b"201 Created" in upload.recv(65536)
    assert served.process.wait(PATIENCE_SECONDS) == 0
    assert not any(child.is_running() for child in children)
    assert list(short_path.iterdir()) == []
    assert not path.exists()
    assert [path for path in (served.folder / "spool").iterdir() if path.is_dir()] == []


def test_workers_of_a_killed_supervisor_end_and_the_folder_is_free(
    serve: Fixture, tmp_path: Path, short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(short_path))
    served: Served = serve(TWO + "uds = 'socket'")
    with Client(served.url) as client:
        digest = client.put(b"kept").digest
    children = list(workers(served).values())
    served.process.kill()
    served.process.wait()
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_SECONDS)
    assert not alive
    assert list(short_path.iterdir()) == []
    assert stat.S_ISSOCK((tmp_path / "socket").stat().st_mode)  # left by the dead
    again: Served = serve("uds = 'socket'")
    with Client(again.url) as client:
        assert client.get(digest) == b"kept"
    assert again.stop() == 0
