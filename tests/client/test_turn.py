"""Turns in every dialect: an upstream gets what the client sent, and the server what it has not."""

from __future__ import annotations

import base64
import json
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from tests.client.remote import Remote, content, drive

from coatcheck.client.errors import ConnectionFailedError
from coatcheck.client.exchange import Reply, Request
from coatcheck.client.known import Known
from coatcheck.client.turn import Taken, Turn, take
from coatcheck.protocol import (
    Digest,
    FoundInline,
    Json,
    JsonObject,
    dialect,
    encode_json,
    field_digest,
    framed,
    prompt_digests,
    prompt_step,
    ref_form,
    with_framed,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PNG = b"\x89PNG\r\n\x1a\n"


def image(number: int = 0, size: int = 300) -> bytes:
    return PNG + random.Random(number).randbytes(size)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Spoken:
    """How one dialect writes a message with an image."""

    name: str
    path: str
    look: Callable[[str, bytes], JsonObject]
    rest: JsonObject
    around: JsonObject = field(default_factory=dict[str, Json])

    def body(self, messages: list[Json]) -> JsonObject:
        spoken = dialect(self.name)
        inner = {"model": "m", spoken.messages_key: messages, **self.rest}
        return with_framed(spoken, self.around, inner)

    def take(self, remote: Remote, known: Known, messages: list[Json]) -> Taken:
        return self.send(remote, known, json.dumps(self.body(messages)).encode())

    def send(self, remote: Remote, known: Known, raw: bytes) -> Taken:
        return drive(take(Turn.of_bytes(dialect(self.name), self.path, raw), known), remote)


def _chat(text: str, data: bytes) -> JsonObject:
    url: JsonObject = {"url": f"data:image/png;base64,{text_of(data)}", "detail": "low"}
    parts: list[Json] = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
    return {"role": "user", "content": parts}


def _responses(text: str, data: bytes) -> JsonObject:
    url = f"data:image/png;base64,{text_of(data)}"
    parts: list[Json] = [
        {"type": "input_text", "text": text},
        {"type": "input_image", "image_url": url},
    ]
    return {"role": "user", "content": parts}


def _anthropic(text: str, data: bytes) -> JsonObject:
    source: JsonObject = {"type": "base64", "media_type": "image/png", "data": text_of(data)}
    parts: list[Json] = [
        {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": text},
    ]
    return {"role": "user", "content": parts}


def _gemini(text: str, data: bytes) -> JsonObject:
    inline: JsonObject = {"mimeType": "image/png", "data": text_of(data)}
    return {"role": "user", "parts": [{"text": text}, {"inlineData": inline}]}


def _gemini_of_the_sdk(text: str, data: bytes) -> JsonObject:
    written = base64.urlsafe_b64encode(data).decode()
    inline: JsonObject = {"mime_type": "image/png", "data": written}
    return {"role": "user", "parts": [{"text": text}, {"inlineData": inline}]}


def _dify(text: str, data: bytes) -> JsonObject:
    image: JsonObject = {
        "type": "image",
        "format": "png",
        "base64_data": text_of(data),
        "url": "",
        "mime_type": "image/png",
        "filename": "p.png",
        "detail": "high",
    }
    parts: list[Json] = [{"type": "text", "data": text}, image]
    return {"role": "user", "content": parts, "name": None}


SPOKEN = [
    Spoken("openai.chat", "/v1/chat/completions", _chat, {"temperature": 0.5}),
    Spoken("openai.responses", "/v1/responses", _responses, {"stream": True}),
    Spoken("anthropic.messages", "/v1/messages?beta=true", _anthropic, {"max_tokens": 7}),
    Spoken("gemini.generate", "/v1beta/models/m:generateContent", _gemini, {}),
    Spoken("gemini.generate", "/v1/models/m:streamGenerateContent?alt=sse", _gemini_of_the_sdk, {}),
    Spoken(
        "dify.llm",
        "/plugin/tenant/dispatch/llm/invoke",
        _dify,
        {"credentials": {"api_key": "k" * 20}, "stream": True},
        {"user_id": "u", "context": {}},
    ),
]
CHAT = SPOKEN[0]


@pytest.fixture
def remote() -> Remote:
    return Remote()


@pytest.fixture
def known() -> Known:
    return Known(1)


@pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: f"{spoken.name} {spoken.path}")
def test_each_turn_sends_what_is_new_and_an_upstream_gets_all(
    spoken: Spoken, remote: Remote, known: Known
) -> None:
    messages: list[Json] = []
    for number in range(4):
        messages.append(spoken.look(f"What is {number}?", image(number, 100_000)))
        remote.seen.clear()
        taken = spoken.take(remote, known, messages)
        assert taken.prompt
        assert remote.upstream[-1] == spoken.body(messages)
        assert taken.spent.request_bytes < 700
        assert (taken.spent.uploads, taken.spent.replays) == (1, 0)
        assert [request.method for request in remote.seen] == ["POST", "PUT", "POST"]
        messages.append(remote.answer)  # as the server named it: it is not sent again
    envelopes = [turn["coatcheck"] for turn in remote.turns]
    assert all(isinstance(one, dict) and len(one["append"] or ()) == 1 for one in envelopes)  # type: ignore[arg-type]


@pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: f"{spoken.name} {spoken.path}")
def test_a_server_that_lost_everything_gets_all_of_it_again(
    spoken: Spoken, remote: Remote, known: Known
) -> None:
    messages: list[Json] = [spoken.look("First", image(1)), remote.answer]
    spoken.take(remote, known, messages)
    remote.wipe()
    remote.seen.clear()
    messages.append(spoken.look("Second", image(2)))
    taken = spoken.take(remote, known, messages)
    assert remote.upstream[-1] == spoken.body(messages)
    assert len(remote.upstream) == 2
    assert (taken.spent.replays, taken.reply.status) == (1, 200)
    remote.seen.clear()
    spoken.take(remote, known, [*messages, remote.answer])
    assert len(remote.seen) == 1


@pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: f"{spoken.name} {spoken.path}")
def test_blobs_that_are_lost_are_uploaded_again(
    spoken: Spoken, remote: Remote, known: Known
) -> None:
    messages: list[Json] = [spoken.look("First", image(1)), spoken.look("Second", image(2))]
    spoken.take(remote, known, messages)
    del remote.blobs[Digest.of(image(1))]
    remote.seen.clear()
    messages.append(spoken.look("Third", image(3)))
    spoken.take(remote, known, messages)
    assert remote.upstream[-1] == spoken.body(messages)
    sent = [request.path for request in remote.sent("PUT")]
    assert sent == [f"/v1/blobs/{Digest.of(image(3))}", f"/v1/blobs/{Digest.of(image(1))}"]


def test_an_edited_message_begins_a_branch(remote: Remote, known: Known) -> None:
    first, second = _chat("First", image(1)), _chat("Second", image(2))
    CHAT.take(remote, known, [first, second])
    edited = _chat("Second, edited", image(2))
    remote.seen.clear()
    CHAT.take(remote, known, [first, edited])
    (turn,) = remote.turns
    assert isinstance(turn["coatcheck"], dict)
    assert len(turn["coatcheck"]["append"]) == 1  # type: ignore[arg-type]
    assert remote.sent("PUT") == []
    assert remote.upstream[-1] == CHAT.body([first, edited])


def test_a_turn_of_difys_is_shortened_within_its_data(remote: Remote, known: Known) -> None:
    """The bodies are exact: what another language's author has to write."""
    spoken = replace(SPOKEN[-1], rest={"tools": TOOLS, **SPOKEN[-1].rest})
    first = spoken.look("One", image(1))
    ref = f"blob:{Digest.of(image(1))}"
    item: JsonObject = {
        "type": "image",
        "format": "png",
        "base64_data": "",
        "url": ref,
        "mime_type": "image/png",
        "filename": "p.png",
        "detail": "high",
    }
    short: JsonObject = {
        "role": "user",
        "content": [{"type": "text", "data": "One"}, item],
        "name": None,
    }
    spoken.take(remote, known, [first])
    around: JsonObject = {"user_id": "u", "context": {}}
    rest: JsonObject = {"credentials": {"api_key": "k" * 20}, "stream": True}
    assert remote.sent("POST", "/plugin/")[-1].body == encode_json(
        {
            **around,
            "data": {"model": "m", "tools": TOOLS, **rest},
            "coatcheck": {"parent": None, "append": [short]},
        }
    )
    asking: JsonObject = {"role": "user", "content": "And?", "name": None}
    spoken.take(remote, known, [first, remote.answer, asking])
    (request,) = remote.sent("POST", "/plugin/")[1:]
    (form,) = ref_form(dialect(spoken.name), [first]).messages
    kept = prompt_digests(spoken.name, [form, remote.answer])
    assert request.body == encode_json(
        {
            **around,
            "data": {"model": "m", **rest},
            "coatcheck": {
                "parent": kept[-1],
                "append": [asking],
                "fields": {"tools": field_digest(TOOLS)},
            },
        }
    )
    assert remote.upstream[-1] == spoken.body([first, remote.answer, asking])


