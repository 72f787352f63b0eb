"""Answers that are kept and named, over the vectors of every dialect, and through the real SDKs."""

import asyncio
import gzip
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiohttp
import brotli  # type: ignore[import-untyped]  # pyright: ignore[reportMissingTypeStubs]
import pytest
from aiohttp import web as aioweb
from backports import zstd

from coatcheck.daemon import GatewayConfig
from coatcheck.daemon.answers import AnswerLimits
from coatcheck.daemon.errors import StoreUnavailableError
from coatcheck.protocol import (
    Digest,
    JsonObject,
    announcement,
    decode_json,
    encode_json,
    write_event,
)

from .scripted import SPOKEN, Scripted, Spoken, events_of, in_every_dialect, rows

Fixture = Callable[..., Any]


@dataclass
class Asked:
    """What came back."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def named(self) -> str | None:
        return self.headers.get("Coatcheck-Answer")

    @property
    def called(self) -> str | None:
        """Its name, wherever that stands."""
        found = re.search(rb"^: coatcheck-answer (\S+)$", self.body, re.MULTILINE)
        return found[1].decode() if found else self.named


async def ask(
    daemon: Any, path: str, body: JsonObject, headers: dict[str, str] | None = None
) -> Asked:
    fields = {"Content-Type": "application/json", **(headers or {})}
    async with (
        aiohttp.ClientSession(auto_decompress=False) as http,
        http.post(daemon.url + path, data=encode_json(body), headers=fields) as response,
    ):
        return Asked(response.headers, await response.read())


def is_kept(daemon: Any, spoken: Spoken, digest: Digest) -> bool:
    return ("default", spoken.dialect, digest) in daemon.prompts.kept


@in_every_dialect
class TestAnswers:
    """The contract."""

    async def test_whole_answers_are_kept_and_named(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted()
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        for row in rows(vectors, "whole", spoken):
            script.say(row["body"])
            asked = await ask(daemon, spoken.path, spoken.envelope())
            named = spoken.named(row["messages"]) if row["messages"] else None
            assert (asked.named, asked.body) == (named, script.pieces[0]), row["about"]
            if named:
                assert is_kept(daemon, spoken, named)
        lists = [row["messages"] for row in rows(vectors, "whole", spoken) if row["messages"]]
        made = {digest for messages in lists for digest in spoken.digests(messages)}
        assert {digest for _, _, digest in daemon.prompts.kept} == made | {*spoken.digests([])}

    async def test_streams_name_the_answer_before_their_end(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted()
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        for row in rows(vectors, "streamed", spoken):
            events = events_of(row)
            script.stream(events)
            asked = await ask(daemon, spoken.stream_path, spoken.envelope())
            expected = events
            if row["messages"]:
                name = announcement(spoken.named(row["messages"]))
                expected = [*events, name]
                has_end = spoken.dialect not in ("gemini.generate", "dify.llm")
                if has_end and "no [DONE]" not in row["about"]:
                    expected = [*events[:-1], name, events[-1]]
            assert asked.body == b"".join(expected), row["about"]
            assert asked.named is None

    async def test_without_an_envelope_an_answer_is_kept_and_a_stream_as_it_came(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted()
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        keep = {"Coatcheck-Prompt": "keep"}
        row = rows(vectors, "streamed", spoken)[1]
        script.stream(events_of(row))
        asked = await ask(daemon, spoken.stream_path, spoken.whole_list(), keep)
        assert asked.body == b"".join(script.pieces)
        assert is_kept(daemon, spoken, spoken.named(row["messages"]))
        row = rows(vectors, "whole", spoken)[0]
        script.say(row["body"])
        asked = await ask(daemon, spoken.path, spoken.whole_list(), keep)
        assert asked.named == (spoken.named(row["messages"]) if row["messages"] else None)

    async def test_a_turn_that_is_not_kept_has_its_answer_as_it_came(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted()
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        script.stream(events_of(rows(vectors, "streamed", spoken)[0]))
        asked = await ask(daemon, spoken.stream_path, spoken.whole_list())
        assert asked.body == b"".join(script.pieces)
        script.say(rows(vectors, "whole", spoken)[0]["body"])
        asked = await ask(daemon, spoken.path, spoken.whole_list())
        assert (asked.named, asked.body) == (None, script.pieces[0])
        assert daemon.prompts.kept == {}

    async def test_the_conversation_goes_on_from_the_name(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted()
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        kind = "streamed" if spoken.is_always_streamed else "whole"
        row = rows(vectors, kind, spoken)[1]
        if spoken.is_always_streamed:
            script.stream(events_of(row))
        else:
            script.say(row["body"])
        named = (await ask(daemon, spoken.path, spoken.envelope())).called
        again: JsonObject = {
            **spoken.fields,
            "coatcheck": {"parent": named, "append": [spoken.hello]},
        }
        assert (await ask(daemon, spoken.path, again)).called
        talk = [spoken.hello, *row["messages"], spoken.hello]
        assert upstream.seen[1].json == spoken.body(talk)

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd"])
    async def test_compressed_answers_are_read(
        self,
        spoken: Spoken,
        coding: str,
        run_daemon: Fixture,
        run_upstream: Fixture,
        vectors: Fixture,
    ) -> None:
        script = Scripted(coding=coding)
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        row = rows(vectors, "whole", spoken)[0]
        script.pieces = compressed(coding, [encode_json(row["body"])])
        asked = await ask(daemon, spoken.path, spoken.envelope())
        assert asked.body == b"".join(script.pieces)
        assert asked.headers["Content-Encoding"] == coding
        assert asked.named == (spoken.named(row["messages"]) if row["messages"] else None)
        row = rows(vectors, "streamed", spoken)[0]
        script.stream(compressed(coding, events_of(row)))
        asked = await ask(daemon, spoken.stream_path, spoken.envelope())
        assert "Content-Encoding" not in asked.headers
        assert announcement(spoken.named(row["messages"])) in asked.body

    async def test_an_answer_that_breaks_off_is_not_kept(
        self, spoken: Spoken, run_daemon: Fixture, run_upstream: Fixture, vectors: Fixture
    ) -> None:
        script = Scripted(breaks_off=True)
        upstream = await run_upstream(script, dialect=spoken.dialect)
        daemon = await run_daemon(upstream.config)
        body = encode_json(rows(vectors, "whole", spoken)[0]["body"])
        script.pieces = [body[:20]]
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(daemon, spoken.path, spoken.envelope())
        script.stream(events_of(rows(vectors, "streamed", spoken)[0])[:-1])
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(daemon, spoken.stream_path, spoken.envelope())
        assert len(daemon.prompts.kept) == 1


def compressed(coding: str, pieces: Sequence[bytes]) -> list[bytes]:
    """Compress pieces so that each can be read when it has come."""
    if coding == "br":
        brotlied = cast("Any", brotli).Compressor()
        done = [brotlied.process(piece) + brotlied.flush() for piece in pieces]
        return [*done, brotlied.finish()]
    if coding == "zstd":
        squeezed = zstd.ZstdCompressor()
        flushed = (squeezed.compress(piece, zstd.ZstdCompressor.FLUSH_BLOCK) for piece in pieces)
        return [*flushed, squeezed.flush()]
    deflating = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    done = [deflating.compress(piece) + deflating.flush(zlib.Z_SYNC_FLUSH) for piece in pieces]
    return [*done, deflating.flush()]


CHAT = SPOKEN[0]


def completion(content: str) -> JsonObject:
    return {"id": "c", "choices": [{"index": 0, "message": {"content": content}}]}


def chunk(content: str, finish: str | None = None) -> bytes:
    choice: JsonObject = {"index": 0, "delta": {"content": content}, "finish_reason": finish}
    return write_event(encode_json({"id": "c", "choices": [choice]}).decode())


async def test_an_answer_too_long_to_hold_passes_without_a_name(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    limits = AnswerLimits(max_bytes=1000)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    script.say(completion("x" * 2000))
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    assert (asked.named, asked.body) == (None, script.pieces[0])


async def test_a_last_event_too_long_to_hold_is_followed_by_the_name(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    spoken = SPOKEN[1]
    text: JsonObject = {"type": "output_text", "text": "x" * 50_000}
    item: JsonObject = {"type": "message", "content": [text]}
    data: JsonObject = {"type": "response.completed", "response": {"id": "r", "output": [item]}}
    event = write_event(encode_json(data).decode(), "response.completed")
    has_begun = asyncio.Event()

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        response = aioweb.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(event[:40_000])
        await has_begun.wait()
        await response.write(event[40_000:])
        return response

    upstream = await run_upstream(respond, dialect=spoken.dialect)
    limits = AnswerLimits(max_bytes=10_000)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    async with daemon.http.post(daemon.url + spoken.path, json=spoken.envelope()) as response:
        begun = await response.content.readany()
        has_begun.set()
        rest = await response.read()
    assert begun + rest == event + announcement(spoken.named([item]))


async def test_a_stream_that_ends_inside_an_event_is_kept_and_nothing_added(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    script.stream([chunk("hi"), chunk("", "stop"), b"data: [DONE]\n"])
    assert (await ask(daemon, CHAT.path, CHAT.envelope())).body == b"".join(script.pieces)
    assert is_kept(daemon, CHAT, CHAT.named([{"role": "assistant", "content": "hi"}]))


async def test_a_stream_too_long_to_read_passes_without_a_name(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    limits = AnswerLimits(max_stream_bytes=10_000)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    script.stream([*([chunk("x" * 1000)] * 10), chunk("", "stop"), write_event("[DONE]")])
    assert (await ask(daemon, CHAT.path, CHAT.envelope())).body == b"".join(script.pieces)


@pytest.mark.parametrize("values", [200, 1000])
async def test_an_answer_of_too_many_values_passes_without_a_name(
    values: int, run_daemon: Fixture, run_upstream: Fixture
) -> None:
    """Ten million lists take 20 MB to write, a gigabyte to read, and eight seconds of all threads."""
    script = Scripted()
    upstream = await run_upstream(script)
    limits = AnswerLimits(max_values=500)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    script.say({**completion("x"), "logprobs": [[]] * values})
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    assert (asked.named is not None, asked.body) == (values < 500, script.pieces[0])
    script.stream(
        [
            *[write_event(encode_json({"n": [[]] * (values // 16)}).decode())] * 16,
            chunk("x", "stop"),
            write_event("[DONE]"),
        ]
    )
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    plain = b"".join(script.pieces)
    assert (len(asked.body) > len(plain)) == (values < 500)
    assert b"coatcheck" in asked.body or asked.body == plain


async def test_a_broken_coding_breaks_the_stream_off(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted(coding="gzip")
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    script.stream([gzip.compress(chunk("x")), b"nonsense"])
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(daemon, CHAT.path, CHAT.envelope())
    script.say(completion("hi"))
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    assert (asked.named, asked.body) == (None, script.pieces[0])


@pytest.mark.parametrize("coding", ["compress", "gzip, gzip, gzip, gzip"])
async def test_a_coding_that_is_not_known_passes(
    coding: str, run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted(coding=coding)
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    for kind in ("application/json", "text/event-stream"):
        script.pieces, script.kind = [b"what", b"ever"], kind
        asked = await ask(daemon, CHAT.path, CHAT.envelope())
        assert (asked.named, asked.body) == (None, b"whatever")
        assert asked.headers["Content-Encoding"] == coding


@pytest.mark.parametrize("body", [b"", b"not JSON", b"[]", b'{"choices":[]}', b'"x"'])
async def test_what_is_no_answer_passes(
    body: bytes, run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted(pieces=[body])
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    assert (asked.named, asked.body) == (None, body)
    script.stream([b"data: " + body + b"\n\n"])
    assert (await ask(daemon, CHAT.path, CHAT.envelope())).body == b"".join(script.pieces)


@pytest.mark.parametrize(
    "message", [{"content": [{"type": "image_url", "image_url": {"url": "blob:sha256:no"}}]}]
)
async def test_an_answer_that_cannot_be_a_message_has_no_name(
    message: JsonObject, run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    script.say({"choices": [{"index": 0, "message": message}]})
    asked = await ask(daemon, CHAT.path, CHAT.envelope())
    assert (asked.named, asked.body) == (None, script.pieces[0])


async def test_a_store_that_fails_or_is_slow_costs_the_name_alone(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    limits = AnswerLimits(append_seconds=0.05)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    append = daemon.prompts.append
    script.say(completion("hi"))

    async def refuse(*args: Any, **fields: Any) -> None:
        if daemon.prompts.kept:
            raise StoreUnavailableError("away")
        await append(*args, **fields)

    async def hang(*args: Any, **fields: Any) -> None:
        if "hi" in args[3][0].text:
            await asyncio.Event().wait()
        await append(*args, **fields)

    for fault in (refuse, hang):
        daemon.prompts.append = fault
        asked = await ask(daemon, CHAT.path, CHAT.envelope())
        assert (asked.named, asked.body) == (None, script.pieces[0])


async def test_the_answer_is_the_end_users_whom_the_turn_is_for(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    script.say(completion("hi"))
    asked = await ask(daemon, CHAT.path, CHAT.envelope(), {"Coatcheck-User": "u1"})
    assert asked.named
    assert daemon.prompts.end_users[Digest(asked.named)] == "u1"


async def test_a_list_that_comes_bit_by_bit_is_not_held(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    may_end = asyncio.Event()

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        response = aioweb.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b"[{}\n")
        await may_end.wait()
        await response.write(b"]")
        return response

    spoken = SPOKEN[3]
    upstream = await run_upstream(respond, dialect=spoken.dialect)
    daemon = await run_daemon(upstream.config)
    path = spoken.stream_path.partition("?")[0]
    async with daemon.http.post(daemon.url + path, json=spoken.envelope()) as response:
        assert await response.content.readany() == b"[{}\n"
        may_end.set()
        assert await response.read() == b"]"


async def test_an_image_of_an_answer_is_kept_and_named_by_its_ref(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, vectors: Fixture
) -> None:
    """The next turn's upstream gets the bytes back."""
    script = Scripted()
    spoken = SPOKEN[3]
    upstream = await run_upstream(script, dialect=spoken.dialect)
    daemon = await run_daemon(upstream.config)
    rows_ = rows(vectors, "whole", spoken)
    row = next(row for row in rows_ if row["about"] == "a generated image")
    script.say(row["body"])
    asked = await ask(daemon, spoken.path, spoken.envelope())
    assert asked.named
    (stored,) = daemon.blobs.blobs
    _, message = daemon.prompts.kept["default", spoken.dialect, Digest(asked.named)]
    assert message.blobs == (stored,)
    assert f"blob:{stored}" in message.text
    goes_on: JsonObject = {"coatcheck": {"parent": asked.named, "append": [spoken.hello]}}
    await ask(daemon, spoken.path, goes_on)
    contents: Any = decode_json(upstream.seen[1].body)
    assert contents["contents"][1] == row["messages"][0]
