"""Streams through wrapped SDKs: each event is there when it was sent, cut anywhere."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from coatcheck.client import async_http_client, wrap

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
NAMED = f": coatcheck-answer sha256:{'a' * 64}\n\n".encode()


def event(text: str) -> bytes:
    """Return one event of a chat's stream."""
    delta = {"choices": [{"index": 0, "delta": {"content": text}}]}
    return b"data: " + json.dumps(delta).encode() + b"\n\n"


@asynccontextmanager
async def serving(talk: Talk) -> AsyncGenerator[str]:
    """Answer each request, once it was read, by a function."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
        writer.write(HEAD)
        await talk(reader, writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def said(chunk: Any) -> str:
    return str(chunk.choices[0].delta.content)


@pytest.mark.parametrize("way", ["wrap", "transport"])
@pytest.mark.parametrize("modalities", [None, ["text", "image"]])
async def test_an_event_is_there_before_the_next_is_sent(way: str, modalities: Any) -> None:
    goes_on = asyncio.Event()

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(event("one"))
        await writer.drain()
        await goes_on.wait()
        writer.write(event("two") + NAMED + b"data: [DONE]\n\n")

    async with serving(talk) as url:
        sender = async_http_client(url) if way == "transport" else None
        async with openai.AsyncOpenAI(
            base_url=f"{url}/v1", api_key="k", max_retries=0, http_client=sender
        ) as plain:
            ai = wrap(plain) if way == "wrap" else plain
            messages: Any = [{"role": "user", "content": "Hello"}]
            stream: Any = await ai.chat.completions.create(
                model="m", messages=messages, stream=True, modalities=modalities
            )
            chunks = aiter(stream)
            assert said(await anext(chunks)) == "one"
            goes_on.set()
            assert [said(chunk) async for chunk in chunks] == ["two"]


@pytest.mark.parametrize("modalities", [None, ["text", "image"]])
async def test_a_stream_cut_anywhere_is_the_same_without_what_is_for_us(modalities: Any) -> None:
    body = event("Grüße") + NAMED + event("two") + b"data: [DONE]\n\n"

    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for at in range(len(body)):
            writer.write(body[at : at + 1])
            await writer.drain()

    async with (
        serving(talk) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as plain,
    ):
        ours = wrap(plain).chat.completions.with_streaming_response
        messages: Any = [{"role": "user", "content": "Hello"}]
        async with ours.create(
            model="m", messages=messages, stream=True, modalities=modalities
        ) as response:
            passed = b"".join([piece async for piece in response.iter_bytes()])
    assert passed == body.replace(NAMED, b"")


async def test_a_stream_that_nobody_reads_to_its_end_is_let_go() -> None:
    is_over = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(event("one"))
        await writer.drain()
        assert await reader.read() == b""
        is_over.set()

    async with (
        serving(talk) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as plain,
    ):
        messages: Any = [{"role": "user", "content": "Hello"}]
        stream = await wrap(plain).chat.completions.create(
            model="m", messages=messages, stream=True
        )
        async with stream:
            assert said(await anext(aiter(stream))) == "one"
        await asyncio.wait_for(is_over.wait(), 20)


async def test_a_call_that_is_cancelled_lets_its_connection_go() -> None:
    is_asked, is_over = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await writer.drain()
        is_asked.set()
        await reader.read()
        is_over.set()

    async with (
        serving(talk) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as plain,
    ):
        messages: Any = [{"role": "user", "content": "Hello"}]
        call = asyncio.ensure_future(
            wrap(plain).chat.completions.create(model="m", messages=messages)
        )
        await asyncio.wait_for(is_asked.wait(), 20)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(is_over.wait(), 20)