@pytest.mark.parametrize("key", ["credentials", "Credentials", "credential\u017f"])
def test_what_is_secret_beside_the_messages_is_never_kept(
    remote: Remote, known: Known, key: str
) -> None:
    secret: JsonObject = {"api_key": "k" * 2000}
    spoken = replace(SPOKEN[-1], rest={key: secret, "json_schema": "x" * 2000})
    messages: list[Json] = [spoken.look("One", image(1))]
    for _ in range(3):
        spoken.take(remote, known, messages)
        messages += [remote.answer, spoken.look("More", image(2))]
    assert list(remote.fields.values()) == ["x" * 2000]
    assert all(b"k" * 2000 in content(one) for one in remote.sent("POST", "/plugin/"))
    assert all(key in framed(dialect(spoken.name), turn) for turn in remote.turns)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"data":{"model":"m"}}',
        b'{"data":{"model":"m","prompt_messages":null}}',
        b'{"data":{"model":"m","prompt_messages":[]}}',
        b'{"data":{"model":"m","prompt_messages":[7]}}',
        b'{"data":null,"prompt_messages":[{"role":"user","content":"x"}]}',
        b'{"data":[{"prompt_messages":[{"role":"user","content":"x"}]}]}',
        b'{"data":{"model":"m"},"data":{"prompt_messages":[{"role":"user"}]}}',
        b'{"data":{"model":"m","prompt_messages":[{"role":"user"}]},"coatcheck":{}}',
        b"{}",
    ],
)
def test_what_has_no_list_in_its_data_goes_as_it_came(
    raw: bytes, remote: Remote, known: Known
) -> None:
    remote.before = lambda request: Reply(200, {}, b"{}")
    SPOKEN[-1].send(remote, known, raw)
    (seen,) = remote.seen
    assert seen.body == raw


def test_a_list_of_difys_without_a_digest_goes_whole_and_with_refs(
    remote: Remote, known: Known
) -> None:
    spoken = SPOKEN[-1]
    messages: list[Json] = [spoken.look("Look", image()), {"role": "user", "n": 2**60}]
    spoken.take(remote, known, messages)
    (turn,) = remote.turns
    assert "coatcheck" not in turn
    assert list(turn) == ["user_id", "context", "data"]
    assert list(framed(dialect(spoken.name), turn)) == list(
        framed(dialect(spoken.name), spoken.body(messages))
    )
    assert remote.upstream == [spoken.body(messages)]


def _part(url: Json) -> list[Json]:
    return [{"role": "user", "content": [{"type": "image_url", "image_url": url}]}]


_OTHER_WORDS: list[list[Json]] = [
    _part({"url": f"data:IMAGE/PNG;base64,{text_of(image())}"}),
    _part({"url": f"data:image/png;name=a;base64,{text_of(image())}"}),
    _part({"url": f"data:;base64,{text_of(image())}"}),
    _part({"url": f"data:image/png;base64,{text_of(image())[:-1]}"}),
    _part({"url": "data:image/png;base64,AB=="}),
    [{"role": "user", "content": [{"file": {"file_data": text_of(image())}}]}],
]


@pytest.mark.parametrize("messages", _OTHER_WORDS)
def test_what_would_come_back_in_other_words_stays(
    messages: list[Json], remote: Remote, known: Known
) -> None:
    before: list[Json] = [_chat("Before", image(7))]
    after: list[Json] = [*before, *messages, remote.answer]
    CHAT.take(remote, known, after)
    asking: JsonObject = {"role": "user", "content": "And?"}
    more: list[Json] = [*after, asking]
    CHAT.take(remote, known, more)
    assert remote.upstream == [CHAT.body(after), CHAT.body(more)]


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","role":"user"}]}',
        b'{"model":"m","messages":[{"role":"user","n":NaN}]}',
        b'{"model":"m","messages":[]}',
        b'{"model":"m","messages":"hello"}',
        b'{"model":"m","messages":[7]}',
        b'{"model":"m","coatcheck":{"parent":null,"append":[]}}',
        b"[]",
        b"not JSON",
    ],
)
def test_what_cannot_be_shortened_goes_as_it_came(raw: bytes, remote: Remote, known: Known) -> None:
    remote.before = lambda request: Reply(200, {}, b"{}")
    CHAT.send(remote, known, raw)
    (seen,) = remote.seen
    assert seen.body == raw


