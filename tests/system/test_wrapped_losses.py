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


def _chat(turns: int) -> Any:
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": f"Turn {turn}"},
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/png;base64,{text_of(picture(turn))}"},
                },
            ],
        }
        for turn in range(turns)
    ]


def _messages(turns: int) -> Any:
    def source(turn: int) -> Any:
        return {"type": "base64", "media_type": "image/png", "data": text_of(picture(turn))}

    return [
        {"role": "user", "content": [{"type": "image", "source": source(turn)}]}
        for turn in range(turns)
    ]


def _contents(turns: int) -> Any:
    return [
        types.Content(
            role="user",
            parts=[types.Part.from_bytes(data=picture(turn), mime_type="image/png")],
        )
        for turn in range(turns)
    ]


async def _ask(ai: Any, turns: int) -> str:
    if isinstance(ai, openai.AsyncOpenAI):
        chat = await ai.chat.completions.create(model="m", messages=_chat(turns))
        return chat.choices[0].message.content or ""
    if isinstance(ai, anthropic.AsyncAnthropic):
        told: Any = await ai.messages.create(model="m", max_tokens=9, messages=_messages(turns))
        return str(told.content[0].text)
    whole: Any = await ai.aio.models.generate_content(model="m", contents=_contents(turns))
    return str(whole.text)


@pytest.mark.parametrize("sdk", ["openai", "anthropic", "google-genai"])
async def test_a_server_that_lost_everything_is_given_it_again(
    serve: Fixture, tmp_path: Path, sdk: str
) -> None:
    seen = Seen()
    served = serve()
    async with relaying(served.url) as relay, seen.async_client() as sender:
        plain: Any
        if sdk == "openai":
            plain = openai.AsyncOpenAI(
                base_url=f"{relay.url}/v1", api_key="k", http_client=sender, max_retries=0
            )
        elif sdk == "anthropic":
            plain = anthropic.AsyncAnthropic(
                base_url=relay.url, api_key="k", http_client=sender, max_retries=0
            )
        else:
            options = types.HttpOptions(base_url=relay.url, httpx_async_client=sender)
            plain = genai.Client(api_key="k", http_options=options)
        ours = wrap(plain)
        for turns in (1, 2, 3):
            assert Digest.of(picture(turns - 1)) in await _ask(ours, turns)
        assert len(seen.uploads) == 3
        assert served.stop() == 0
        relay.target = serve(data=tmp_path / "new").url
        for turns in (3, 4):
            told = await _ask(ours, turns)
            assert all(Digest.of(picture(turn)) in told for turn in range(turns))
        assert sorted(seen.uploads) == sorted(
            [*(Digest.of(picture(turn)) for turn in range(4)), *seen.uploads[3:6]]
        )
        assert len(set(seen.uploads[3:6])) == 3
        assert await _ask(plain, 4) == told


async def test_a_key_rides_in_the_sdks_place_or_beside_it(serve: Fixture, tmp_path: Path) -> None:
    key = await make_key(tmp_path / "data", "alice")
    url = serve(data=tmp_path / "data").url
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=key) as ours:
        assert Digest.of(picture(0)) in await _ask(wrap(ours), 1)
    options = types.HttpOptions(base_url=url)
    assert Digest.of(picture(0)) in await _ask(
        wrap(genai.Client(api_key=key, http_options=options)), 1
    )
    async with anthropic.AsyncAnthropic(base_url="https://a.example", api_key="theirs") as theirs:
        assert Digest.of(picture(0)) in await _ask(wrap(theirs, base_url=url, key=key), 1)
        with pytest.raises(anthropic.AuthenticationError):
            await _ask(wrap(theirs, base_url=url), 1)
        with pytest.raises(anthropic.AuthenticationError):
            await _ask(wrap(theirs, base_url=url, key="cck_no"), 1)
