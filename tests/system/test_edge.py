"""The official SDKs, unmodified, through an edge, its remote, and an upstream that is watched.

`coatcheck daemon --remote` and `coatcheck serve` are processes of their own, and the link between them is
counted. What an upstream gets is compared with what it gets from the same SDK without us.
"""

import asyncio
import base64
import io
import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anthropic
import openai
import pytest
from google import genai
from google.genai import types as genai_types
from PIL import Image
from tests.clients.relay import Relay, relaying
from tests.daemon.edge.conftest import Link

from coatcheck.protocol import Json, decode_json

from .deployment import Running, make_keys, run_edge

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

TURNS = 3
SPENT_BYTES = 4096
"""What a turn may take beside its new image: the new text, headers, the digests."""


def picture(seed: int) -> bytes:
    """Return a PNG of some 110 kB."""
    file = io.BytesIO()
    noise = random.Random(seed).randbytes(3 * 192 * 192)
    Image.frombytes("RGB", (192, 192), noise).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(seed) for seed in range(TURNS)]
TEXTS = [base64.b64encode(data).decode() for data in PICTURES]
QUESTIONS = [f"What is picture {number}?" for number in range(TURNS)]

Talk = Callable[[str, str, bool], Awaitable[list[str]]]
"""A conversation with a server, naming a model, streamed or not; returns the texts of the answers."""


async def talk_chat(url: str, model: str, is_streamed: bool) -> list[str]:
    messages: list[Any] = [{"role": "system", "content": "Be brief."}]
    said: list[str] = []
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-theirs") as ai:
        for question, text in zip(QUESTIONS, TEXTS, strict=True):
            shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text}"}}
            parts = [{"type": "text", "text": question}, shown]
            messages.append({"role": "user", "content": parts})
            if is_streamed:
                stream = await ai.chat.completions.create(
                    model=model, messages=messages, stream=True
                )
                deltas = [chunk.choices[0].delta.content or "" async for chunk in stream]
                said.append("".join(deltas))
            else:
                whole = await ai.chat.completions.create(model=model, messages=messages)
                said.append(whole.choices[0].message.content or "")
            messages.append({"role": "assistant", "content": said[-1]})
    return said


async def talk_responses(url: str, model: str, is_streamed: bool) -> list[str]:
    items: list[Any] = []
    said: list[str] = []
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-theirs") as ai:
        for question, text in zip(QUESTIONS, TEXTS, strict=True):
            parts = [
                {"type": "input_text", "text": question},
                {"type": "input_image", "image_url": f"data:image/png;base64,{text}"},
            ]
            items.append({"role": "user", "content": parts})
            if is_streamed:
                async with ai.responses.stream(model=model, input=items, store=False) as stream:
                    said.append((await stream.get_final_response()).output_text)
            else:
                whole = await ai.responses.create(model=model, input=items, store=False)
                said.append(whole.output_text)
            items.append({"role": "assistant", "content": said[-1]})
    return said


async def talk_anthropic(url: str, model: str, is_streamed: bool) -> list[str]:
    messages: list[Any] = []
    said: list[str] = []
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-theirs") as ai:
        for question, text in zip(QUESTIONS, TEXTS, strict=True):
            source = {"type": "base64", "media_type": "image/png", "data": text}
            blocks = [{"type": "image", "source": source}, {"type": "text", "text": question}]
            messages.append({"role": "user", "content": blocks})
            asked: Any = {"model": model, "max_tokens": 100, "messages": messages}
            if is_streamed:
                async with ai.messages.stream(**asked) as stream:
                    said.append(await stream.get_final_text())
            else:
                whole = cast("Any", await ai.messages.create(**asked))
                said.append(str(whole.content[0].text))
            messages.append({"role": "assistant", "content": said[-1]})
    return said


async def talk_gemini(url: str, model: str, is_streamed: bool) -> list[str]:
    return await asyncio.to_thread(_talk_gemini, url, model, is_streamed)


def _talk_gemini(url: str, model: str, is_streamed: bool) -> list[str]:
    contents: list[Any] = []
    said: list[str] = []
    options = genai_types.HttpOptions(base_url=url)
    with genai.Client(api_key="theirs", http_options=options) as ai:
        for question, data in zip(QUESTIONS, PICTURES, strict=True):
            parts = [
                genai_types.Part.from_text(text=question),
                genai_types.Part.from_bytes(data=data, mime_type="image/png"),
            ]
            contents.append(genai_types.Content(role="user", parts=parts))
            if is_streamed:
                stream = ai.models.generate_content_stream(model=model, contents=contents)
                said.append("".join([chunk.text or "" for chunk in stream]))
            else:
                whole = ai.models.generate_content(model=model, contents=contents)
                said.append(whole.text or "")
            answer = [genai_types.Part.from_text(text=said[-1])]
            contents.append(genai_types.Content(role="model", parts=answer))
    return said