def test_a_list_without_a_digest_goes_whole_and_with_refs(remote: Remote, known: Known) -> None:
    messages: list[Json] = [_chat("Look", image()), {"role": "user", "content": "x", "n": 2**60}]
    CHAT.take(remote, known, messages)
    assert "coatcheck" not in remote.turns[0]
    assert remote.upstream == [CHAT.body(messages)]
    assert len(remote.sent("PUT")) == 1


def test_numbers_and_texts_keep_what_they_say(remote: Remote, known: Known) -> None:
    raw = (
        '{"model":"m","big":123456789012345678901234567890,"messages":'
        '[{"role":"user","content":"\\ud83d\\ude00 \\u0000 “x”","x":1e-7,"y":-0.0,"z":1.0}]}'
    )
    CHAT.send(remote, known, raw.encode())
    assert remote.upstream == [json.loads(raw)]


def test_images_beside_the_messages_are_refs_too(remote: Remote, known: Known) -> None:
    spoken = SPOKEN[3]
    system = _gemini("Be brief.", image(3, 50_000))
    messages: list[Json] = [_gemini("Look", image(4))]
    body = {**spoken.body(messages), "systemInstruction": {"parts": system["parts"]}}
    for _ in range(2):
        taken = spoken.send(remote, known, json.dumps(body).encode())
        assert remote.upstream[-1] == body
        assert taken.spent.request_bytes < 700
    assert len(remote.sent("PUT")) == 2


TOOLS: list[Json] = [
    {"type": "function", "function": {"name": f"tool_{number}", "description": "Does it. " * 20}}
    for number in range(50)
]


@pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: f"{spoken.name} {spoken.path}")
def test_large_values_beside_the_messages_go_once(
    spoken: Spoken, remote: Remote, known: Known
) -> None:
    spoken = replace(spoken, rest={**spoken.rest, "tools": TOOLS, "system": "Be brief. " * 100})
    messages: list[Json] = []
    sent: list[int] = []
    for number in range(3):
        messages.append(spoken.look(f"What is {number}?", image(number)))
        sent.append(spoken.take(remote, known, messages).spent.request_bytes)
        assert remote.upstream[-1] == spoken.body(messages)
    assert sent[0] > 10_000
    assert max(sent[1:]) < 1000
    remote.fields.clear()
    messages.append(spoken.look("And now?", image()))
    taken = spoken.take(remote, known, messages)
    assert remote.upstream[-1] == spoken.body(messages)
    assert (taken.spent.replays, len(remote.upstream)) == (1, 4)
    remote.wipe()
    taken = spoken.take(remote, known, messages)
    assert remote.upstream[-1] == spoken.body(messages)
    assert (taken.spent.replays, len(remote.upstream)) == (1, 5)


def test_a_server_that_keeps_no_values_is_not_asked_on(remote: Remote, known: Known) -> None:
    spoken = replace(CHAT, rest={"tools": TOOLS})
    spoken.take(remote, known, [_chat("One", image())])

    def lose(request: Request) -> Reply | None:
        remote.fields.clear()
        return None

    remote.before = lose
    for _ in range(3):
        taken = spoken.take(remote, known, [_chat("One", image()), remote.answer])
        assert (taken.reply.status, taken.spent.replays) == (200, 1)


@pytest.mark.parametrize("code", ["prompt_not_found", "field_not_found", "blob_not_found"])
def test_what_an_upstream_does_not_find_is_passed_on(
    remote: Remote, known: Known, code: str
) -> None:
    spoken = replace(CHAT, rest={"tools": TOOLS})
    spoken.take(remote, known, [_chat("One", image())])
    body = json.dumps({"error": {"code": code, "message": "theirs", "missing": []}}).encode()
    remote.before = lambda request: Reply(404, {}, body)
    remote.seen.clear()
    taken = spoken.take(remote, known, [_chat("One", image()), remote.answer])
    assert (taken.reply.status, taken.reply.body) == (404, body)
    assert len(remote.seen) == 1


