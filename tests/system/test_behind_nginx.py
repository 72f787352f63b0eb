"""The site of `deploy/nginx` in a real nginx: what has to pass passes, as it comes."""

import asyncio
import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from aiohttp import ClientSession, TCPConnector, web

from .conftest import Serve, Served

pytestmark = pytest.mark.system

SITE = Path(__file__).resolve().parents[2] / "deploy" / "nginx" / "coatcheck.conf"
NAME = "coatcheck.example.org"
PHOTOGRAPH = os.urandom(3_000_000)

_HTTP = """
daemon off;
{user}
pid {folder}/pid;
error_log {folder}/error.log;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/site.conf;
}}
"""


def program(name: str, package: str) -> str:
    """Return the path of a program, or fail with the way to get it."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.fail(
            f"{name} is missing; as root: apt-get install --no-install-recommends {package}"
        )
    return found


@dataclass(frozen=True)
class Front:
    """A running nginx, the folder of its files, and what its certificate is trusted by."""

    port: int
    folder: Path
    trust: ssl.SSLContext

    def connect(self) -> http.client.HTTPSConnection:
        """Return a connection that is not open yet."""
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=20, context=self.trust)


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Callable[[Served], Front]]:
    """Start nginx with the site in front of a server."""
    with ExitStack() as stack:

        def start(served: Served) -> Front:
            folder = tmp_path / "nginx"
            folder.mkdir()
            port = free_port()
            site = SITE.read_text("utf-8")
            for given, ours in (
                ("server 127.0.0.1:8420;", f"server {served.url.removeprefix('http://')};"),
                ("listen 443 ssl http2;", f"listen 127.0.0.1:{port} ssl http2;"),
                ("    listen [::]:443 ssl http2;\n", ""),
                (f"/etc/ssl/{NAME}.pem", f"{folder}/cert.pem"),
                (f"/etc/ssl/private/{NAME}.key", f"{folder}/cert.key"),
                ("/var/log/nginx/coatcheck.log", f"{folder}/access.log"),
            ):
                assert site.count(given) == 1, given
                site = site.replace(given, ours)
            (folder / "site.conf").write_text(site, "utf-8")
            # Its workers would be another user, who may not enter this folder.
            user = "user root;" if os.geteuid() == 0 else ""
            (folder / "nginx.conf").write_text(_HTTP.format(folder=folder, user=user), "utf-8")
            certify(folder)
            nginx = program("nginx", "nginx-light")
            command = [nginx, "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"]
            checked = subprocess.run([*command, "-t"], capture_output=True, check=False, timeout=20)
            assert checked.returncode == 0, (folder / "error.log").read_text("utf-8")
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.terminate)
            wait_for(port, process)
            return Front(port, folder, ssl.create_default_context(cafile=f"{folder}/cert.pem"))

        yield start


def certify(folder: Path) -> None:
    """Make a certificate for this host, which signs itself."""
    subprocess.run(
        [
            *(program("openssl", "openssl"), "req", "-x509", "-newkey", "ec", "-nodes"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "1", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", f"{folder}/cert.key", "-out", f"{folder}/cert.pem"),
        ],
        check=True,
        capture_output=True,
        timeout=20,
    )


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def wait_for(port: int, process: "subprocess.Popen[bytes]") -> None:
    """Return when the port can be connected to."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as peer:
            if peer.connect_ex(("127.0.0.1", port)) == 0:
                return
    pytest.fail("nginx does not listen")


def test_a_photograph_passes_both_ways_and_urls_are_those_outside(
    serve: Serve, front: Callable[[Served], Front]
) -> None:
    nginx = front(serve())
    client = nginx.connect()
    client.request("POST", "/v1/blobs", PHOTOGRAPH, {"Content-Type": "image/jpeg"})
    answer = client.getresponse()
    descriptor = json.loads(answer.read())
    assert (answer.status, descriptor["size"]) == (201, len(PHOTOGRAPH))
    client.request("GET", f"/v1/blobs/{descriptor['digest']}", headers={"Range": "bytes=5-"})
    answer = client.getresponse()
    assert (answer.status, answer.read()) == (206, PHOTOGRAPH[5:])
    start = {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}
    client.request("POST", "/upload/v1/files", headers=start)
    answer = client.getresponse()
    assert answer.read() == b""
    outside = f"https://127.0.0.1:{nginx.port}/upload/v1/files?upload_id="
    assert (answer.headers["X-Goog-Upload-URL"] or "").startswith(outside)
    client.close()


def test_an_upload_reaches_the_store_while_it_comes(
    serve: Serve, front: Callable[[Served], Front]
) -> None:
    served = serve()
    client = front(served).connect()
    client.putrequest("POST", "/v1/blobs")
    client.putheader("Content-Length", str(len(PHOTOGRAPH)))
    client.endheaders()
    client.send(PHOTOGRAPH[:2_000_000])
    deadline = time.monotonic() + 20
    while not uploads_at(served):  # nginx would keep what it buffers to itself
        assert time.monotonic() < deadline
    client.send(PHOTOGRAPH[2_000_000:])
    assert client.getresponse().status == 201
    client.close()


def uploads_at(served: Served) -> int:
    """Return how many uploads the server has in progress."""
    with urlopen(f"{served.url}/admin/api/stats") as answer:
        stats = json.load(answer)
    number: int = stats["uploads_in_progress"]
    return number


def test_a_body_that_is_too_large_is_refused_by_the_server_itself(
    serve: Serve, front: Callable[[Served], Front]
) -> None:
    client = front(serve("max_request_bytes = 1000000")).connect()
    body = json.dumps({"model": "echo", "messages": [], "pad": "x" * 2_000_000})
    client.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    assert answer.status == 413
    assert json.loads(answer.read())["error"]["code"]
    client.close()


def test_what_is_not_for_outside_and_not_for_logs(
    serve: Serve, front: Callable[[Served], Front]
) -> None:
    nginx = front(serve())
    client = nginx.connect()
    for path, status in (("/metrics", 404), ("/readyz?key=cck_secret", 200)):
        client.request("GET", path)
        answer = client.getresponse()
        answer.read()
        assert answer.status == status
    client.close()
    deadline = time.monotonic() + 20
    while "/readyz" not in (log := (nginx.folder / "access.log").read_text("utf-8")):
        assert time.monotonic() < deadline
    assert "cck_" not in log


@pytest.fixture
async def hesitant() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A model that says its second token only when it is told that the first one came."""
    heard = asyncio.Event()

    async def speak(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b'data: {"choices":[{"delta":{"content":"one"}}]}\n\n')
        await heard.wait()
        await response.write(b"data: [DONE]\n\n")
        return response

    app = web.Application()
    app.router.add_post("/v1/chat/completions", speak)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", heard
    await runner.cleanup()


async def test_a_token_comes_when_it_is_said(
    serve: Serve, front: Callable[[Served], Front], hesitant: tuple[str, asyncio.Event]
) -> None:
    base_url, heard = hesitant
    served = await asyncio.to_thread(
        serve, f'[[upstream]]\nname = "model"\nbase_url = "{base_url}"\n'
    )
    nginx = await asyncio.to_thread(front, served)
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "?"}]}
    url = f"https://127.0.0.1:{nginx.port}/v1/chat/completions"
    async with (
        ClientSession(connector=TCPConnector(ssl=nginx.trust)) as session,
        asyncio.timeout(20),
        session.post(url, json=body) as answer,
    ):
        first = await answer.content.readuntil(b"\n\n")
        assert b"one" in first
        heard.set()
        assert await answer.content.read() == b"data: [DONE]\n\n"
