"""Turns: what is asked, what comes back, and the two fall-backs."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from PIL import Image

from coatcheck.client import (
    BlobNotFoundError,
    Client,
    InvalidAnswerError,
    InvalidArgumentError,
    PromptNotFoundError,
    ServerError,
)
from coatcheck.protocol import (
    Descriptor,
    Digest,
    Json,
    JsonObject,
    MalformedMessageError,
    prompt_digests,
)

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer, MakeClient


def _picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


def _looking_at(url: str, text: str = "What is this?") -> JsonObject:
    return {
        "role": "user",
        "content": [
            {"type": "text", "text": text},
            {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        ],
    }


def _inline(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


HELLO: JsonObject = {"role": "user", "content": "hello"}


def test_an_answer_has_text_message_prompt_and_body(client: Client) -> None:
    answer = client.chat(model="m", messages=[HELLO])
    assert answer.text == "Four pictures, all of coats."
    assert answer.message == {"role": "assistant", "content": answer.text}
    assert answer.prompt == prompt_digests("openai.chat", [HELLO])[-1]
    assert answer.body["id"] == "1"


def test_fields_and_headers_go_along(client: Client, server: FakeServer) -> None:
    client.chat(
        model="m",
        messages=[HELLO],
        temperature=0.5,
        stop=("a", "b"),
        extra_headers={"X-Trace": "7"},
    )
    (seen,) = server.chats
    assert list(seen.json) == ["model", "coatcheck", "temperature", "stop"]
    assert (seen.json["temperature"], seen.json["stop"]) == (0.5, ["a", "b"])
    assert seen.headers["X-Trace"] == "7"
    assert seen.headers["Authorization"] == "Bearer cck_test"


def test_the_upstreams_key_moves_ours_aside(client: Client, server: FakeServer) -> None:
    client.chat(model="m", messages=[HELLO], extra_headers={"authorization": "Bearer theirs"})
    headers = {name.lower(): value for name, value in server.chats[0].headers.items()}
    assert headers["authorization"] == "Bearer theirs"
    assert headers["coatcheck-key"] == "cck_test"


def test_the_callers_messages_are_not_changed(client: Client, server: FakeServer) -> None:
    messages = [_looking_at(_inline(_picture()))]
    client.chat(model="m", messages=messages)
    assert messages == [_looking_at(_inline(_picture()))]
    ref = f"blob:{Digest.of(_picture())}"
    assert server.chats[0].json["coatcheck"] == {"parent": None, "append": [_looking_at(ref)]}


def test_a_pointer_becomes_a_ref(client: Client, server: FakeServer) -> None:
    digest = server.put(_picture())
    pointer = Descriptor.of(digest=digest, size=1, media_type="image/png").pointer
    client.chat(model="m", messages=[_looking_at(_inline(pointer.encode()))])
    ref = f"blob:{digest}?type=image/png"
    assert server.chats[0].json["coatcheck"] == {"parent": None, "append": [_looking_at(ref)]}


def test_tool_calls_are_part_of_the_message(client: Client, server: FakeServer) -> None:
    calls: list[JsonObject] = [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    ]
    server.answer = {"role": "assistant", "content": None, "tool_calls": calls, "refusal": None}
    answer = client.chat(model="m", messages=[HELLO])
    assert answer.message == {"role": "assistant", "content": None, "tool_calls": calls}
    assert answer.text == ""


def test_a_forgotten_prompt_is_sent_whole_once(client: Client, server: FakeServer) -> None:
    messages = [_looking_at(_inline(_picture()))]
    answer = client.chat(model="m", messages=messages)
    server.prompts.clear()
    server.blobs.clear()
    server.seen.clear()
    again = client.chat(model="m", messages=[*messages, answer.message, HELLO])
    assert again.text == answer.text
    parents = [seen.json["coatcheck"] for seen in server.chats]
    assert len(parents) == 2
    assert isinstance(parents[1], dict)
    assert parents[1]["parent"] is None
    assert len(server.sent("PUT")) == 1
    server.seen.clear()
    client.chat(model="m", messages=[*messages, answer.message, HELLO, HELLO])
    assert len(server.chats) == 1


def test_a_server_that_never_finds_the_prompt_is_not_asked_on(
    client: Client, server: FakeServer
) -> None:
    client.chat(model="m", messages=[HELLO])
    server.seen.clear()
    missing: list[Json] = [{"digest": prompt_digests("openai.chat", [HELLO])[-1]}]
    told: JsonObject = {"message": "gone", "code": "prompt_not_found", "missing": missing}
    error: JsonObject = {"error": told}
    server.wrong_answer = lambda: web.json_response(error, status=404)
    with pytest.raises(PromptNotFoundError):
        client.chat(model="m", messages=[HELLO, HELLO])
    assert len(server.chats) == 2


def test_a_lost_blob_is_uploaded_again_from_the_messages(
    client: Client, server: FakeServer
) -> None:
    messages = [_looking_at(_inline(_picture()))]
    answer = client.chat(model="m", messages=messages)
    server.blobs.clear()
    server.seen.clear()
    client.chat(model="m", messages=[*messages, answer.message, HELLO])
    assert [(seen.method, len(seen.body) > 70) for seen in server.seen] == [
        ("POST", True),
        ("PUT", True),
        ("POST", True),
    ]
    assert server.chats[0].json == server.chats[1].json


def test_a_blob_that_stays_lost_is_not_uploaded_for_ever(
    client: Client, server: FakeServer
) -> None:
    digest = Digest.of(_picture())
    server.loses.add(digest)
    with pytest.raises(BlobNotFoundError) as caught:
        client.chat(model="m", messages=[_looking_at(_inline(_picture()))])
    assert [entry.digest for entry in caught.value.missing] == [digest]
    assert len(server.chats) == 3


def test_a_ref_without_bytes_is_the_callers_to_put(client: Client, server: FakeServer) -> None:
    absent = Digest.of(b"nobody has this")
    messages = [_looking_at(_inline(_picture())), _looking_at(f"blob:{absent}")]
    with pytest.raises(BlobNotFoundError) as caught:
        client.chat(model="m", messages=messages)
    (missing,) = caught.value.missing
    assert (missing.digest, missing.path) == (absent, "messages.1.content.1.image_url")
    assert str(absent) in str(caught.value)
    assert len(server.chats) == 1


def test_an_upstreams_refusal_keeps_the_prompt(client: Client, server: FakeServer) -> None:
    prompt = prompt_digests("openai.chat", [HELLO])[-1]
    error: JsonObject = {"error": {"message": "slow down", "code": "rate_limit_exceeded"}}
    server.wrong_answer = lambda: web.json_response(
        error, status=429, headers={"Coatcheck-Prompt": prompt}
    )
    with pytest.raises(ServerError, match="slow down") as caught:
        client.chat(model="m", messages=[HELLO])
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    assert caught.value.retryable
    server.wrong_answer = None
    server.prompts[prompt] = [HELLO]
    client.chat(model="m", messages=[HELLO])
    assert server.chats[1].json["coatcheck"] == {"parent": prompt, "append": []}


def test_another_prompt_than_ours_is_not_believed(client: Client, server: FakeServer) -> None:
    other = prompt_digests("openai.chat", [HELLO, HELLO])[-1]
    answer: JsonObject = {"choices": [{"message": {"role": "assistant", "content": "hi"}}]}
    server.wrong_answer = lambda: web.json_response(answer, headers={"Coatcheck-Prompt": other})
    assert client.chat(model="m", messages=[HELLO]).prompt is None


def test_a_list_without_a_digest_goes_without_an_envelope(
    client: Client, server: FakeServer
) -> None:
    messages: list[JsonObject] = [{"role": "user", "content": "hello", "seed": 2**60}]
    answer = client.chat(model="m", messages=messages)
    assert answer.prompt is None
    assert server.chats[0].json == {"model": "m", "messages": messages}


@pytest.mark.parametrize(
    "body", [b"", b"not json", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"message":"x"}]}']
)
def test_an_answer_that_is_none_is_the_servers_fault(
    client: Client, server: FakeServer, body: bytes
) -> None:
    server.wrong_answer = lambda: web.Response(body=body)
    with pytest.raises(InvalidAnswerError):
        client.chat(model="m", messages=[HELLO])


@pytest.mark.parametrize("field", ["messages", "coatcheck", "stream"])
def test_a_field_that_is_ours_is_refused(make_client: MakeClient, field: str) -> None:
    client = make_client("http://127.0.0.1:9")
    fields: dict[str, object] = {field: True}
    with pytest.raises((InvalidArgumentError, TypeError)):
        client.chat(model="m", **{"messages": [HELLO], **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": object()},
        {"role": "user", "content": [{"type": "text", "text": float("nan")}]},
        {"role": "user", 7: "x"},
        {"role": "user", "content": b"bytes"},
    ],
)
def test_a_message_that_is_not_json_is_named(
    make_client: MakeClient, message: dict[str, object]
) -> None:
    client = make_client("http://127.0.0.1:9")
    with pytest.raises(InvalidArgumentError, match=r"^messages\.1"):
        client.chat(model="m", messages=[HELLO, message])


def test_a_message_of_another_shape_is_named(make_client: MakeClient) -> None:
    client = make_client("http://127.0.0.1:9")
    with pytest.raises(MalformedMessageError, match=r"messages\.0\.content"):
        client.chat(model="m", messages=[{"role": "user", "content": 7}])


def test_no_messages_are_refused(make_client: MakeClient) -> None:
    with pytest.raises(InvalidArgumentError, match="no messages"):
        make_client("http://127.0.0.1:9").chat(model="m", messages=[])


@pytest.mark.parametrize("headers", [{"X": "a\r\nEvil: b"}, {"X\n": "a"}, {"": "a"}, {"X": "ä"}])
def test_a_header_that_could_split_is_refused(
    client: Client, server: FakeServer, headers: dict[str, str]
) -> None:
    with pytest.raises(InvalidArgumentError):
        client.chat(model="m", messages=[HELLO], extra_headers=headers)
    assert server.seen == []
