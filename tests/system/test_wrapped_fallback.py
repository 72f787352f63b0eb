"""Turns of wrapped SDKs while Coatcheck is away: directly to the provider, or an error that says why not."""

import json
import socket
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types
from tests.conftest import Recorder
from tests.daemon.test_equality import same

from coatcheck.client import http_client, wrap
from coatcheck.protocol import Digest

from .test_wrapped_equality import SETTINGS
from .wrapped import picture, text_of

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

REF = f"blob:{Digest.of(picture(1))}"
ANSWER = {
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes"}}],
    "content": [{"type": "text", "text": "Yes"}],
    "candidates": [{"content": {"role": "model", "parts": [{"text": "Yes"}]}}],
}


def answer(status: str, body: bytes, media_type: str = "application/json") -> bytes:
    """Return an answer's bytes."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


@pytest.fixture
def provider(run_recorder: Fixture) -> Recorder:
    """The provider itself."""
    provider: Recorder = run_recorder()
    provider.answer = answer("200 OK", json.dumps(ANSWER).encode())
    return provider


@pytest.fixture
def in_front(run_recorder: Fixture) -> Recorder:
    """What answers in Coatcheck's place."""
    in_front: Recorder = run_recorder()
    return in_front


@pytest.fixture
def nowhere() -> str:
    """An origin where nobody listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{found.getsockname()[1]}"


def asked(url: str) -> Any:
    part = {"type": "image_url", "image_url": {"url": url}}
    return [{"role": "user", "content": [{"type": "text", "text": "What?"}, part]}]


INLINE = asked(f"data:image/png;base64,{text_of(picture(1))}")


def test_nobody_there_means_the_provider_itself(provider: Recorder, nowhere: str) -> None:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-theirs", max_retries=0) as plain:
        plain.chat.completions.create(model="m", messages=INLINE)
        ours = wrap(plain, base_url=nowhere, key="cck_ours", fallback="direct")
        told = ours.chat.completions.create(model="m", messages=INLINE)
        assert told.choices[0].message.content == "Yes"
        one, other = provider.seen
        assert one.body == other.body
        assert other.get("Authorization") == ["Bearer sk-theirs"]
        assert not other.get("Coatcheck-Key")
        ours.files.list()
        assert provider.seen[-1].target == "/v1/files"
        with pytest.raises(openai.APIConnectionError):
            wrap(plain, base_url=nowhere).chat.completions.create(model="m", messages=INLINE)


async def test_so_it_does_for_asynchronous_clients(provider: Recorder, nowhere: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", max_retries=0) as plain:
        source = {"type": "base64", "media_type": "image/png", "data": text_of(picture(1))}
        messages: Any = [{"role": "user", "content": [{"type": "image", "source": source}]}]
        await plain.messages.create(model="m", max_tokens=9, messages=messages)
        ours = wrap(plain, base_url=nowhere, fallback="direct")
        await ours.messages.create(model="m", max_tokens=9, messages=messages)
    one, other = provider.seen
    assert one.body == other.body


@pytest.mark.parametrize("is_streamed", [False, True])
def test_googles_sdk_writes_its_bytes_itself_then(
    provider: Recorder, nowhere: str, is_streamed: bool
) -> None:
    if is_streamed:
        body = b"data: " + json.dumps(ANSWER).encode() + b"\n\n"
        provider.answer = answer("200 OK", body, "text/event-stream")
    options = types.HttpOptions(base_url=provider.url)
    part = types.Part.from_bytes(data=picture(1), mime_type="image/png")
    with genai.Client(api_key="k", http_options=options) as plain:
        for ai in (plain, wrap(plain, base_url=nowhere, fallback="direct")):
            if is_streamed:
                list(ai.models.generate_content_stream(model="m", contents=part))
            else:
                ai.models.generate_content(model="m", contents=part)
    one, other = provider.seen
    assert one.target == other.target
    assert same(one.body, other.body)


@pytest.mark.parametrize(
    "said",
    [
        answer("503 Unavailable", b'{"error": {"code": "store_unavailable"}}'),
        answer("502 Bad Gateway", b'{"error": {"code": "upstream_unreachable"}}'),
        answer("502 Bad Gateway", b"<html>nginx</html>", "text/html"),
        answer("503 Unavailable", b'{"code": "store_closed"}', "application/problem+json"),
    ],
)
def test_so_does_an_answer_that_nobody_took_it(
    provider: Recorder, in_front: Recorder, said: bytes
) -> None:
    in_front.answer = said
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as plain:
        ours = wrap(plain, base_url=in_front.url, fallback="direct")
        told = ours.chat.completions.create(model="m", messages=INLINE)
    assert told.choices[0].message.content == "Yes"
    assert len(provider.seen) == 1


@pytest.mark.parametrize(
    "said",
    [
        answer("503 Unavailable", b'{"error": {"message": "busy", "code": "overloaded"}}'),
        answer("502 Bad Gateway", b'{"error": {"message": "?", "code": "upstream_hung_up"}}'),
        answer("500 Oops", b"{}"),
    ],
)
def test_what_a_provider_says_is_its_answer(
    provider: Recorder, in_front: Recorder, said: bytes
) -> None:
    in_front.answer = said
    text: Any = [{"role": "user", "content": "Hello"}]
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as plain:
        ours = wrap(plain, base_url=in_front.url, fallback="direct")
        with pytest.raises(openai.InternalServerError):
            ours.chat.completions.create(model="m", messages=text)
    assert not provider.seen
    assert len(in_front.seen) == 1


def test_a_turn_that_broke_off_is_not_sent_elsewhere(
    provider: Recorder, in_front: Recorder
) -> None:
    in_front.answer = b"HTTP/1.1 200 OK\r\nContent-Len"  # then it hangs up
    in_front.hangs_up = True
    text: Any = [{"role": "user", "content": "Hello"}]
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as plain:
        ours = wrap(plain, base_url=in_front.url, fallback="direct")
        with pytest.raises(openai.APIConnectionError):
            ours.chat.completions.create(model="m", messages=text)
    assert not provider.seen


def test_what_only_coatcheck_resolves_is_an_error_that_says_so(
    provider: Recorder, nowhere: str
) -> None:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k") as plain:
        ours = wrap(plain, base_url=nowhere, fallback="direct")
        with pytest.raises(openai.InternalServerError) as caught:
            ours.chat.completions.create(model="m", messages=[*INLINE, *asked(REF)])
    assert caught.value.code == "coatcheck_away"
    assert "messages.1.content.1.image_url" in caught.value.message
    options = types.HttpOptions(base_url=provider.url)
    part = types.Part.from_uri(file_uri=REF, mime_type="image/png")
    with genai.Client(api_key="k", http_options=options) as google:
        ai = wrap(google, base_url=nowhere, fallback="direct")
        with pytest.raises(genai_errors.ServerError, match=r"contents\.0\.parts\.0"):
            ai.models.generate_content(model="m", contents=part)
    assert not provider.seen


def test_a_transport_falls_back_to_where_its_sdk_says(provider: Recorder, nowhere: str) -> None:
    with http_client(nowhere, fallback="direct") as sender:
        ai = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", http_client=sender)
        ai.chat.completions.create(model="m", messages=INLINE)
    (seen,) = provider.seen
    assert json.loads(seen.body)["messages"] == INLINE


def test_a_provider_at_its_own_address_is_reached_through_coatcheck(
    provider: Recorder, serve: Fixture
) -> None:
    """The client keeps its provider's base URL and key; the key of ours goes beside it."""
    served = serve(SETTINGS.format(url=provider.url))
    seen: list[httpx2.Request] = []
    with httpx2.Client(event_hooks={"request": [seen.append]}) as sender:
        plain = openai.OpenAI(
            base_url="http://provider.example/api/v9", api_key="sk-theirs", http_client=sender
        )
        ours = wrap(plain, base_url=served.url, key="cck_ours", fallback="direct")
        ours.chat.completions.create(model="m", messages=INLINE)
        assert {(request.url.host, request.url.port) for request in seen} == {
            ("127.0.0.1", int(served.url.rpartition(":")[2]))
        }
        assert all(request.headers["coatcheck-key"] == "cck_ours" for request in seen)
    (taken,) = provider.seen
    assert taken.get("Authorization") == ["Bearer sk-theirs"]
    assert json.loads(taken.body)["messages"] == INLINE
