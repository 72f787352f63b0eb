"""Images that come back in answers: taken in beside them, and refs in their place where asked for."""

import asyncio
import base64
import gzip
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from coatcheck.daemon import GatewayConfig
from coatcheck.daemon.answers import AnswerLimits
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    SseReader,
    announcement,
    decode_json,
    encode_json,
    write_event,
)

from .scripted import Scripted, Spoken, spoken_in
from .test_answers import ask, is_kept

Fixture = Callable[..., Any]
REFS = {"Coatcheck-Answer-Refs": "1"}


@dataclass(frozen=True)
class Shown:
    """How one dialect's answers show an image, whole and streamed, inline and by its ref."""

    spoken: Spoken
    part: Callable[[str], JsonObject]
    by_ref: Callable[[Digest], JsonObject]
    body: Callable[[JsonObject], JsonObject]
    events: Callable[[JsonObject], Sequence[JsonObject]]
    message: Callable[[JsonObject], JsonObject]

    def stream(self, part: JsonObject) -> list[bytes]:
        events = [
            write_event(
                encode_json(event).decode(), str(event["type"]) if "type" in event else None
            )
            for event in self.events(part)
        ]
        return [*events, write_event("[DONE]")] if "chat" in self.spoken.dialect else events


def _url(key: str) -> Callable[[str], JsonObject]:
    return lambda data: {"type": key, key: {"url": f"data:image/png;base64,{data}"}}


def _source(source: JsonObject) -> JsonObject:
    image: JsonObject = {"type": "image", "source": source}
    return {"type": "mcp_tool_result", "tool_use_id": "t", "content": [image]}


def _completed(item: JsonObject) -> JsonObject:
    return {"id": "r", "object": "response", "status": "completed", "output": [item]}


def _message(*blocks: Json) -> JsonObject:
    return {"id": "m", "type": "message", "role": "assistant", "content": [*blocks]}


def _candidates(part: JsonObject) -> JsonObject:
    content: JsonObject = {"role": "model", "parts": [part]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}]}


