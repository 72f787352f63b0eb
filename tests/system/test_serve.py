"""One process, end to end: signals, two servers on one folder, kill -9, the page."""

import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psutil
import pytest

from coatcheck.client import Client
from coatcheck.protocol import Digest

from ..image_files import png

Fixture = Callable[..., Any]


class Served(Protocol):
    """A server of the fixture `serve`."""

    process: "subprocess.Popen[bytes]"
    url: str
    folder: Path

    def stop(self) -> int: ...


pytestmark = pytest.mark.system

PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.02
PICTURE = png(8, 8)


def ask(url: str, method: str, path: str, headers: dict[str, str] | None = None) -> tuple[int, Any]:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    finally:
        connection.close()


def wait_until_refused(host: str | None, port: int | None) -> None:
    """Wait until a server that drains has stopped listening."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        try:
            socket.create_connection((host, port), timeout=10).close()
        except ConnectionRefusedError:
            return
        except ConnectionResetError:  # in the queue of the listener as it closed
            pass
        time.sleep(PAUSE_SECONDS)
    pytest.fail("somebody listens still")


def test_sigterm_drains_and_exits_0_and_blobs_stay(serve: Fixture, tmp_path: Path) -> None:
    served = serve()
    served.process.send_signal(signal.SIGHUP)  # nothing to reload, and no reason to end
    with Client(served.url) as client:
        digest = client.put(b"kept").digest
    assert served.stop() == 0
    assert "a reload needs --workers" in (tmp_path / "serve.log").read_text()
    again = serve()
    with Client(again.url) as client:
        assert client.get(digest) == b"kept"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_drain(
    serve: Fixture, tmp_path: Path, number: signal.Signals
) -> None:
    served: Served = serve("drain_seconds = 3600\nlog_level = 'info'")
    parts = urlsplit(served.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as upload:
        upload.sendall(
            b"POST /v1/blobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert upload.recv(12) == b"HTTP/1.1 100"
        served.process.send_signal(number)
        wait_until_refused(parts.hostname, parts.port)
        assert served.process.poll() is None
        served.process.send_signal(number)
        assert served.process.wait(20) == 0
    said = (tmp_path / "serve.log").read_text()
    assert "stopping at once" in said
    assert "Traceback" not in said


def test_a_second_server_on_the_same_data_is_refused(serve: Fixture, run: Fixture) -> None:
    served = serve()
    second = run("serve", "--port", "0", "--data", served.folder)
    assert second.code == 1
    assert "in use" in second.err
    assert "Traceback" not in second.err
    assert ask(served.url, "GET", "/readyz")[0] == 200


def test_kill_9_while_uploading_loses_nothing_acknowledged(serve: Fixture) -> None:
    served: Served = serve()
    acknowledged: dict[Digest, bytes] = {}
    with Client(served.url) as client:
        for index in range(5):
            data = os.urandom(1000 + index)
            acknowledged[client.put(data).digest] = data
    parts = urlsplit(served.url)
    uploads = [socket.create_connection((parts.hostname, parts.port)) for _ in range(3)]
    for upload in uploads:
        upload.sendall(
            b"POST /v1/blobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000000\r\n\r\n"
            + b"x" * 3_000_000
        )
    spool = served.folder / "spool"
    end = time.monotonic() + PATIENCE_SECONDS
    while not any(path.is_file() and path.stat().st_size for path in spool.rglob("*")):
        assert time.monotonic() < end, "no upload reached the spool"
        time.sleep(PAUSE_SECONDS)
    served.process.send_signal(signal.SIGKILL)
    served.process.wait()
    for upload in uploads:
        upload.close()
    assert any(path.is_file() and path.stat().st_size for path in spool.rglob("*"))
    again = serve()
    with Client(again.url) as client:
        for digest, data in acknowledged.items():
            assert client.get(digest) == data
        assert len(list(client.list())) == len(acknowledged)
    assert again.stop() == 0
    assert [path for path in spool.rglob("*") if path.is_file() and path.stat().st_size] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_decodes_for_echo_ends_with_the_server(serve: Fixture, number: signal.Signals) -> None:
    served: Served = serve()
    with Client(served.url) as client:
        part = {"type": "image_url", "image_url": {"url": client.put(PICTURE).ref}}
        answer = client.chat(model="echo", messages=[{"role": "user", "content": [part]}])
        assert "PNG 8x8, mean colour #000000" in str(answer.message)
    (worker,) = psutil.Process(served.process.pid).children()
    served.process.send_signal(number)
    assert served.process.wait(PATIENCE_SECONDS) == (0 if number == signal.SIGTERM else -number)
    _, alive = psutil.wait_procs([worker], timeout=PATIENCE_SECONDS)
    assert not alive


def test_a_full_disk_answers_507_and_the_service_goes_on(serve: Fixture, tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    served: Served = serve(f"min_free_bytes = {free * 2}")
    parts = urlsplit(served.url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    for _ in range(2):
        connection.request("POST", "/v1/blobs", b"x" * 100_000)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["code"]) == (507, "store_full")
        assert response.headers["x-should-retry"] == "false"
    connection.close()
    assert ask(served.url, "GET", "/healthz")[0] == 200
    assert ask(served.url, "GET", "/v1/blobs")[0] == 200


FOREIGN = ({"Host": "attacker.example"}, {"Origin": "https://attacker.example"}, {"Origin": "null"})


def test_foreign_hosts_and_origins_are_refused(serve: Fixture) -> None:
    url = serve().url
    for headers in FOREIGN:
        for path in ("/v1/blobs", "/admin", "/v1/chat/completions", "/healthz"):
            assert ask(url, "GET", path, headers)[0] == 403, (headers, path)


def test_the_routes_are_described(serve: Fixture) -> None:
    status, document = ask(serve().url, "GET", "/openapi.json")
    assert status == 200
    assert document["openapi"].startswith("3.1")
    assert {
        "/v1/blobs",
        "/v1/blobs/{digest}",
        "/v1/blobs/missing",
        "/v1/blobs/{digest}/pin",
        "/v1/chat/completions",
        "/admin/api/cache",
        "/admin/api/blobs",
        "/admin/api/stats",
        "/healthz",
        "/readyz",
    } <= set(document["paths"])


def test_nothing_is_left_running(serve: Fixture) -> None:
    served = serve()
    children = Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children")
    assert children.read_text() == ""
    assert served.stop() == 0
    assert isinstance(served.process, subprocess.Popen)


def test_more_clients_than_descriptors_are_told_so(serve: Fixture, tmp_path: Path) -> None:
    served: Served = serve(command=("sh", "-c", 'ulimit -n 128; exec "$@"', "sh"))
    parts = urlsplit(served.url)
    clients = [
        socket.create_connection((parts.hostname, parts.port), timeout=10) for _ in range(150)
    ]
    try:
        assert clients[-1].recv(12) == b"HTTP/1.1 503"
        clients[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert clients[0].recv(12) == b"HTTP/1.1 200"
    finally:
        for client in clients:
            client.close()
    assert served.stop() == 0
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_api_serves_the_store_alone(serve: Fixture) -> None:
    served: Served = serve(name="api")
    with Client(served.url) as client:
        digest = client.put(b"kept").digest
        assert client.get(digest) == b"kept"
    assert ask(served.url, "POST", "/v1/chat/completions")[0] == 404
    assert served.stop() == 0
