"""What Dify's API is told when the plugin daemon, or the daemon beside it, is away or breaks off."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from ..clients.processes import free_port
from ..system.station import Clock, Station
from .api_client import Answer, ApiClient, DaemonError
from .face import on_loopback
from .go_structs import frame, success
from .prompt import image, invocation, picture, user

SAID = frame(
    success(
        {
            "model": "m",
            "system_fingerprint": "",
            "delta": {
                "index": 0,
                "message": {"role": "assistant", "content": "word ", "tool_calls": []},
            },
            "prompt_messages": [],
        }
    )
)
Settings = dict[str, object]


def before(plugin_daemon: str, folder: Path) -> list[tuple[str, Settings]]:
    """Return a server."""
    upstream = {"name": "dify", "dialect": "dify.llm", "base_url": plugin_daemon}
    return [("serve", {"data": folder / "data", "upstream": [upstream]})]


def edge(plugin_daemon: str, folder: Path) -> list[tuple[str, Settings]]:
    """Return an edge whose remote is away."""
    return [("daemon", {"remote": plugin_daemon, "cache": folder / "cache"})]


def both(plugin_daemon: str, folder: Path) -> list[tuple[str, Settings]]:
    """Return a server, and an edge before it."""
    return [*before(plugin_daemon, folder), ("daemon", {"cache": folder / "cache"})]


@asynccontextmanager
async def asking(commands: list[tuple[str, Settings]]) -> AsyncGenerator[ApiClient]:
    """Run commands, each before the one that was named first; yield Dify's client of the last."""
    async with AsyncExitStack() as stack:
        url = ""
        for name, settings in commands:
            remote = {"remote": url} if url else {}
            station = Station(name, Clock(), settings | remote)
            stack.push_async_callback(station.stop)
            await station.start()
            url = station.url
        yield stack.enter_context(ApiClient(url, "key", "author/name"))


DATA = invocation("http://127.0.0.1:9/v1", [user("What is it?", image(picture(5000)))])


async def raised(api: ApiClient, answer: Answer) -> DaemonError:
    """Return what the API raises."""
    with pytest.raises(DaemonError) as caught:
        await asyncio.to_thread(lambda: list(api.stream(DATA, answer)))
    return caught.value


@pytest.mark.parametrize("arrange", [before, edge, both])
async def test_nobody_listens(
    arrange: Callable[[str, Path], list[tuple[str, Settings]]], tmp_path: Path
) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    async with asking(arrange(away, tmp_path)) as api:
        error = await raised(api, Answer())
        assert error.kind == "InvokeConnectionError"
        assert error.details["code"] == "upstream_unreachable"
        other = await asyncio.to_thread(api.get, "management/list")
        assert other.status_code == 502


@pytest.mark.parametrize("arrange", [before, both])
async def test_it_breaks_off(
    arrange: Callable[[str, Path], list[tuple[str, Settings]]], tmp_path: Path
) -> None:
    async def respond(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(SAID * 2 + SAID[:20])
        assert request.transport
        request.transport.abort()
        return response

    application = web.Application()
    application.router.add_post("/{path:.*}", respond)
    answer = Answer()
    async with on_loopback(application) as broken, asking(arrange(broken, tmp_path)) as api:
        error = await raised(api, answer)
    assert [chunk.delta.message.content for chunk in answer.chunks] == ["word ", "word "]
    assert error.kind == "InvokeConnectionError"


@pytest.mark.parametrize("arrange", [before, both])
async def test_other_paths_pass_whatever_they_carry(
    arrange: Callable[[str, Path], list[tuple[str, Settings]]], tmp_path: Path
) -> None:
    """Methods, queries, headers, statuses and bodies of some megabytes, both ways."""
    seen: list[tuple[str, str, str | None, int]] = []

    async def respond(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.method, request.raw_path, request.headers.get("X-Api-Key"), len(body)))
        return web.Response(
            status=418, body=body[::-1], headers={"X-Said": "this", "Content-Type": "x/y"}
        )

    application = web.Application(client_max_size=1 << 26)
    application.router.add_route("*", "/{path:.*}", respond)
    bodies = [b"", b'{"a":1,"a":NaN}', picture(9_000_000).data]
    paths = [
        "/plugin/t/management/install/upload/package?verify=false&x=%2F",
        "/plugin/t/dispatch/text_embedding/invoke",
        "/plugin/t/dispatch/tool/invoke",
        "/plugin/t/asset/a%20b.svg",
        "/v2/invoke/dispatch/rerank/invoke",
    ]
    async with on_loopback(application) as other, asking(arrange(other, tmp_path)) as api:
        for method in ("POST", "PUT", "DELETE", "GET"):
            for path, body in zip(paths, [*bodies, b"{}", b"1"], strict=True):
                content = b"" if method == "GET" else body
                answer = await asyncio.to_thread(api.send, method, path, content)
                assert (answer.status_code, answer.headers["X-Said"]) == (418, "this")
                assert answer.headers["Content-Type"] == "x/y"
                assert answer.content == content[::-1]
                assert seen.pop() == (method, path, "key", len(content))
    assert seen == []
