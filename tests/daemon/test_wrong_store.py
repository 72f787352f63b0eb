"""What `store` names is no store for this daemon: a daemon, another service, one without its key."""

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import ClientSession, ClientTimeout
from aiohttp import web as aioweb

from coatcheck.daemon import CacheConfig, Daemon, DaemonConfig, RemoteConfig, RemoteStore
from coatcheck.protocol import Digest, Json
from coatcheck.web import Listening, Server, build_app, join_faces, listen

from .remote import KEY, StoreServer

CLIENT = f"cck_{'c' * 8}_{'k' * 40}"
DIGEST = Digest.of(b"some bytes")
TURN: Json = {
    "model": "echo",
    "messages": [{"role": "user", "content": f"see blob:{DIGEST}"}],
}


async def serve_daemon(
    listening: Listening, store_url: str, folder: Path, stack: AsyncExitStack
) -> RemoteStore:
    """Serve a daemon on these sockets, with the keys of its store."""
    config = RemoteConfig(store_url, CacheConfig(folder, min_free_bytes=0), KEY)
    remote = await RemoteStore.open(config)
    stack.push_async_callback(remote.close)
    daemon = Daemon.open(DaemonConfig(), remote.blobs, remote.prompts, inventory=remote.inventory)
    stack.push_async_callback(daemon.close)
    table = join_faces([remote.face(daemon.passage), daemon.face()], title="Coatcheck", version="1")
    server = Server(build_app(table, keyring=remote.keyring, gate=remote.gate))
    await server.serve(listening.sockets)
    stack.push_async_callback(server.stop, 0)
    return remote


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    headers = {"Authorization": f"Bearer {CLIENT}"}
    async with ClientSession(headers=headers, timeout=ClientTimeout(total=20)) as session:
        yield session


@pytest.mark.parametrize("count", [1, 2])
async def test_a_loop_of_daemons_ends_at_the_first_return(
    stack: AsyncExitStack, http: ClientSession, tmp_path: Path, count: int
) -> None:
    doors = [await listen("127.0.0.1", 0, None) for _ in range(count)]
    urls = [door.urls[0] for door in doors]
    for number, door in enumerate(doors):
        await serve_daemon(door, urls[number - 1], tmp_path / str(number), stack)
    asked = [
        http.get(f"{urls[0]}/v1/blobs/{DIGEST}"),
        http.get(f"{urls[0]}/v1/blobs"),
        http.post(f"{urls[0]}/v1/blobs", data=b"x"),
        http.post(f"{urls[0]}/v1/chat/completions", json=TURN),
        http.get(f"{urls[0]}/v1/models"),
    ]
    for asking in asked:
        async with asking as answer:
            told = await answer.json(content_type=None)
            code = told["error"]["code"] if "error" in told else told["code"]
            assert (answer.status, code) == (508, "loop_detected")
            assert answer.headers.get("X-Should-Retry") == "false" or "error" not in told
            assert "Retry-After" not in answer.headers
    async with http.get(f"{urls[0]}/readyz") as answer:
        told = await answer.json()
        assert (answer.status, told["status"]) == (503, "unready")
        assert ("itself" if count == 1 else "another daemon") in told["checks"]["store_answers"]


@pytest.fixture
async def store() -> AsyncIterator[StoreServer]:
    opened = await StoreServer.open()
    yield opened
    await opened.close()


OpenDaemon = Callable[[], Awaitable[str]]


@pytest.fixture
async def open_daemon(store: StoreServer, stack: AsyncExitStack, tmp_path: Path) -> OpenDaemon:
    async def start() -> str:
        door = await listen("127.0.0.1", 0, None)
        await serve_daemon(door, store.url, tmp_path / "cache", stack)
        return door.urls[0]

    return start


async def readiness(http: ClientSession, url: str) -> tuple[int, str, dict[str, str]]:
    async with http.get(f"{url}/readyz") as answer:
        told = await answer.json()
        return answer.status, told["status"], told["checks"]


def not_found() -> aioweb.Response:
    return aioweb.Response(status=404, text="no such page")


def garbage() -> aioweb.Response:
    return aioweb.Response(text="<html>welcome</html>")


def elsewhere() -> aioweb.Response:
    return aioweb.Response(status=302, headers={"Location": "http://127.0.0.1:1/"})


def unknown_key() -> aioweb.Response:
    return aioweb.json_response({"code": "key_invalid", "detail": "revoked"}, status=401)


@pytest.mark.parametrize("wrong", [not_found, garbage, elsewhere, unknown_key])
async def test_a_store_that_is_none_is_said(
    http: ClientSession,
    store: StoreServer,
    open_daemon: OpenDaemon,
    caplog: pytest.LogCaptureFixture,
    wrong: Callable[[], aioweb.Response],
) -> None:
    url = await open_daemon()
    assert await readiness(http, url) == (
        200,
        "ready",
        {"store": "ok", "store_answers": "ok", "cache": "ok"},
    )

    async def instead(request: aioweb.Request) -> aioweb.StreamResponse | None:
        return wrong() if request.path.startswith(("/v1/resolve", "/v1/keys")) else None

    store.before = instead
    caplog.clear()
    caplog.set_level(logging.WARNING)
    status, said, checks = await readiness(http, url)
    assert (status, said) == (503, "unready")
    assert store.url in checks["store_answers"]
    for _ in range(3):
        async with http.get(f"{url}/v1/blobs/{DIGEST}") as answer:
            told = await answer.json()
            assert answer.status == 502
            assert told["code"] in ("store_failed", "store_refused")
            assert "try again" not in told["detail"]
    assert len(caplog.records) == 1


async def test_a_store_that_takes_its_time_is_no_refusal(
    http: ClientSession, store: StoreServer, open_daemon: OpenDaemon
) -> None:
    async def late(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.path == "/v1/resolve":
            await asyncio.Event().wait()
        return None

    store.before = late
    assert (await readiness(http, await open_daemon()))[:2] == (200, "degraded")


async def test_a_cache_folder_that_was_removed_is_said(
    http: ClientSession, open_daemon: OpenDaemon, tmp_path: Path
) -> None:
    url = await open_daemon()
    shutil.rmtree(tmp_path / "cache")
    status, said, checks = await readiness(http, url)
    assert (status, said) == (200, "degraded")
    assert "restart" in checks["cache"]


@pytest.mark.parametrize("field", ["media_type", "sniffed_type"])
async def test_a_media_type_that_is_none_is_no_answer(
    http: ClientSession, store: StoreServer, open_daemon: OpenDaemon, field: str
) -> None:
    blob: dict[str, Json] = {
        "digest": str(DIGEST),
        "ref": f"blob:{DIGEST}",
        "size": 10,
        "media_type": "image/png",
        "sniffed_type": "image/png",
    }

    async def lie(request: aioweb.Request) -> aioweb.StreamResponse | None:
        if request.path == "/v1/keys/verify":
            return aioweb.json_response({"tenant": "a", "scopes": ["read"], "expires_at": None})
        if request.path != "/v1/resolve":
            return None
        told = {**blob, field: "image/png\r\nSet-Cookie: a=b"}
        return aioweb.json_response({"blobs": [told], "missing": []})

    store.before = lie
    async with http.get(f"{await open_daemon()}/v1/blobs/{DIGEST}") as answer:
        told = await answer.json()
        assert (answer.status, told["code"]) == (502, "store_failed")
        assert "media type" in told["detail"]