def _delta(delta: JsonObject, finish: str | None = None) -> JsonObject:
    return {"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


SHOWN = [
    Shown(
        spoken_in("openai.chat"),
        _url("image_url"),
        lambda digest: {"type": "image_url", "image_url": {"url": f"blob:{digest}"}},
        lambda part: {"choices": [{"index": 0, "message": {"content": "Here.", "images": [part]}}]},
        lambda part: [_delta({"content": "Here."}), _delta({"images": [part]}), _delta({}, "stop")],
        lambda part: {"role": "assistant", "content": "Here.", "images": [part]},
    ),
    Shown(
        spoken_in("openai.responses"),
        lambda data: {"id": "i", "type": "image_generation_call", "result": data},
        lambda digest: {"id": "i", "type": "image_generation_call", "result": f"blob:{digest}"},
        _completed,
        lambda part: [
            {"type": "response.output_item.done", "output_index": 0, "item": part},
            {"type": "response.completed", "response": _completed(part)},
        ],
        lambda part: part,
    ),
    Shown(
        spoken_in("anthropic.messages"),
        lambda data: _source({"type": "base64", "media_type": "image/png", "data": data}),
        lambda digest: _source({"type": "url", "url": f"blob:{digest}"}),
        _message,
        lambda part: [
            {"type": "message_start", "message": _message()},
            {"type": "content_block_start", "index": 0, "content_block": part},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_stop"},
        ],
        lambda part: {"role": "assistant", "content": [part]},
    ),
    Shown(
        spoken_in("gemini.generate"),
        lambda data: {"inlineData": {"mimeType": "image/png", "data": data}},
        lambda digest: {"fileData": {"fileUri": f"blob:{digest}", "mimeType": "image/png"}},
        _candidates,
        lambda part: [_candidates(part)],
        lambda part: {"role": "model", "parts": [part]},
    ),
]


def drawn(size: int = 3000) -> tuple[str, Digest]:
    """Return something like a PNG, in base64, and its digest."""
    data = b"\x89PNG\r\n\x1a\n" + random.Random(size).randbytes(size)
    return base64.b64encode(data).decode(), Digest.of(data)


async def has(daemon: Any, digest: Digest) -> None:
    """Wait until a blob is held; with the test's own time limit."""
    while digest not in daemon.blobs.blobs:
        daemon.blobs.absorbed.clear()
        await daemon.blobs.absorbed.wait()


async def setting(shown: Shown, run_daemon: Fixture, run_upstream: Fixture) -> tuple[Any, Scripted]:
    script = Scripted()
    upstream = await run_upstream(script, dialect=shown.spoken.dialect)
    return await run_daemon(upstream.config), script


async def see_it_stay(daemon: Any, script: Scripted, shown: Shown, data: str) -> None:
    """Let both kinds of answers carry what is not taken in, asked for refs or not."""
    for headers in ({}, REFS):
        script.say(shown.body(shown.part(data)))
        asked = await ask(daemon, shown.spoken.path, shown.spoken.whole_list(), headers)
        assert asked.body == script.pieces[0]
        script.stream(shown.stream(shown.part(data)))
        asked = await ask(daemon, shown.spoken.stream_path, shown.spoken.whole_list(), headers)
        assert asked.body == b"".join(script.pieces)
    assert daemon.blobs.blobs == {}


@pytest.mark.parametrize("shown", SHOWN, ids=lambda shown: shown.spoken.dialect)
class TestImages:
    """The contract."""

    @pytest.mark.parametrize("size", [3000, 300_000])
    async def test_they_are_taken_in_beside_answers_that_pass_as_they_came(
        self, shown: Shown, size: int, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        daemon, script = await setting(shown, run_daemon, run_upstream)
        data, digest = drawn(size)
        script.say(shown.body(shown.part(data)))
        asked = await ask(daemon, shown.spoken.path, shown.spoken.whole_list())
        assert asked.body == script.pieces[0]
        await has(daemon, digest)
        data, digest = drawn(size + 1)
        script.stream(shown.stream(shown.part(data)))
        asked = await ask(daemon, shown.spoken.stream_path, shown.spoken.whole_list())
        assert asked.body == b"".join(script.pieces)
        await has(daemon, digest)
        assert len(daemon.blobs.blobs) == 2

    async def test_a_coded_answer_is_looked_into(
        self, shown: Shown, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        daemon, script = await setting(shown, run_daemon, run_upstream)
        data, digest = drawn(20_000)
        script.say(shown.body(shown.part(data)))
        script.pieces, script.coding = [gzip.compress(script.pieces[0])], "gzip"
        asked = await ask(daemon, shown.spoken.path, shown.spoken.whole_list())
        assert asked.body == script.pieces[0]
        await has(daemon, digest)

    @pytest.mark.parametrize("coding", ["", "gzip"])
    @pytest.mark.parametrize("is_kept_too", [False, True])
    async def test_refs_take_their_place_on_request(
        self,
        shown: Shown,
        coding: str,
        is_kept_too: bool,
        run_daemon: Fixture,
        run_upstream: Fixture,
    ) -> None:
        daemon, script = await setting(shown, run_daemon, run_upstream)
        spoken = shown.spoken
        data, digest = drawn()
        by_ref = shown.by_ref(digest)
        turn = spoken.envelope() if is_kept_too else spoken.whole_list()
        name = spoken.named([shown.message(by_ref)])
        assert name == spoken.named([shown.message(shown.part(data))])
        script.coding = coding
        script.say(shown.body(shown.part(data)))
        script.pieces = [gzip.compress(each) if coding else each for each in script.pieces]
        asked = await ask(daemon, spoken.path, turn, REFS)
        assert decode_json(asked.body) == shown.body(by_ref)
        assert "Content-Encoding" not in asked.headers
        assert digest in daemon.blobs.blobs
        assert asked.named == (name if is_kept_too else None)
        events = b"".join(shown.stream(shown.part(data)))
        script.stream([gzip.compress(events) if coding else events])
        asked = await ask(daemon, spoken.stream_path, turn, REFS)
        comment = announcement(name) if is_kept_too else b""
        assert comment in asked.body
        assert asked.body.replace(comment, b"") == b"".join(shown.stream(by_ref))
        assert is_kept(daemon, spoken, name) == is_kept_too

    async def test_what_cannot_be_stored_stays(
        self, shown: Shown, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        daemon, script = await setting(shown, run_daemon, run_upstream)
        daemon.blobs.is_full = True
        data, _ = drawn()
        script.say(shown.body(shown.part(data)))
        asked = await ask(daemon, shown.spoken.path, shown.spoken.whole_list(), REFS)
        assert asked.body == script.pieces[0]
        script.stream(shown.stream(shown.part(data)))
        asked = await ask(daemon, shown.spoken.stream_path, shown.spoken.whole_list(), REFS)
        assert asked.body == b"".join(script.pieces)

    @pytest.mark.parametrize("data", ["not base64!", "", "AAA", "blob:sha256:no"])
    async def test_what_is_no_base64_stays(
        self, shown: Shown, data: str, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        daemon, script = await setting(shown, run_daemon, run_upstream)
        await see_it_stay(daemon, script, shown, data)

    async def test_the_next_turns_copy_is_known(
        self, shown: Shown, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        """The upstream gets by the ref what it had answered inline."""
        script = Scripted()
        upstream = await run_upstream(script, dialect=shown.spoken.dialect)
        daemon = await run_daemon(upstream.config)
        data, digest = drawn()
        script.say(shown.body(shown.part(data)))
        await ask(daemon, shown.spoken.path, shown.spoken.whole_list(), REFS)
        parts: list[Json] = [shown.spoken.hello, shown.message(shown.by_ref(digest))]
        envelope: JsonObject = {"parent": None, "append": parts}
        await ask(daemon, shown.spoken.path, {**shown.spoken.fields, "coatcheck": envelope})
        assert data.encode() in upstream.seen[1].body


async def test_an_image_in_the_making_gets_a_ref(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    spoken = spoken_in("openai.responses")
    script = Scripted()
    upstream = await run_upstream(script, dialect=spoken.dialect)
    daemon = await run_daemon(upstream.config)
    data, digest = drawn()
    kind = "response.image_generation_call.partial_image"
    event: JsonObject = {"type": kind, "partial_image_index": 0, "partial_image_b64": data}
    script.stream([b": first\nid: 7\n" + write_event(encode_json(event).decode(), kind)])
    asked = await ask(daemon, spoken.stream_path, spoken.whole_list(), REFS)
    ((told),) = SseReader().feed(asked.body)
    assert decode_json(told.data) == {**event, "partial_image_b64": f"blob:{digest}"}
    assert (told.event, told.id) == (kind, "7")
    assert asked.body.startswith(b": first\n")
    assert digest in daemon.blobs.blobs


async def test_sound_gets_a_ref(run_daemon: Fixture, run_upstream: Fixture) -> None:
    spoken = spoken_in("openai.chat")
    script = Scripted()
    upstream = await run_upstream(script)
    daemon = await run_daemon(upstream.config)
    sound = base64.b64encode(b"RIFF0000WAVE").decode()
    audio: JsonObject = {"id": "audio_1", "data": sound, "transcript": "Hi"}
    script.say({"choices": [{"index": 0, "message": {"content": None, "audio": audio}}]})
    asked = await ask(daemon, spoken.path, spoken.envelope(), REFS)
    told: Any = decode_json(asked.body)
    ref = f"blob:{Digest.of(b'RIFF0000WAVE')}"
    assert told["choices"][0]["message"]["audio"] == {**audio, "data": ref}
    message: JsonObject = {"role": "assistant", "content": None, "audio": {"id": "audio_1"}}
    assert asked.named == spoken.named([message])


async def test_what_is_too_long_stays_as_it_came(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    shown = SHOWN[3]
    upstream = await run_upstream(script, dialect=shown.spoken.dialect)
    limits = AnswerLimits(max_bytes=100_000)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))
    data, _ = drawn(200_000)
    await see_it_stay(daemon, script, shown, data)


async def test_a_slow_store_leaves_the_base64(run_daemon: Fixture, run_upstream: Fixture) -> None:
    script = Scripted()
    shown = SHOWN[3]
    upstream = await run_upstream(script, dialect=shown.spoken.dialect)
    limits = AnswerLimits(append_seconds=0.05)
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(answers=limits))

    async def hang(*args: Any, **fields: Any) -> Digest:
        await asyncio.Event().wait()
        raise AssertionError

    daemon.blobs.absorb = hang
    script.say(shown.body(shown.part(drawn()[0])))
    asked = await ask(daemon, shown.spoken.path, shown.spoken.whole_list(), REFS)
    assert asked.body == script.pieces[0]


async def test_an_image_in_a_list_that_comes_bit_by_bit_is_taken_in(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    script = Scripted()
    shown = SHOWN[3]
    upstream = await run_upstream(script, dialect=shown.spoken.dialect)
    daemon = await run_daemon(upstream.config)
    data, digest = drawn()
    script.say([shown.body(shown.part(data))])
    path = shown.spoken.stream_path.partition("?")[0]
    asked = await ask(daemon, path, shown.spoken.envelope(), REFS)
    assert asked.body == script.pieces[0]
    await has(daemon, digest)


async def test_an_image_is_the_end_users_whom_the_body_names(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    """Also where nothing of the request is kept: its erasure takes the image with it."""
    shown = SHOWN[0]
    daemon, script = await setting(shown, run_daemon, run_upstream)
    data, digest = drawn(3000)
    script.say(shown.body(shown.part(data)))
    named: JsonObject = {**shown.spoken.whole_list(), "safety_identifier": "ann"}
    await ask(daemon, shown.spoken.path, named)
    await has(daemon, digest)
    assert daemon.blobs.claims == {(digest, "ann")}
