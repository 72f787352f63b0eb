"""The official OpenAI SDK, unmodified, against `coatcheck serve`: only its base URL is ours."""

import base64
from collections.abc import Callable
from typing import Any

import openai
import pytest

from coatcheck.client import Client
from coatcheck.protocol import Digest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def messages(url: str) -> Any:
    return [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": url}},
            ],
        }
    ]


@pytest.fixture
def gateway(serve: Fixture) -> str:
    return str(serve().url)


def sdk(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=2)


def test_a_ref_is_answered_streamed_and_not(gateway: str) -> None:
    with Client(gateway) as client:
        ref = client.put(PIXEL).ref
    with sdk(gateway) as ai:
        whole = ai.chat.completions.create(model="any", messages=messages(ref))
        said = whole.choices[0].message.content or ""
        assert "PNG 1x1" in said
        assert Digest.of(PIXEL) in said
        stream = ai.chat.completions.create(model="any", messages=messages(ref), stream=True)
        streamed = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert streamed == said


async def test_the_async_sdk_streams_too(gateway: str) -> None:
    with Client(gateway) as client:
        ref = client.put(PIXEL).ref
    async with openai.AsyncOpenAI(base_url=f"{gateway}/v1", api_key="none") as ai:
        stream = await ai.chat.completions.create(model="any", messages=messages(ref), stream=True)
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert "PNG 1x1" in said


def test_what_is_missing_is_an_error_the_sdk_does_not_retry(gateway: str) -> None:
    unknown = Digest.of(b"unknown")
    with sdk(gateway) as ai, pytest.raises(openai.NotFoundError) as caught:
        ai.chat.completions.create(model="any", messages=messages(f"blob:{unknown}"))
    assert caught.value.code == "blob_not_found"
    body: Any = caught.value.body
    assert body["missing"] == [{"digest": unknown, "path": "messages.0.content.1.image_url"}]
    assert caught.value.response.headers["x-should-retry"] == "false"
