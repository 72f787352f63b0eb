"""Wrapped SDKs beside servers that lose what they had, and servers that take keys."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from tests.clients.processes import make_key
from tests.clients.relay import relaying

from coatcheck.client import wrap
from coatcheck.protocol import Digest

from .wrapped import Seen, picture, text_of

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system


# Each SDK has pictures of its own, so that none finds what another has uploaded.
_FIRST = {"AsyncOpenAI": 100, "AsyncAnthropic": 200, "Client": 300}


def _pictures(ai: Any, turns: int) -> list[bytes]:
    first = _FIRST[type(ai).__name__]
    return [picture(first + turn) for turn in range(turns)]


def _chat(pictures: list[bytes]) -> Any:
    urls = [f"data:image/png;base64,{text_of(data)}" for data in pictures]
    return [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}
        for url in urls
    ]


def _messages(pictures: list[bytes]) -> Any:
    sources = [
        {"type": "base64", "media_type": "image/png", "data": text_of(data)} for data in pictures
    ]
    return [
        {"role": "user", "content": [{"type": "image", "source": source}]} for source in sources
    ]


def _contents(pictures: list[bytes]) -> Any:
    parts = [types.Part.from_bytes(data=data, mime_type="image/png") for data in pictures]
    return [types.Content(role="user", parts=[part]) for part in parts]


async def _ask(ai: Any, turns: int) -> str:
    pictures = _pictures(ai, turns)
    if isinstance(ai, openai.AsyncOpenAI):
        chat = await ai.chat.completions.create(model="m", messages=_chat(pictures))
        return chat.choices[0].message.content or ""
    if isinstance(ai, anthropic.AsyncAnthropic):
        messages = _messages(pictures)
        told: Any = await ai.messages.create(model="m", max_tokens=9, messages=messages)
        return str(told.content[0].text)
    whole: Any = await ai.aio.models.generate_content(model="m", contents=_contents(pictures))
    return str(whole.text)


async def test_a_server_that_lost_everything_is_given_it_again(
    serve: Fixture, tmp_path: Path
) -> None:
    seen = Seen()
    served = serve()
    async with relaying(served.url) as relay, seen.async_client() as sender:
        options = types.HttpOptions(base_url=relay.url, httpx_async_client=sender)
        common: Any = {"api_key": "k", "http_client": sender, "max_retries": 0}
        plain: list[Any] = [
            openai.AsyncOpenAI(base_url=f"{relay.url}/v1", **common),
            anthropic.AsyncAnthropic(base_url=relay.url, **common),
            genai.Client(api_key="k", http_options=options),
        ]
        ours = [wrap(ai) for ai in plain]
        for ai in ours:
            for turns in (1, 2, 3):
                assert Digest.of(_pictures(ai, 3)[turns - 1]) in await _ask(ai, turns)
        assert len(seen.uploads) == len(set(seen.uploads)) == 9
        seen.requests.clear()
        assert served.stop() == 0
        relay.target = serve(data=tmp_path / "new").url
        for ai in ours:
            for turns in (3, 4):
                told = await _ask(ai, turns)
                assert all(Digest.of(data) in told for data in _pictures(ai, turns))
        assert len(seen.uploads) == len(set(seen.uploads)) == 12
        for ai, other in zip(ours, plain, strict=True):
            assert await _ask(ai, 4) == await _ask(other, 4)


async def test_a_key_rides_in_the_sdks_place_or_beside_it(serve: Fixture, tmp_path: Path) -> None:
    key = await make_key(tmp_path / "data", "alice")
    url = serve(data=tmp_path / "data").url
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as ours:
        assert "PNG" in await _ask(wrap(ours), 1)
    options = types.HttpOptions(base_url=url)
    assert "PNG" in await _ask(wrap(genai.Client(api_key=key, http_options=options)), 1)
    async with anthropic.AsyncAnthropic(base_url="https://a.example", api_key="theirs") as theirs:
        assert "PNG" in await _ask(wrap(theirs, base_url=url, key=key), 1)
        with pytest.raises(anthropic.AuthenticationError):
            await _ask(wrap(theirs, base_url=url), 1)
        with pytest.raises(anthropic.AuthenticationError):
            await _ask(wrap(theirs, base_url=url, key="cck_no"), 1)
