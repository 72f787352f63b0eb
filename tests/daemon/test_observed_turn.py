"""What is read of a turn is digests and lengths, and the lengths are those that a client sends."""

import base64
from collections.abc import Callable
from dataclasses import asdict

import pytest

from coatcheck.client.blobs import missing
from coatcheck.client.chat import DIALECT
from coatcheck.client.exchange import Request
from coatcheck.client.known import Known
from coatcheck.client.shorten import shorten
from coatcheck.daemon.errors import TooLargeError
from coatcheck.daemon.observed_turn import ObservedTurn, ReadLimits, question_bytes, read_turn
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    dialect,
    encode_json,
    prompt_digests,
    prompt_root,
)

DataUrl = Callable[..., str]
Picture = Callable[..., bytes]
CHAT, DIFY = dialect(DIALECT), dialect("dify.llm")


def _read(body: JsonObject) -> ObservedTurn:
    turn = read_turn(encode_json(body), CHAT, ReadLimits())
    assert turn is not None
    return turn


def _conversation(picture: Picture, data_url: DataUrl) -> list[Json]:
    part: JsonObject = {"type": "image_url", "image_url": {"url": data_url(picture("red"))}}
    wrong: JsonObject = {
        "type": "image_url",
        "image_url": {"url": data_url(picture("blue"), "x/y")},
    }
    return [
        {"role": "system", "content": "Sei kurz. “Ja”, \n😀"},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, part, wrong, part]},
        {"role": "assistant", "content": "A coat."},
        {"role": "user", "content": "And now?"},
    ]


@pytest.mark.parametrize("start", range(5))
def test_an_envelope_is_as_long_as_the_one_a_client_sends(
    start: int, picture: Picture, data_url: DataUrl
) -> None:
    messages = _conversation(picture, data_url)
    body: JsonObject = {"model": "m", "messages": messages, "temperature": 0.5}
    short = shorten(body, CHAT, Known(0))
    assert short
    sent = short.encode(start)
    turn = _read(body)
    assert turn.envelope_bytes(start) == len(sent)


@pytest.mark.parametrize("known", [set[str](), {"tools"}, {"tools", "response_format"}])
@pytest.mark.parametrize("rest", [{}, {"temperature": 0.5}])
def test_an_envelope_names_what_stands_beside_the_messages(
    known: set[str], rest: JsonObject
) -> None:
    body: JsonObject = {
        **rest,
        "tools": [{"type": "function", "name": "é" * 300}],
        "response_format": {"name": "x" * 600},
        "messages": [{"role": "user", "content": "What?"}],
    }
    short = shorten(body, CHAT, Known(0))
    assert short
    model: JsonObject = {"model": "m"}
    sent = len(short.encode(0, known)) + len(encode_json(model)) - 1
    assert _read(body | model).envelope_bytes(0, known) == sent


def _difys(*messages: Json, **rest: Json) -> JsonObject:
    data: JsonObject = {"model": "m", "credentials": {"key": "é" * 600}, **rest}
    return {"user_id": "u", "data": {**data, "prompt_messages": [*messages]}, "context": {"a": []}}


@pytest.mark.parametrize("known", [set[str](), {"tools"}, {"tools", "stop"}])
@pytest.mark.parametrize("start", range(4))
def test_an_envelope_of_difys_is_as_long_as_the_one_a_client_sends(
    start: int, known: set[str], picture: Picture
) -> None:
    red = base64.b64encode(picture("red")).decode()
    item: JsonObject = {"type": "image", "base64_data": red, "url": "", "mime_type": "image/png"}
    asking: JsonObject = {"role": "user", "content": [{"type": "text", "data": "é"}, item, item]}
    body = _difys(
        asking,
        {"role": "assistant", "content": None},
        asking,
        tools=[{"name": "é" * 300}],
        stop=["x" * 600],
    )
    short = shorten(body, DIFY, Known(0))
    turn = read_turn(encode_json(body), DIFY, ReadLimits())
    assert short
    assert turn
    assert turn.envelope_bytes(start, known) == len(short.encode(start, known))
    assert [field.key for field in turn.fields] == ["tools", "stop"]
    assert [len(one.images) for one in turn.messages] == [2, 0, 2]


def test_a_list_of_difys_without_a_digest_goes_whole() -> None:
    body = _difys({"role": "user", "content": "x", "n": 1 << 60})
    short = shorten(body, DIFY, Known(0))
    turn = read_turn(encode_json(body), DIFY, ReadLimits())
    assert short
    assert turn
    assert turn.envelope_bytes(0) == len(short.encode(0)) == len(encode_json(body))


