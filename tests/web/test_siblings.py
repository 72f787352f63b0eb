"""The processes of one server ask each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from coatcheck.web import Route, Server, Siblings, build_app, listen_unix

Answering = Callable[[str], Awaitable[Siblings]]


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Answering]:
    """Open a sibling that says its name."""
    servers: list[Server] = []

    async def start(name: str) -> Siblings:
        siblings = Siblings(tmp_path, name)
        assert siblings.door

        async def say(request: web.Request) -> web.StreamResponse:
            return web.Response(text=siblings.name)

        async def say_nothing(request: web.Request) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        routes = [
            Route("GET", "/name", say, scope=None),
            Route("DELETE", "/name", say, scope=None),
            Route("GET", "/silence", say_nothing, scope=None),
        ]
        server = Server(build_app(routes))
        await server.serve([listen_unix(siblings.door, mode=0o600)[0]])
        servers.append(server)
        return siblings

    yield start
    for server in servers:
        await server.stop(0)


async def test_each_of_the_others_is_asked(answering: Answering) -> None:
    one, _, _ = [await answering(name) for name in ("1", "2", "3")]
    assert sorted(await one.ask("/name")) == [b"2", b"3"]
    assert sorted(await one.ask("/name", method="DELETE")) == [b"2", b"3"]


async def test_who_is_dead_silent_or_does_not_know_is_left_out(
    answering: Answering, tmp_path: Path
) -> None:
    one = await answering("1")
    await answering("2")
    listen_unix(tmp_path / "3.door")[0].close()  # the file of one that was killed
    assert await one.ask("/name") == [b"2"]
    assert await one.ask("/unknown") == []
    assert await one.ask("/silence", patience_seconds=0.05) == []


async def test_who_serves_alone_asks_nobody() -> None:
    alone = Siblings()
    assert alone.door is None
    assert await alone.ask("/name") == []


async def test_a_folder_that_is_gone_has_nobody(tmp_path: Path) -> None:
    assert await Siblings(tmp_path / "gone", "1").ask("/name") == []
