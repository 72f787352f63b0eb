"""Large values of requests are kept with prompts, and may be named by their digests."""

from collections.abc import Callable
from typing import Any

import pytest

from coatcheck.daemon.parsed_request import TurnLimits, parse_request
from coatcheck.daemon.turn import Recalled, build_turn
from coatcheck.protocol import (
    FIELD_DIALECT,
    Digest,
    Json,
    JsonObject,
    Ref,
    canonical_json,
    decode_json,
    dialect,
    encode_json,
    field_prompt,
    prompt_digests,
)

Fixture = Callable[..., Any]

HELLO: Json = {"role": "user", "content": "Hello"}
TOOLS: Json = [
    {"type": "function", "function": {"name": "look", "parameters": {"b": 1, "a": 0.5}}, "n": n}
    for n in range(20)
]
FORMAT: Json = {"type": "json_schema", "json_schema": {"name": "x" * 600}}
SMALL: Json = [{"type": "function"}]


def digest_of(value: Json) -> str:
    return str(Digest.of(canonical_json(value)))


def naming(fields: JsonObject, parent: str | None = None) -> JsonObject:
    named: JsonObject = {key: digest_of(value) for key, value in fields.items()}
    return {"parent": parent, "append": [HELLO], "fields": named}


def envelope(*, parent: str | None = None, **fields: Json) -> JsonObject:
    return naming(fields, parent)


async def started(run_daemon: Fixture, run_upstream: Fixture) -> tuple[Any, Any]:
    upstream = await run_upstream(models=("m",))
    return await run_daemon(upstream.config), upstream


async def test_a_value_that_was_kept_is_named_by_its_digest(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    first: JsonObject = {"model": "m", "tools": TOOLS, "response_format": FORMAT}
    first |= {"coatcheck": {"parent": None, "append": [HELLO]}, "stream": False}
    status, _, response = await daemon.chat(first)
    assert status == 200
    prompt = response.headers["Coatcheck-Prompt"]
    named: JsonObject = {"model": "m"}
    named |= {"coatcheck": envelope(parent=prompt, tools=TOOLS, response_format=FORMAT)}
    named |= {"stream": False}
    status, _, response = await daemon.chat(named)
    assert status == 200
    assert response.headers["Coatcheck-Prompt"] == prompt_digests("openai.chat", [HELLO, HELLO])[-1]
    one, two = upstream.seen
    # The values stand where the envelope stood, before the list, in the order of `fields`: so a
    # client that writes them there sends what it would have sent in full.
    whole: JsonObject = {"model": "m", "tools": TOOLS, "response_format": FORMAT}
    assert one.body == encode_json(whole | {"messages": [HELLO], "stream": False})
    assert two.body == encode_json(whole | {"messages": [HELLO, HELLO], "stream": False})


def test_envelopes_with_fields_become_what_the_vectors_say(
    vectors: Callable[[str], Any],
) -> None:
    for row in vectors("field")["expanded"]:
        spoken = dialect(row["dialect"])
        parsed = parse_request(encode_json(row["body"]), spoken, TurnLimits())
        assert parsed.envelope is not None
        kept = {key: row["kept_fields"][digest] for key, digest in parsed.envelope.fields.items()}
        recalled = Recalled(row["kept_messages"], kept)
        turn = build_turn(parsed, recalled, spoken, (), TurnLimits())
        assert encode_json(turn.body).decode() == row["upstream"]


async def test_a_list_that_was_sent_whole_leaves_its_fields_too(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    body: JsonObject = {"model": "m", "messages": [HELLO], "tools": TOOLS}
    await daemon.chat(body)
    assert not daemon.prompts.kept
    await daemon.chat(body, {"Coatcheck-Prompt": "keep"})
    status, _, _ = await daemon.chat({"model": "m", "coatcheck": envelope(tools=TOOLS)})
    assert status == 200
    assert upstream.seen[-1].json == body


async def test_the_text_that_came_first_stays(run_daemon: Fixture, run_upstream: Fixture) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    text = b'{"model":"m","tools":[{"b":1.0,"a":"%s"}],"coatcheck":{"parent":null,"append":[{}]}}'
    await daemon.chat(text % (b"x" * 600))
    tools: Json = [{"a": "x" * 600, "b": 1}]
    status, _, _ = await daemon.chat({"model": "m", "coatcheck": envelope(tools=tools)})
    assert status == 200
    assert b'"tools":[{"b":1.0,"a":' in upstream.seen[-1].body


async def test_small_values_are_not_kept(run_daemon: Fixture, run_upstream: Fixture) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    just: Json = "x" * 510  # with its quotes it has 512 bytes
    under: Json = "x" * 509
    body: JsonObject = {"model": "m", "a": just, "b": under, "tools": SMALL}
    await daemon.chat(body | {"coatcheck": {"parent": None, "append": [HELLO]}})
    kept = [digest for _, name, digest in daemon.prompts.kept if name == FIELD_DIALECT]
    assert kept == [field_prompt(Digest(digest_of(just)))]
    assert len(upstream.seen) == 1


async def test_all_that_is_missing_is_named_at_once(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    await daemon.chat(
        {"model": "m", "tools": TOOLS, "coatcheck": {"parent": None, "append": [HELLO]}}
    )
    gone = Digest.of(b"gone")
    wanted = naming({"tools": TOOLS, "response_format": FORMAT, "a.b": FORMAT})
    picture: Json = {"type": "image_url", "image_url": {"url": str(Ref(gone))}}
    wanted["append"] = [{"role": "user", "content": [picture]}]
    status, answer, response = await daemon.chat({"model": "m", "coatcheck": wanted})
    error = answer["error"]
    assert (status, error["code"]) == (404, "field_not_found")
    assert response.headers["x-should-retry"] == "false"
    formats = {"digest": digest_of(FORMAT)}
    fields = [
        formats | {"field": "response_format", "path": "coatcheck.fields.response_format"},
        formats | {"field": "a.b", "path": "coatcheck.fields.a.b"},
    ]
    blob = {"digest": str(gone), "path": "messages.0.content.0.image_url"}
    assert error["missing"] == [*fields, blob]
    wanted["parent"] = str(Digest.of(b"no such prompt"))
    status, answer, _ = await daemon.chat({"model": "m", "coatcheck": wanted})
    error = answer["error"]
    assert (status, error["code"]) == (404, "prompt_not_found")
    parent = {"digest": wanted["parent"], "path": "coatcheck.parent"}
    assert error["missing"] == [parent, *fields]
    assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"tools": SMALL, "coatcheck": envelope(tools=SMALL)}, "coatcheck.fields.tools"),
        ({"coatcheck": envelope(messages=[HELLO])}, "coatcheck.fields.messages"),
        ({"coatcheck": envelope(coatcheck={})}, "coatcheck.fields.coatcheck"),
        ({"coatcheck": envelope(model="m")}, "coatcheck.fields.model"),
        ({"coatcheck": naming({f"k{n}": n for n in range(17)})}, "coatcheck.fields"),
    ],
)
async def test_what_cannot_be_a_field_is_refused(
    run_daemon: Fixture, run_upstream: Fixture, body: JsonObject, path: str
) -> None:
    daemon, upstream = await started(run_daemon, run_upstream)
    status, answer, _ = await daemon.chat({"model": "m"} | body)
    assert (status, answer["error"]["code"]) == (400, "envelope_invalid")
    assert answer["error"]["param"] == path
    assert not upstream.seen


