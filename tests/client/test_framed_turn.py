"""Turns whose messages stand in a part of the body: Dify's."""

from dataclasses import replace

import pytest
from tests.client.remote import Remote, content
from tests.client.spoken import DIFY, TOOLS, image

from coatcheck.client.exchange import Reply
from coatcheck.client.known import Known
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    dialect,
    encode_json,
    field_digest,
    framed,
    prompt_digests,
    ref_form,
)


def test_a_turn_of_difys_is_shortened_within_its_data(remote: Remote, known: Known) -> None:
    """The bodies are exact: what another language's author has to write."""
    spoken = replace(DIFY, rest={"tools": TOOLS, **DIFY.rest})
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
    spoken = replace(DIFY, rest={key: secret, "json_schema": "x" * 2000})
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
    DIFY.send(remote, known, raw)
    (seen,) = remote.seen
    assert seen.body == raw


def test_a_list_of_difys_without_a_digest_goes_whole_and_with_refs(
    remote: Remote, known: Known
) -> None:
    spoken = DIFY
    messages: list[Json] = [spoken.look("Look", image()), {"role": "user", "n": 2**60}]
    spoken.take(remote, known, messages)
    (turn,) = remote.turns
    assert "coatcheck" not in turn
    assert list(turn) == ["user_id", "context", "data"]
    assert list(framed(dialect(spoken.name), turn)) == list(
        framed(dialect(spoken.name), spoken.body(messages))
    )
    assert remote.upstream == [spoken.body(messages)]
