"""What crosses the wire: bytes once, messages once. Counted at the server."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from coatcheck.client import Client
from coatcheck.protocol import Digest, Json, JsonObject, prompt_digests

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer

DATA = bytes(range(256)) * 4000


def _picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(file, "PNG")
    return file.getvalue()


def _part(data: bytes) -> JsonObject:
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url}}


def _user(text: str, *pictures: bytes) -> JsonObject:
    parts: list[Json] = [{"type": "text", "text": text}, *(_part(data) for data in pictures)]
    return {"role": "user", "content": parts}


def _uploaded(server: FakeServer) -> list[int]:
    return [len(seen.body) for seen in server.sent("PUT")]


def test_a_first_put_sends_exactly_the_bytes(client: Client, server: FakeServer) -> None:
    client.put(DATA)
    (put,) = server.sent("PUT")
    assert put.body == DATA
    assert put.headers["Content-Length"] == str(len(DATA))
    assert "Transfer-Encoding" not in put.headers
    assert "Content-Type" not in put.headers


def test_a_second_put_sends_no_byte_of_the_content(client: Client, server: FakeServer) -> None:
    client.put(DATA)
    server.seen.clear()
    client.put(DATA)
    assert _uploaded(server) == []
    assert sum(len(seen.body) for seen in server.seen) < 200


def test_progress_is_not_told_when_nothing_is_sent(client: Client, server: FakeServer) -> None:
    server.put(DATA)
    told: list[tuple[int, int]] = []
    client.put(DATA, progress=lambda sent, total: told.append((sent, total)))
    assert told == []


def test_a_download_is_asked_for_once(client: Client, server: FakeServer) -> None:
    client.get(server.put(DATA))
    assert [(seen.method, seen.body) for seen in server.seen] == [("GET", b"")]


def test_dehydrate_asks_once_and_sends_each_blob_once(client: Client, server: FakeServer) -> None:
    red, blue, green = (_picture(colour) for colour in ("red", "blue", "green"))
    server.put(red)
    messages = [_user("one", red, blue), _user("two", blue, green)]
    client.dehydrate(messages)
    assert len(server.sent("POST", "/missing")) == 1
    assert sorted(_uploaded(server)) == sorted([len(blue), len(green)])


def test_dehydrate_without_attachments_asks_nothing(client: Client, server: FakeServer) -> None:
    messages = [{"role": "user", "content": "hello"}]
    assert client.dehydrate(messages) == messages
    assert server.seen == []


def test_turn_n_sends_only_the_new_messages(client: Client, server: FakeServer) -> None:
    pictures = [_picture(colour) for colour in ("red", "blue", "green")]
    messages: list[JsonObject] = [{"role": "system", "content": "Be brief. " * 200}]
    messages.append(_user("What is this?", *pictures))
    for turn in range(4):
        answer = client.chat(model="m", messages=messages)
        messages += [answer.message, _user(f"And turn {turn}?")]
    first, *later = server.chats
    assert len(first.body) > 2000
    assert all(len(seen.body) < 350 for seen in later)
    assert _uploaded(server) == [len(picture) for picture in pictures]
    assert len(server.sent("POST", "/missing")) == 1


def test_an_appended_answer_is_not_sent_back(client: Client, server: FakeServer) -> None:
    question = _user("What is this?")
    answer = client.chat(model="m", messages=[question])
    client.chat(model="m", messages=[question, answer.message, _user("Sure?")])
    assert server.chats[1].json["coatcheck"] == {
        "parent": prompt_digests("openai.chat", [question, answer.message])[-1],
        "append": [_user("Sure?")],
    }


def test_a_streamed_answer_is_not_sent_back(client: Client, server: FakeServer) -> None:
    question = _user("What is this?")
    stream = client.chat_stream(model="m", messages=[question])
    assert list(stream)
    client.chat(model="m", messages=[question, stream.message, _user("Sure?")])
    assert len(server.chats[1].body) < 300
    assert server.chats[1].json["coatcheck"] == {
        "parent": prompt_digests("openai.chat", [question, stream.message])[-1],
        "append": [_user("Sure?")],
    }


def test_a_branch_continues_the_prefix_that_both_share(client: Client, server: FakeServer) -> None:
    start: list[JsonObject] = [_user("one"), {"role": "assistant", "content": "1"}]
    client.chat(model="m", messages=[*start, _user("two")])
    client.chat(model="m", messages=[*start, _user("three")])
    assert server.chats[1].json["coatcheck"] == {
        "parent": prompt_digests("openai.chat", start)[-1],
        "append": [_user("three")],
    }


def test_the_same_list_again_appends_nothing(client: Client, server: FakeServer) -> None:
    client.chat(model="m", messages=[_user("one")])
    client.chat(model="m", messages=[_user("one")])
    assert server.chats[1].json["coatcheck"] == {
        "parent": prompt_digests("openai.chat", [_user("one")])[-1],
        "append": [],
    }


def test_a_new_picture_in_a_later_turn_is_the_only_one_asked_for(
    client: Client, server: FakeServer
) -> None:
    messages = [_user("one", _picture("red"))]
    answer = client.chat(model="m", messages=messages)
    server.seen.clear()
    client.chat(model="m", messages=[*messages, answer.message, _user("two", _picture("blue"))])
    (asked,) = server.sent("POST", "/missing")
    assert asked.json == {"digests": [Digest.of(_picture("blue"))]}


@pytest.mark.parametrize("is_streamed", [False, True])
def test_a_server_that_keeps_nothing_is_sent_everything(
    client: Client, server: FakeServer, is_streamed: bool
) -> None:
    server.keeps_prompts = False
    messages = [_user("one")]
    for _ in range(2):
        if is_streamed:
            list(client.chat_stream(model="m", messages=messages))
        else:
            assert client.chat(model="m", messages=messages).prompt is None
    assert [seen.json["coatcheck"] for seen in server.chats] == [
        {"parent": None, "append": messages}
    ] * 2
