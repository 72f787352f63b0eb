"""Streamed answers: chunks, the message at the end, and every way of not getting there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from coatcheck.client import (
    AsyncClient,
    BlobNotFoundError,
    Client,
    ClientError,
    InvalidAnswerError,
    StreamBrokenError,
    StreamError,
    TimedOutError,
)
from coatcheck.protocol import Digest, JsonObject, Problem, dialect, error_event, prompt_digests

if TYPE_CHECKING:
    from tests.client.conftest import FakeServer, MakeClient

HELLO: JsonObject = {"role": "user", "content": "hello"}


def test_chunks_come_and_make_up_the_message(client: Client, server: FakeServer) -> None:
    stream = client.chat_stream(model="m", messages=[HELLO])
    chunks = list(stream)
    assert len(chunks) > 3
    assert all("choices" in chunk for chunk in chunks)
    assert stream.is_complete
    assert stream.text == "Four pictures, all of coats."
    assert stream.message == server.answer
    assert stream.prompt == prompt_digests("openai.chat", [HELLO])[-1]
    assert server.chats[0].json["stream"] is True


def test_tool_calls_are_put_together(client: Client, server: FakeServer) -> None:
    calls: list[JsonObject] = [
        {
            "id": f"c{number}",
            "type": "function",
            "function": {"name": "look", "arguments": '{"at": "the coat"}'},
        }
        for number in range(2)
    ]
    server.answer = {"role": "assistant", "content": None, "tool_calls": calls}
    stream = client.chat_stream(model="m", messages=[HELLO])
    list(stream)
    assert stream.message == server.answer


def test_a_stream_that_was_read_leaves_the_connection(client: Client, server: FakeServer) -> None:
    for _ in range(3):
        stream = client.chat_stream(model="m", messages=[HELLO])
        list(stream)
        stream.close()
    assert server.connections == 1


@pytest.mark.parametrize("_", range(5))
def test_an_error_event_is_raised_with_its_code(client: Client, server: FakeServer, _: int) -> None:
    # Repeated, because the break may be noticed before or after the event was read.
    problem = Problem(502, "upstream_failed", "Upstream failed", "it went away")
    server.stream_end = error_event(dialect("openai.chat").provider, problem)
    server.is_cut = True
    stream = client.chat_stream(model="m", messages=[HELLO])
    with pytest.raises(StreamError, match="it went away") as caught:
        list(stream)
    assert caught.value.code == "upstream_failed"
    assert stream.text == "Four pictures, all of coats."
    assert not stream.is_complete


@pytest.mark.parametrize("is_cut", [True, False])
def test_a_stream_that_stops_is_broken(client: Client, server: FakeServer, is_cut: bool) -> None:
    server.stream_end = b""
    server.is_cut = is_cut
    stream = client.chat_stream(model="m", messages=[HELLO])
    with pytest.raises(StreamBrokenError):
        list(stream)


@pytest.mark.parametrize("data", [b"data: not json\n\n", b"data: 7\n\n"])
def test_an_event_that_is_no_chunk_is_the_servers_fault(
    client: Client, server: FakeServer, data: bytes
) -> None:
    server.stream_end = data
    with pytest.raises(InvalidAnswerError):
        list(client.chat_stream(model="m", messages=[HELLO]))


def test_a_silent_stream_times_out(make_client: MakeClient, server: FakeServer) -> None:
    server.hangs_in_stream = True
    client = make_client(server.base_url, idle_seconds=0.2)
    with pytest.raises(TimedOutError):
        list(client.chat_stream(model="m", messages=[HELLO]))
    assert server.stream_closed_early.wait(5)


def test_closing_early_closes_the_connection(client: Client, server: FakeServer) -> None:
    server.hangs_in_stream = True
    stream = client.chat_stream(model="m", messages=[HELLO])
    next(iter(stream))
    stream.close()
    stream.close()
    assert server.stream_closed_early.wait(5)


def test_leaving_the_with_closes_the_connection(server: FakeServer) -> None:
    server.hangs_in_stream = True
    with Client(server.base_url) as client:
        with client.chat_stream(model="m", messages=[HELLO]) as stream:
            next(stream)
        assert server.stream_closed_early.wait(5)


async def test_leaving_the_async_with_closes_the_connection(server: FakeServer) -> None:
    server.hangs_in_stream = True
    async with AsyncClient(server.base_url) as client:
        async with await client.chat_stream(model="m", messages=[HELLO]) as stream:
            await anext(stream)
        assert await asyncio.to_thread(server.stream_closed_early.wait, 5)


def test_a_forgotten_prompt_is_sent_whole_before_the_stream_begins(
    client: Client, server: FakeServer
) -> None:
    list(client.chat_stream(model="m", messages=[HELLO]))
    server.prompts.clear()
    stream = client.chat_stream(model="m", messages=[HELLO, HELLO])
    assert list(stream)
    assert len(server.chats) == 3


def test_a_refusal_comes_before_the_stream(client: Client) -> None:
    url = f"blob:{Digest.of(b'nobody has this')}"
    part: JsonObject = {"type": "image_url", "image_url": {"url": url}}
    with pytest.raises(BlobNotFoundError):
        client.chat_stream(model="m", messages=[{"role": "user", "content": [part]}])


def test_an_answer_that_is_no_stream_is_the_servers_fault(
    client: Client, server: FakeServer
) -> None:
    server.answers_unstreamed = True
    with pytest.raises(InvalidAnswerError, match="application/json"):
        client.chat_stream(model="m", messages=[HELLO])


def test_an_ended_stream_stays_ended(client: Client) -> None:
    stream = client.chat_stream(model="m", messages=[HELLO])
    assert list(stream)
    assert list(stream) == []


def test_every_stream_error_is_a_client_error() -> None:
    assert issubclass(StreamError, ClientError)
    assert issubclass(StreamBrokenError, ClientError)
