"""Conversations that go on from an answer's name: with the store's own gateway, and a daemon elsewhere."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from coatcheck.client import AsyncClient, Client
from coatcheck.protocol import JsonObject, prompt_digests

from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8"
    "cfc000000301010018dd8db00000000049454e44ae426082"
)


@dataclass
class Wire:
    """A server's address, by way of a relay that keeps what clients send."""

    url: str
    sent: bytearray = field(default_factory=bytearray)

    def take(self) -> bytes:
        """Return what was sent since it was asked last."""
        sent = bytes(self.sent)
        self.sent.clear()
        return sent


@asynccontextmanager
async def wired(target: str) -> AsyncGenerator[Wire]:
    wire = Wire("")
    port = urlsplit(target).port
    pipes: set[asyncio.Task[None]] = set()

    async def pipe(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
    ) -> None:
        try:
            while data := await reader.read(65536):
                kept += data
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection("127.0.0.1", port)
        tasks = [
            asyncio.create_task(pipe(reader, down, wire.sent)),
            asyncio.create_task(pipe(up, writer, bytearray())),
        ]
        pipes.update(tasks)
        await asyncio.gather(*tasks, return_exceptions=True)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    wire.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield wire
    finally:
        server.close()
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


def user(text: str, *parts: JsonObject) -> JsonObject:
    return {"role": "user", "content": [{"type": "text", "text": text}, *parts]}


async def converse(wire: Wire, key: str) -> list[JsonObject]:
    """Take three turns, the second one streamed; nothing that was said is sent again."""
    async with AsyncClient(wire.url, key) as client:
        image = (await client.put(PNG)).ref
        picture: JsonObject = {"type": "image_url", "image_url": {"url": image}}
        messages = [user("What is the first question?", picture)]
        wire.take()
        first = await client.chat(model="echo", messages=messages)
        assert "1 message;" in first.text
        assert b"first question" in wire.take()
        messages += [first.message, user("And the second one?")]
        async with await client.chat_stream(model="echo", messages=messages) as stream:
            async for _ in stream:
                pass
        assert "3 messages;" in stream.text
        assert_only(wire.take(), "second one")
        messages += [stream.message, user("And number three?")]
        third = await client.chat(model="echo", messages=messages)
        assert "5 messages;" in third.text
        assert "Attachments: 1" in third.text
        assert_only(wire.take(), "number three")
        return [*messages, third.message]


def assert_only(sent: bytes, text: str) -> None:
    """Assert that one request says a text, and nothing that was said before."""
    assert text.encode() in sent
    for before in (b"first question", b"I was given", b"blob:sha256", b"image_url"):
        assert before not in sent
    assert len(sent) < 1000


async def go_on(url: str, key: str, messages: list[JsonObject]) -> str:
    """Take a turn that names all that was said by its digest alone."""
    parent = prompt_digests("openai.chat", messages)[-1]
    body = {"model": "echo", "coatcheck": {"parent": parent, "append": [user("More?")]}}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
        http.post(f"{url}/v1/chat/completions", json=body) as answer,
    ):
        told = await answer.json()
        assert answer.status == 200, told
        return str(told["choices"][0]["message"]["content"])


async def test_neither_question_nor_answer_is_sent_again(serve: Fixture, tmp_path: Path) -> None:
    daemon_key, [alice, bob] = await make_keys(tmp_path / "data", "alice", "bob")
    served = await asyncio.to_thread(serve)
    async with wired(served.url) as wire:
        embedded = await converse(wire, bob)
    async with run_daemon(tmp_path, served.url, daemon_key) as daemon:
        async with wired(daemon.url) as wire:
            messages = await converse(wire, alice)
        # Whoever else asks for the same tenant may go on, wherever.
        assert "7 messages;" in await go_on(served.url, alice, messages)
        assert "7 messages;" in await go_on(daemon.url, bob, embedded)

        def ask() -> str:
            with Client(daemon.url, alice) as client:
                return client.chat(model="echo", messages=[*messages, user("More?")]).text

        assert "7 messages;" in await asyncio.to_thread(ask)