async def test_attachments_in_fields_resolve(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream(models=("m",), dialect="gemini.generate")
    daemon = await run_daemon(upstream.config)
    digest = daemon.blobs.add(b"\x89PNG\r\n\x1a\n and so on")
    url = f"{daemon.url}/v1beta/models/m:generateContent"
    part: Json = {"fileData": {"fileUri": str(Ref(digest)), "mimeType": "image/png"}}
    system: Json = {"parts": [{"text": "x" * 600}, part]}
    hello: Json = {"role": "user", "parts": [{"text": "Hello"}]}
    first: JsonObject = {"systemInstruction": system}
    first |= {"coatcheck": {"parent": None, "append": [hello]}}
    named = envelope(systemInstruction=system) | {"append": [hello]}
    second: JsonObject = {"coatcheck": named}
    for body in (first, second):
        async with daemon.http.post(url, data=encode_json(body)) as response:
            assert response.status == 200, await response.text()
    one, two = upstream.seen
    assert one.body == two.body
    assert b"inlineData" in two.body
    (kept,) = [
        message
        for (_, name, _), (_, message) in daemon.prompts.kept.items()
        if name == FIELD_DIALECT
    ]
    assert kept.blobs == (digest,)  # which keeps the blob as long as the field
    assert decode_json(kept.text) == system
    daemon.blobs.blobs.clear()
    async with daemon.http.post(url, data=encode_json({"coatcheck": named})) as response:
        assert response.status == 404
        answer: Any = decode_json(await response.read())
    path = "systemInstruction.parts.1.fileData"
    assert answer["error"]["details"][0]["missing"] == [{"digest": str(digest), "path": path}]


async def test_a_field_may_say_whom_a_turn_is_for(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream(models=("m",), dialect="anthropic.messages")
    daemon = await run_daemon(upstream.config)
    metadata: Json = {"user_id": "ann", "more": "x" * 600}
    bodies: list[JsonObject] = [
        {"metadata": metadata, "coatcheck": {"parent": None, "append": [HELLO]}},
        {"coatcheck": envelope(metadata=metadata)},
    ]
    for body in bodies:
        daemon.prompts.end_users.clear()
        raw = encode_json({"model": "m", **body})
        async with daemon.http.post(f"{daemon.url}/v1/messages", data=raw) as response:
            assert response.status == 200, await response.text()
        assert set(daemon.prompts.end_users.values()) == {"ann"}
