"""Redirects that come back to a wrapped SDK, an upstream's among them: our key goes to Coatcheck alone."""

import json
from collections.abc import Callable
from typing import Any

import anthropic
import openai
import pytest
from tests.conftest import Recorder

from coatcheck.client import async_http_client, http_client, wrap

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

KEY = f"cck_{'a' * 8}_{'k' * 40}"
HELLO: Any = [{"role": "user", "content": "Hello"}]
ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes"}}],
    "content": [{"type": "text", "text": "Yes"}],
}


@pytest.fixture
def elsewhere(run_recorder: Fixture) -> Recorder:
    """Where an upstream sends who asks."""
    elsewhere: Recorder = run_recorder()
    body = json.dumps(ANSWER).encode()
    head = (
        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    elsewhere.answer = head.encode() + body
    return elsewhere


@pytest.fixture
def in_front(run_recorder: Fixture, elsewhere: Recorder) -> Recorder:
    """What answers in Coatcheck's place."""
    in_front: Recorder = run_recorder()
    head = f"HTTP/1.1 307 Go\r\nLocation: {elsewhere.url}/v1/elsewhere\r\nContent-Length: 0\r\n\r\n"
    in_front.answer = head.encode()
    return in_front


def our_keys(recorder: Recorder) -> list[str]:
    """Return what a host was sent with one of our keys in it."""
    assert recorder.seen
    return [str(each) for each in recorder.seen if KEY in repr(each)]


@pytest.mark.parametrize("library", ["httpx2", "httpx"])
def test_a_client_of_ours_follows_without_the_key(
    in_front: Recorder, elsewhere: Recorder, library: Any
) -> None:
    with http_client(in_front.url, KEY, library) as sender:
        for path in ("/v1/chat/completions", "/v1/files"):
            body = {"model": "m", "messages": HELLO}
            assert sender.post(f"https://provider.example{path}", json=body).status_code == 200
    assert our_keys(in_front)
    assert not our_keys(elsewhere)


async def test_so_does_an_asynchronous_one(in_front: Recorder, elsewhere: Recorder) -> None:
    async with async_http_client(in_front.url, KEY) as sender:
        body = {"model": "m", "messages": HELLO}
        url = "https://provider.example/v1/chat/completions"
        assert (await sender.post(url, json=body)).status_code == 200
    assert our_keys(in_front)
    assert not our_keys(elsewhere)


def test_a_wrapped_sdk_follows_without_the_key(in_front: Recorder, elsewhere: Recorder) -> None:
    with openai.OpenAI(base_url="https://provider.example/v1", api_key="k", max_retries=0) as plain:
        ours = wrap(plain, base_url=in_front.url, key=KEY)
        ours.chat.completions.create(model="m", messages=HELLO)
    with anthropic.Anthropic(base_url="https://provider.example", api_key="k") as other:
        theirs = wrap(other, base_url=in_front.url, key=KEY)
        theirs.messages.create(model="m", max_tokens=9, messages=HELLO)
    assert our_keys(in_front)
    assert not our_keys(elsewhere)