def test_credentials_leave_nothing_in_what_is_read() -> None:
    secret = "Zx81-" * 200
    message: JsonObject = {"role": "user", "content": "x"}
    one, two = (
        read_turn(encode_json(_difys(message, credentials={"key": key})), DIFY, ReadLimits())
        for key in (secret, secret[::-1])
    )
    assert one
    assert one == two


def test_a_list_without_a_digest_goes_whole() -> None:
    messages: list[Json] = [{"role": "user", "content": "x", "n": 1 << 60}] * 2
    body: JsonObject = {"model": "m", "messages": messages}
    short = shorten(body, CHAT, Known(0))
    assert short
    sent = short.encode(1)
    assert _read(body).envelope_bytes(1) == len(sent)


@pytest.mark.parametrize("count", [0, 1, 3, 1000, 2001])
def test_the_question_is_as_long_as_the_one_a_client_asks(count: int) -> None:
    asking = missing(Digest.of(str(number).encode()) for number in range(count))
    sent = 0
    try:
        step = next(asking)
        while True:
            assert isinstance(step, Request)
            assert isinstance(step.body, bytes)
            sent += len(step.body)
            step = asking.send(_Nothing)
    except StopIteration:
        assert question_bytes(count) == sent


class _Nothing:
    """A reply that says that nothing is missing."""

    is_success = True
    body = b'{"missing":[],"lease_expires_at":1}'


def test_images_are_named_with_their_size(picture: Picture, data_url: DataUrl) -> None:
    turn = _read({"model": "m", "messages": _conversation(picture, data_url)})
    red, blue = picture("red"), picture("blue")
    assert [image.digest for image in turn.messages[1].images] == [
        Digest.of(data) for data in (red, blue, red)
    ]
    assert [image.size for image in turn.messages[1].images] == [len(red), len(blue), len(red)]
    assert turn.messages[1].images[0].base64_bytes == 4 * -(-len(red) // 3)


@pytest.mark.parametrize("size", range(1, 8))
def test_the_size_of_any_base64_is_known(size: int, data_url: DataUrl) -> None:
    part: JsonObject = {"type": "image_url", "image_url": {"url": data_url(b"x" * size)}}
    turn = _read({"model": "m", "messages": [{"role": "user", "content": [part]}]})
    assert [image.size for image in turn.messages[0].images] == [size]


def test_messages_have_the_length_they_came_with(picture: Picture, data_url: DataUrl) -> None:
    messages = _conversation(picture, data_url)
    turn = _read({"model": "m", "messages": messages})
    assert [item.json_bytes for item in turn.messages] == [len(encode_json(m)) for m in messages]


def test_nothing_that_is_read_holds_text() -> None:
    secret = "Zx81-" * 100
    turn = _read({"model": secret, "messages": [{"role": "user", "content": secret}], secret: 1})
    assert "Zx81" not in repr(asdict(turn))


def test_an_envelope_continues_its_parent() -> None:
    parent = prompt_root(DIALECT)
    message: JsonObject = {"role": "user", "content": "x"}
    turn = _read({"model": "m", "coatcheck": {"parent": parent, "append": [message]}})
    assert turn.is_envelope
    assert turn.chain == prompt_digests(DIALECT, [message])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"model":"m"}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":"x"}',
        b'{"model":"m","messages":[1]}',
        b'{"messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","model":"m","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","coatcheck":{"parent":"x","append":[]}}',
        b"\xff",
    ],
)
def test_what_is_no_turn_is_not_read(raw: bytes) -> None:
    assert read_turn(raw, CHAT, ReadLimits()) is None


@pytest.mark.parametrize(
    "limits",
    [
        ReadLimits(max_values=50),
        ReadLimits(max_escapes=9),
        ReadLimits(max_messages=1),
        ReadLimits(max_images=2),
    ],
)
def test_a_turn_beyond_a_limit_is_not_read(
    limits: ReadLimits, picture: Picture, data_url: DataUrl
) -> None:
    part: JsonObject = {"type": "image_url", "image_url": {"url": data_url(picture("red"))}}
    said: list[Json] = [
        {"role": "user", "content": [part, part, part]},
        {"role": "user", "content": "\n" * 10},
    ]
    raw = encode_json({"model": "m", "messages": said, "n": [1] * 99})
    with pytest.raises(TooLargeError):
        read_turn(raw, CHAT, limits)
    assert read_turn(raw, CHAT, ReadLimits()) is not None