TALKS = [talk_chat, talk_responses, talk_anthropic, talk_gemini]


@dataclass
class Line:
    """An edge, the link to its remote, and the relay before the upstream."""

    edge: Running
    link: Link
    relay: Relay
    remote: str


@asynccontextmanager
async def line(serve: Fixture, folder: Path) -> AsyncGenerator[Line]:
    """Run all of it: edge, link, remote, relay and, as the upstream, the echo of another server."""
    _, [key] = await make_keys(folder / "remote", "alice")
    echo = await asyncio.to_thread(serve, data=folder / "echo")
    async with relaying(echo.url) as relay:
        settings = "".join(
            f'[[upstream]]\nname = "{dialect}"\ndialect = "{dialect}"\n'
            f'base_url = "{relay.url}{base}"\n'
            for dialect, base in (
                ("openai.chat", "/v1"),
                ("openai.responses", "/v1"),
                ("anthropic.messages", ""),
                ("gemini.generate", ""),
            )
        )
        remote = await asyncio.to_thread(serve, settings, data=folder / "remote")
        host, port = remote.url.removeprefix("http://").split(":")
        link = Link((host, int(port)))
        server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
        try:
            near = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            async with run_edge(folder, near, key) as edge:
                yield Line(edge, link, relay, remote.url)
                assert await asyncio.to_thread(edge.stop) == 0
        finally:
            server.close()


def bodies(relay: Relay, model: str) -> list[Json]:
    """Return what an upstream got for a model."""
    return [
        _of_no_model(decode_json(passed.body.encode("latin-1"))) for passed in relay.seen[model]
    ]


def _of_no_model(body: Json) -> Json:
    assert isinstance(body, dict)
    return {key: value for key, value in body.items() if key != "model"}


async def test_an_upstream_gets_the_same_and_the_link_each_byte_once(
    serve: Fixture, tmp_path: Path
) -> None:
    async with line(serve, tmp_path) as chain:
        for talk in TALKS:
            for is_streamed in (False, True):
                name = f"{talk.__name__}-{is_streamed}".lower().replace("_", "-")
                up = chain.link.up
                through = await talk(chain.edge.url, f"edge-{name}", is_streamed)
                spent = chain.link.up - up
                direct = await talk(chain.relay.url, f"direct-{name}", is_streamed)
                assert through == direct
                assert len(set(through)) == TURNS
                got = bodies(chain.relay, f"edge-{name}")
                assert got == bodies(chain.relay, f"direct-{name}")
                assert len(got) == TURNS
                new = 0 if talk is not TALKS[0] or is_streamed else sum(map(len, PICTURES))
                assert spent < new + TURNS * SPENT_BYTES, name
        keys = [
            passed for seen in chain.relay.seen.values() for passed in seen if "cck_" in passed.body
        ]
        assert keys == []


async def test_a_remote_that_is_killed_and_wiped_is_given_all_of_it_again(
    serve: Fixture, tmp_path: Path
) -> None:
    remote = await asyncio.to_thread(serve, data=tmp_path / "remote")
    port = remote.url.rpartition(":")[2]
    shown = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{TEXTS[0]}"}}
    messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "?"}, shown]}]
    async with (
        run_edge(tmp_path, remote.url, None) as edge,
        openai.AsyncOpenAI(base_url=f"{edge.url}/v1", api_key="none") as ai,
    ):
        first = await ai.chat.completions.create(model="echo", messages=messages)
        remote.process.kill()
        await asyncio.to_thread(remote.process.wait)
        with pytest.raises(openai.APIError) as caught:
            await ai.with_options(max_retries=0).chat.completions.create(
                model="echo", messages=messages
            )
        assert isinstance(caught.value, openai.InternalServerError)
        assert caught.value.status_code == 502
        await asyncio.to_thread(serve, data=tmp_path / "other", port=int(port))
        messages.append({"role": "assistant", "content": first.choices[0].message.content})
        messages.append({"role": "user", "content": "And again?"})
        second = await ai.chat.completions.create(model="echo", messages=messages)
        assert second.choices[0].message.content
