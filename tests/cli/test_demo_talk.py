"""The plain way of talking, against servers that misbehave."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from coatcheck.cli.demo_talk import Links, PlainTalk
from coatcheck.cli.errors import DemoError
from coatcheck.cli.shaping_proxy import LinkShape, ShapingProxy

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def talk_with(handler: Handler, body_limit: int | None = None) -> AsyncGenerator[PlainTalk]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        async with (
            ShapingProxy(port, LinkShape(body_limit_bytes=body_limit)) as limited,
            ShapingProxy(port, LinkShape()) as free,
            aiohttp.ClientSession() as session,
        ):
            yield PlainTalk(session, Links(limited, free))
    finally:
        await runner.cleanup()


async def streamed(request: web.Request, *events: str) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(f"data: {event}\n\n".encode())
    return response


def chunk(text: str) -> str:
    return '{"choices":[{"index":0,"delta":{"content":"' + text + '"}}]}'


async def answer(request: web.Request) -> web.StreamResponse:
    messages = (await request.json())["messages"]
    return await streamed(request, chunk(""), chunk(f"{len(messages)} "), chunk("sent"), "[DONE]")


async def test_the_list_grows_by_the_answer_and_the_next_question() -> None:
    async with talk_with(answer) as talk:
        assert (await talk.ask("one")).text == "1 sent"
        said = await talk.ask("two")
        assert (said.text, said.status) == ("3 sent", 200)
        assert said.first_token_seconds is not None


async def test_a_refused_turn_is_marked_and_answered_without_the_limit() -> None:
    async with talk_with(answer, body_limit=1000) as talk:
        before = talk.traffic
        said = await talk.ask("x" * 2000)
        assert (said.text, said.status) == ("1 sent", 413)
        up = talk.traffic.up - before.up
        assert 2000 < up < 3000


async def refuse(request: web.Request) -> web.StreamResponse:
    return web.Response(status=500, text="out of order")


async def break_off(request: web.Request) -> web.StreamResponse:
    return await streamed(request, chunk("half"))


async def talk_nonsense(request: web.Request) -> web.StreamResponse:
    return await streamed(request, "{", "[DONE]")


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [(refuse, "500: out of order"), (break_off, "before its end"), (talk_nonsense, "not JSON")],
)
async def test_what_is_no_whole_answer_ends_the_demo(handler: Handler, complaint: str) -> None:
    async with talk_with(handler) as talk:
        with pytest.raises(DemoError, match=complaint):
            await talk.ask("hello")


async def test_a_server_that_is_gone_ends_the_demo() -> None:
    async with talk_with(answer) as talk:
        links = Links(*(ShapingProxy(1, LinkShape()) for _ in range(2)))
        async with links.limited, links.free, aiohttp.ClientSession() as session:
            with pytest.raises(DemoError, match="no whole answer"):
                await PlainTalk(session, links).ask("hello")
        assert talk.traffic.up == 0
