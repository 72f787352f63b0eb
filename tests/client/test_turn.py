"""Turns in every dialect: an upstream gets what the client sent, and the server what it has not."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from tests.client.remote import Remote, drive
from tests.client.spoken import CHAT, SPOKEN, TOOLS, Spoken, chat, image, text_of

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
    prompt_step,
)


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
    first, second = chat("First", image(1)), chat("Second", image(2))
    CHAT.take(remote, known, [first, second])
    edited = chat("Second, edited", image(2))
    remote.seen.clear()
    CHAT.take(remote, known, [first, edited])
    (turn,) = remote.turns
    assert isinstance(turn["coatcheck"], dict)
    assert len(turn["coatcheck"]["append"]) == 1  # type: ignore[arg-type]
    assert remote.sent("PUT") == []
    assert remote.upstream[-1] == CHAT.body([first, edited])


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
    before: list[Json] = [chat("Before", image(7))]
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
    messages: list[Json] = [chat("Look", image()), {"role": "user", "content": "x", "n": 2**60}]
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
    system = spoken.look("Be brief.", image(3, 50_000))
    messages: list[Json] = [spoken.look("Look", image(4))]
    body = {**spoken.body(messages), "systemInstruction": {"parts": system["parts"]}}
    for _ in range(2):
        taken = spoken.send(remote, known, json.dumps(body).encode())
        assert remote.upstream[-1] == body
        assert taken.spent.request_bytes < 700
    assert len(remote.sent("PUT")) == 2


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
    spoken.take(remote, known, [chat("One", image())])

    def lose(request: Request) -> Reply | None:
        remote.fields.clear()
        return None

    remote.before = lose
    for _ in range(3):
        taken = spoken.take(remote, known, [chat("One", image()), remote.answer])
        assert (taken.reply.status, taken.spent.replays) == (200, 1)


@pytest.mark.parametrize("code", ["prompt_not_found", "field_not_found", "blob_not_found"])
def test_what_an_upstream_does_not_find_is_passed_on(
    remote: Remote, known: Known, code: str
) -> None:
    spoken = replace(CHAT, rest={"tools": TOOLS})
    spoken.take(remote, known, [chat("One", image())])
    body = json.dumps({"error": {"code": code, "message": "theirs", "missing": []}}).encode()
    remote.before = lambda request: Reply(404, {}, body)
    remote.seen.clear()
    taken = spoken.take(remote, known, [chat("One", image()), remote.answer])
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
    CHAT.take(remote, known, [chat("One", image(1))])
    remote.seen.clear()

    def lose(request: Request) -> Reply | None:
        remote.wipe()
        return None

    remote.before = lose
    taken = CHAT.take(remote, known, [chat("One", image(1)), chat("Two", image(2))])
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
        CHAT.take(remote, known, [chat("One", image(1))])
    assert len(remote.sent("POST", "/chat/")) == 1


def test_an_upload_that_breaks_off_is_done_again(remote: Remote, known: Known) -> None:
    def cut(request: Request) -> Exception | None:
        return ConnectionFailedError("cut") if request.method == "PUT" else None

    remote.before = cut
    CHAT.take(remote, known, [chat("One", image(1))])
    assert len(remote.upstream) == 1


def test_an_image_that_is_known_by_its_text_is_not_hashed(
    remote: Remote, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    CHAT.take(remote, known, [chat("One", image(1, 100_000))])
    hashed: list[FoundInline] = []
    monkeypatch.setattr("coatcheck.client.known.decode_and_hash", hashed.append)
    CHAT.take(remote, known, [chat("One", image(1, 100_000)), {"role": "user", "content": "x"}])
    assert remote.upstream[-1]
    assert hashed == []


def test_one_new_image_in_many_turns_at_once_is_uploaded_once(known: Known) -> None:
    remote = Remote()
    shared = image(1, 200_000)

    def turn(number: int) -> Taken:
        messages: list[Json] = [chat(f"Turn {number}", shared)]
        return CHAT.take(remote, known, messages)

    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(turn, range(24)))
    assert all(one.reply.status == 200 for one in taken)
    assert len(remote.sent("PUT")) == 1
    assert len(remote.upstream) == 24


def test_an_end_user_is_asked_for_each_by_itself(remote: Remote, known: Known) -> None:
    for number, name in enumerate("aba"):
        body = {**CHAT.body([chat(str(number), image(1))]), "user": name}
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