def test_urls_that_only_the_caller_is_known_by_become_refs(remote: Remote, known: Known) -> None:
    digest = Digest.of(image())
    remote.blobs[digest], remote.types[digest] = image(), "image/png"
    url: JsonObject = {"url": f"http://127.0.0.1:8421/v1/blobs/{digest}", "detail": "low"}
    body = CHAT.body([{"role": "user", "content": [{"image_url": url}]}])
    raw = json.dumps(body).encode()
    origins = {"127.0.0.1:8421"}
    drive(take(Turn.of_bytes(dialect(CHAT.name), CHAT.path, raw, origins=origins), known), remote)
    assert f'"url":"blob:{digest}"' in json.dumps(remote.turns[0], separators=(",", ":"))
    sent = json.dumps(remote.upstream[0])
    assert text_of(image()) in sent


def test_a_server_that_never_has_it_is_not_asked_on(remote: Remote, known: Known) -> None:
    CHAT.take(remote, known, [_chat("One", image(1))])
    remote.seen.clear()

    def lose(request: Request) -> Reply | None:
        remote.wipe()
        return None

    remote.before = lose
    taken = CHAT.take(remote, known, [_chat("One", image(1)), _chat("Two", image(2))])
    assert taken.reply.status == 404
    assert len(remote.turns) == 4  # named, whole, after each of two uploads
    assert len(remote.upstream) == 1


def test_another_upstreams_404_is_passed_on(remote: Remote, known: Known) -> None:
    body = b'{"error":{"code":"model_not_found","message":"no such model"}}'
    remote.before = lambda request: Reply(404, {}, body)
    taken = CHAT.take(remote, known, [{"role": "user", "content": "x"}])
    assert (taken.reply.status, taken.reply.body) == (404, body)
    assert len(remote.seen) == 1


def test_a_turn_that_broke_off_is_not_sent_again(remote: Remote, known: Known) -> None:
    def cut(request: Request) -> Exception | None:
        return ConnectionFailedError("cut") if "/chat/" in request.path else None

    remote.before = cut
    with pytest.raises(ConnectionFailedError):
        CHAT.take(remote, known, [_chat("One", image(1))])
    assert len(remote.sent("POST", "/chat/")) == 1


def test_an_upload_that_breaks_off_is_done_again(remote: Remote, known: Known) -> None:
    def cut(request: Request) -> Exception | None:
        return ConnectionFailedError("cut") if request.method == "PUT" else None

    remote.before = cut
    CHAT.take(remote, known, [_chat("One", image(1))])
    assert len(remote.upstream) == 1


def test_an_image_that_is_known_by_its_text_is_not_hashed(
    remote: Remote, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    CHAT.take(remote, known, [_chat("One", image(1, 100_000))])
    hashed: list[FoundInline] = []
    monkeypatch.setattr("coatcheck.client.known.decode_and_hash", hashed.append)
    CHAT.take(remote, known, [_chat("One", image(1, 100_000)), {"role": "user", "content": "x"}])
    assert remote.upstream[-1]
    assert hashed == []


def test_one_new_image_in_many_turns_at_once_is_uploaded_once(known: Known) -> None:
    remote = Remote()
    shared = image(1, 200_000)

    def turn(number: int) -> Taken:
        messages: list[Json] = [_chat(f"Turn {number}", shared)]
        return CHAT.take(remote, known, messages)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(turn, range(24)))
    assert all(one.reply.status == 200 for one in taken)
    assert len(remote.sent("PUT")) == 1
    assert len(remote.upstream) == 24


def test_an_end_user_is_asked_for_each_by_itself(remote: Remote, known: Known) -> None:
    for number, name in enumerate("aba"):
        body = {**CHAT.body([_chat(str(number), image(1))]), "user": name}
        CHAT.send(remote, known, json.dumps(body).encode())
    asked = [request.headers.get("Coatcheck-User") for request in remote.sent("POST", "missing")]
    assert asked == ["a", "b"]


def test_a_client_that_speaks_the_protocol_is_told(known: Known) -> None:
    spoken = dialect(CHAT.name)
    plain = Turn.of_bytes(spoken, CHAT.path, b"{}")
    asking = Turn.of_bytes(spoken, CHAT.path, b"{}", {"coatcheck-prompt": "keep"})
    enveloped = Turn.of_bytes(spoken, CHAT.path, b'{"coatcheck":{}}')
    told = [turn.speaks_for_itself for turn in (plain, asking, enveloped)]
    assert told == [False, True, True]


def test_an_announced_answer_is_known(remote: Remote, known: Known) -> None:
    messages: list[Json] = [{"role": "user", "content": "x"}]
    taken = CHAT.take(remote, known, messages)
    assert taken.prompt
    assert known.prompts.longest([taken.prompt, prompt_step(taken.prompt, remote.answer)]) == 2
