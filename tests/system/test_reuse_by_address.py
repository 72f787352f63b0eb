"""`serve` with two workers, before a provider that fetches and an engine that opens files."""

import asyncio
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, TCPConnector, web
from tests.daemon.reuse.fetching import DIALECTS, FetchingProvider, parts, picture
from yarl import URL

from coatcheck.protocol import Digest, JsonObject

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system
CHAT = DIALECTS[0]
SETTINGS = """
workers = 2
log_level = "warning"
public_urls = ["http://127.0.0.1:{port}"]
signed_url_seconds = 1000000000

[[upstream]]
name = "far"
base_url = "{url}/v1"
models = ["far"]
reuse = "url"

[[upstream]]
name = "near"
base_url = "{url}/v1"
models = ["near"]
reuse = "file"
"""


@pytest.fixture
async def provider() -> AsyncIterator[tuple[FetchingProvider, str]]:
    """A provider that listens, and where."""
    provider = FetchingProvider(CHAT.dialect)
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{path:.*}", provider.respond)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield provider, f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


async def take(http: ClientSession, url: str, model: str, digest: Digest) -> None:
    """Take a turn, and see that the provider read the picture."""
    body: JsonObject = {**CHAT.turn([(f"blob:{digest}", "image/png")]), "model": model}
    async with http.post(f"{url}{CHAT.path}", json=body) as answer:
        assert answer.status == 200, await answer.text()
        assert (await answer.json())["read"] == [digest]


async def test_all_workers_name_a_blob_alike(
    serve: Fixture, provider: tuple[FetchingProvider, str], tmp_path: Path
) -> None:
    engine, upstream = provider
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = SETTINGS.format(port=port, url=upstream)
    served = await asyncio.to_thread(serve, settings, port=port)
    files = served.folder / "blobs/sha256"
    engine.root = files
    secret = served.folder / "url-secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    async with ClientSession(connector=TCPConnector(force_close=True)) as http:
        async with http.post(f"{served.url}/v1/blobs", data=picture("red")) as answer:
            digest = Digest((await answer.json())["digest"])
        for model in ("far", "near"):
            await asyncio.gather(*(take(http, served.url, model, digest) for _ in range(12)))
        named = [where for body in engine.seen for where, _ in parts(CHAT.dialect, body)]
        url, path = named[0], named[-1]
        assert named == [url] * 12 + [path] * 12
        assert path == (files / digest.hex[:2] / digest.hex).as_uri()
        assert await asyncio.to_thread(served.stop) == 0
        secret.unlink()
        await asyncio.to_thread(serve, settings, port=port)
        async with http.get(URL(url, encoded=True)) as answer:
            assert (answer.status, (await answer.json(content_type=None))["code"]) == (
                403,
                "signature_invalid",
            )
    assert url.rpartition("=")[2] not in (tmp_path / "serve.log").read_text()
