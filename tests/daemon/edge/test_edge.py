"""Through an edge: the upstream gets what the client sent, and the link between carries each byte once."""

import asyncio
import gzip
import json
from dataclasses import replace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web as aioweb
from tests.client.spoken import CHAT, DIFY, SPOKEN, Spoken, image
from tests.daemon.conftest import Respond
from tests.daemon.edge.conftest import Chain, RunChain, streaming
from tests.daemon.hanging import Hanging

from coatcheck.daemon.observation import Mode
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    decode_json,
    encode_json,
    told_in_stream,
    write_comment,
    write_event,
)
from coatcheck.web import Principal

KEY = f"cck_{'a' * 8}_{'k' * 40}"
OTHER = f"cck_{'b' * 8}_{'k' * 40}"
IMAGE_BYTES = 100_000
HELLO: JsonObject = {"role": "user", "content": "hello"}


class Keyring:
    """The keys of two tenants."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        return {KEY: Principal("a"), OTHER: Principal("b")}.get(secret or "")


async def send(
    chain: Chain, spoken: Spoken, messages: list[Json], headers: dict[str, str] | None = None
) -> tuple[int, bytes, Any]:
    raw = json.dumps(spoken.body(messages)).encode()
    async with chain.http.post(chain.url + spoken.path, data=raw, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


@pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: f"{spoken.name} {spoken.path}")
async def test_images_cross_once_and_messages_are_not_sent_again(
    run_chain: RunChain, spoken: Spoken
) -> None:
    chain = await run_chain()
    messages: list[Json] = []
    for number in range(6):
        messages.append(spoken.look(f"What is {number}?", image(number, IMAGE_BYTES)))
        status, body, headers = await send(chain, spoken, messages)
        assert (status, json.loads(body)) == (200, {"ok": True})
        assert not [name for name in headers if name.startswith("Coatcheck")]
        assert chain.upstream.seen[-1].json == spoken.body(messages)
        messages.append({"role": "assistant", "content": "A coat.", "parts": [{"text": "A coat."}]})
    sent = 6 * IMAGE_BYTES
    assert chain.link.up < sent + 6 * 3000
    assert (chain.meters.uploads, chain.meters.replays) == (6, 0)
    assert chain.meters.saved_bytes > 15 * IMAGE_BYTES


LONG = "A coat. " * 3000
TOOLS: list[Json] = [
    {"type": "function", "function": {"name": f"tool_{number}", "description": "Does it. " * 20}}
    for number in range(50)
]


def whole(answer: JsonObject) -> Respond:
    """Answer with JSON."""

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response(answer)

    return respond


def _event(value: JsonObject, name: str = "") -> bytes:
    return write_event(encode_json(value).decode(), name or None)


CHAT_ANSWERS = {
    "whole": whole(
        {
            "id": "1",
            "object": "chat.completion",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": LONG}}],
        }
    ),
    "stream": streaming(
        _event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": LONG}}]}),
        _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        b"data: [DONE]\n\n",
    ),
}


@pytest.mark.parametrize("way", CHAT_ANSWERS)
async def test_answers_and_tools_are_not_sent_again(run_chain: RunChain, way: str) -> None:
    chain = await run_chain(CHAT_ANSWERS[way])
    rest: JsonObject = {"tools": TOOLS, **({"stream": True} if way == "stream" else {})}
    spoken = replace(CHAT, rest=rest)
    messages: list[Json] = [HELLO]
    ups: list[int] = []
    for _ in range(4):
        before = chain.link.up
        status, body, _ = await send(chain, spoken, messages)
        assert status == 200
        assert b"coatcheck" not in body
        assert chain.upstream.seen[-1].json == spoken.body(messages)
        ups.append(chain.link.up - before)
        answer: JsonObject = {"role": "assistant", "content": LONG}
        messages += [answer, HELLO]
    assert ups[0] > 10_000
    assert max(ups[1:]) < 1500, ups


async def test_a_stream_comes_back_byte_for_byte(run_chain: RunChain) -> None:
    events = [b'data: {"a":1}\n\n', b": theirs\n\n", b"data: [DONE]\n\n"]
    chain = await run_chain(streaming(*events))
    _, body, _ = await send(chain, CHAT, [HELLO])
    assert body == b"".join(events)


async def test_what_the_remote_says_to_us_is_not_told(run_chain: RunChain) -> None:
    comment = write_comment(f"coatcheck-answer {Digest.of(b'x')}")
    chain = await run_chain(streaming(b"data: 1\n\n", comment, b"data: 2\n\n"))
    _, body, _ = await send(chain, CHAT, [HELLO])
    assert body == b"data: 1\n\ndata: 2\n\n"
    _, body, headers = await send(chain, CHAT, [HELLO], {"Coatcheck-Prompt": "keep"})
    assert comment in body
    assert "Coatcheck-Prompt" in headers


async def test_a_client_that_speaks_the_protocol_is_understood(run_chain: RunChain) -> None:
    chain = await run_chain()
    first: JsonObject = {"model": "m", "coatcheck": {"parent": None, "append": [HELLO]}}
    url = f"{chain.url}/v1/chat/completions"
    async with chain.http.post(url, data=encode_json(first)) as answer:
        parent = answer.headers["Coatcheck-Prompt"]
    more: JsonObject = {"model": "m", "coatcheck": {"parent": parent, "append": [HELLO]}}
    async with chain.http.post(url, data=encode_json(more)) as answer:
        assert answer.status == 200
    assert chain.upstream.seen[-1].json == {"model": "m", "messages": [HELLO, HELLO]}


async def test_refs_and_urls_of_ours_pass_on(run_chain: RunChain) -> None:
    chain = await run_chain()
    data = image(1)
    async with chain.http.post(f"{chain.url}/v1/blobs", data=data) as answer:
        ref = (await answer.json())["ref"]
    url = f"{chain.url}/v1/blobs/{Digest.of(data)}"
    for named in (ref, url):
        part: JsonObject = {"type": "image_url", "image_url": {"url": named, "detail": "low"}}
        status, _, _ = await send(chain, CHAT, [{"role": "user", "content": [part]}])
        assert status == 200
    sent = [cast("JsonObject", seen.json)["messages"] for seen in chain.upstream.seen]
    shown = cast("list[JsonObject]", CHAT.look("", data)["content"])[1]
    assert sent == [[{"role": "user", "content": [shown]}]] * 2


async def test_a_remote_that_lost_everything_gets_it_again(run_chain: RunChain) -> None:
    chain = await run_chain()
    messages: list[Json] = [CHAT.look("One", image(1, IMAGE_BYTES))]
    await send(chain, CHAT, messages)
    await chain.remote.stop()
    await chain.remote.start()
    messages.append(CHAT.look("Two", image(2, IMAGE_BYTES)))
    status, _, _ = await send(chain, CHAT, messages)
    assert status == 200
    assert chain.upstream.seen[-1].json == CHAT.body(messages)
    assert (len(chain.upstream.seen), chain.meters.replays) == (2, 1)


async def test_a_remote_that_is_away_is_said_in_the_providers_words(run_chain: RunChain) -> None:
    chain = await run_chain()
    await chain.remote.stop()
    for spoken, where in (
        (CHAT, ("error", "code")),
        (SPOKEN[2], ("error", "details", "error_code")),
        (SPOKEN[3], ("error", "details", 0, "code")),
    ):
        parts: list[Json] = [{"text": "x"}]
        status, body, _ = await send(chain, spoken, [{**HELLO, "parts": parts}])
        told: Any = json.loads(body)
        for step in where:
            told = told[step]
        assert (status, told) in ((502, "upstream_hung_up"), (502, "upstream_unreachable"))
    async with chain.http.get(f"{chain.url}/readyz") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "degraded")
    await chain.remote.start()
    status, _, _ = await send(chain, CHAT, [HELLO])
    assert status == 200


async def test_difys_refusals_are_told_in_a_stream_and_understood_by_an_edge(
    run_chain: RunChain,
) -> None:
    chain = await run_chain()
    messages: list[Json] = [DIFY.look("First", image(1)), {**HELLO, "name": None}]
    await send(chain, DIFY, messages)
    await chain.remote.stop()
    status, body, headers = await send(chain, DIFY, messages)
    assert (status, headers["Content-Type"]) == (200, "text/event-stream")
    assert told_in_stream(body)["code"] in ("upstream_hung_up", "upstream_unreachable")
    await chain.remote.start()
    messages.append(DIFY.look("Second", image(2)))
    status, body, _ = await send(chain, DIFY, messages)
    assert (status, json.loads(body)) == (200, {"ok": True})
    assert chain.upstream.seen[-1].json == DIFY.body(messages)
    assert chain.meters.replays == 1
    gone = Digest.of(b"nobody has this")
    item: JsonObject = {"type": "image", "url": f"blob:{gone}", "mime_type": "image/png"}
    status, body, headers = await send(chain, DIFY, [{"role": "user", "content": [item]}])
    told = told_in_stream(body)
    assert (status, told["code"]) == (200, "blob_not_found")
    path = "data.prompt_messages.0.content.0.url"
    assert told["missing"] == [{"digest": gone, "path": path}]
    raw = json.dumps(DIFY.body([{"role": "user", "content": [item]}])).encode()
    url = chain.remote_url + DIFY.path
    async with chain.http.post(url, data=raw, headers={"Coatcheck-Edges": "1"}) as answer:
        assert (answer.status, answer.content_type) == (404, "text/event-stream")
        assert told_in_stream(await answer.read()) == told


async def test_difys_answers_are_not_sent_again(run_chain: RunChain) -> None:
    def frame(delta: JsonObject) -> bytes:
        chunk: JsonObject = {"model": "m", "delta": delta, "prompt_messages": []}
        return _event({"code": 0, "message": "success", "data": chunk})

    said: JsonObject = {"role": "assistant", "content": LONG, "name": "", "tool_calls": []}
    frames = [frame({"index": 0, "message": said}), frame({"index": 1, "finish_reason": "stop"})]
    chain = await run_chain(streaming(*frames))
    messages: list[Json] = []
    for number in range(4):
        messages.append(DIFY.look(f"What is {number}?", image(number)))
        before = chain.link.up
        _, body, _ = await send(chain, DIFY, messages)
        assert body == b"".join(frames)
        assert chain.upstream.seen[-1].json == DIFY.body(messages)
        assert chain.link.up - before < 4000
        memory: JsonObject = {"role": "assistant", "content": LONG, "name": None, "tool_calls": []}
        messages.append(memory)


@pytest.mark.parametrize("mode", ["observe", "pass"])
@pytest.mark.parametrize("spoken", [CHAT, DIFY], ids=lambda spoken: spoken.name)
async def test_what_an_edge_sends_is_read_by_a_remote_that_only_observes(
    run_chain: RunChain, spoken: Spoken, mode: Mode
) -> None:
    chain = await run_chain(mode=mode)
    messages: list[Json] = [spoken.look("First", image(1)), {**HELLO, "name": None}]
    for number in range(2):
        messages.append(spoken.look(f"What is {number}?", image(number, IMAGE_BYTES)))
        status, body, _ = await send(chain, spoken, messages)
        assert (status, json.loads(body)) == (200, {"ok": True})
        assert chain.upstream.seen[-1].json == spoken.body(messages)
    raw = (
        b'{"model": "m", "model": "m", "data": {"model": "m"}}'  # which no reader understands alike
    )
    async with chain.http.post(chain.url + spoken.path, data=raw) as answer:
        assert (answer.status, chain.upstream.seen[-1].body) == (200, raw)


async def test_a_turn_whose_connection_breaks_is_not_sent_again(run_chain: RunChain) -> None:
    chain = await run_chain()
    chain.link.cuts = lambda data: False
    await send(chain, CHAT, [HELLO])
    turns = 0

    def cut(data: bytes) -> bool:
        nonlocal turns
        turns += b"POST /v1/chat" in data
        return b"POST /v1/chat" in data

    chain.link.cuts = cut
    status, _, _ = await send(chain, CHAT, [HELLO, HELLO])
    assert (status, turns) == (502, 1)
    assert len(chain.upstream.seen) == 1


async def test_an_upload_whose_connection_breaks_goes_on(run_chain: RunChain) -> None:
    chain = await run_chain(max_piece_bytes=65_536)
    left = 3

    def cut(data: bytes) -> bool:
        nonlocal left
        left -= b"PATCH" in data
        return b"PATCH" in data and left >= 0

    chain.link.cuts = cut
    messages: list[Json] = [CHAT.look("One", image(1, 300_000))]
    status, _, _ = await send(chain, CHAT, messages)
    assert status == 200
    assert chain.upstream.seen[-1].json == CHAT.body(messages)


async def test_an_upstreams_refusal_is_passed_on(run_chain: RunChain) -> None:
    told = b'{"error":{"message":"slow down","code":"rate_limit"}}'

    async def refuse(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.Response(status=429, body=told, headers={"Retry-After": "7", "X-Own": "1"})

    chain = await run_chain(refuse)
    messages: list[Json] = [CHAT.look("One", image(1, IMAGE_BYTES))]
    for _ in range(2):
        status, body, headers = await send(chain, CHAT, messages)
        assert (status, body, headers["Retry-After"], headers["X-Own"]) == (429, told, "7", "1")
    assert chain.link.up < 2 * IMAGE_BYTES


async def test_what_nobody_has_is_named(run_chain: RunChain) -> None:
    chain = await run_chain()
    ref = f"blob:{Digest.of(b'nobody has this')}"
    part: JsonObject = {"type": "image_url", "image_url": {"url": ref}}
    status, body, headers = await send(chain, CHAT, [{"role": "user", "content": [part]}])
    assert (status, headers["x-should-retry"]) == (404, "false")
    assert json.loads(body)["error"]["code"] == "blob_not_found"


async def test_the_keys_go_where_they_belong(run_chain: RunChain) -> None:
    chain = await run_chain(key=KEY, keyring=Keyring())
    messages: list[Json] = [CHAT.look("One", image(1, IMAGE_BYTES))]
    status, _, _ = await send(chain, CHAT, messages, {"Authorization": "Bearer sk-theirs"})
    assert status == 200
    seen = chain.upstream.seen[-1]
    assert seen.headers["Authorization"] == "Bearer sk-theirs"
    assert KEY not in str(seen.headers)
    async with chain.http.get(f"{chain.url}/v1/blobs") as answer:
        assert [one["digest"] for one in (await answer.json())["blobs"]] == [
            Digest.of(image(1, IMAGE_BYTES))
        ]


async def test_without_a_key_of_its_own_clients_bring_theirs(run_chain: RunChain) -> None:
    chain = await run_chain(keyring=Keyring())
    messages: list[Json] = [CHAT.look("One", image(1, IMAGE_BYTES))]
    for key in (KEY, OTHER, KEY):
        status, _, _ = await send(chain, CHAT, messages, {"Authorization": f"Bearer {key}"})
        assert status == 200
    assert chain.meters.uploads == 2  # what one tenant has another has not
    status, body, _ = await send(chain, CHAT, messages)
    assert (status, json.loads(body)["error"]["code"]) == (401, "key_missing")


async def test_a_key_that_may_not_write_sends_all_of_it(run_chain: RunChain) -> None:
    class Reading(Keyring):
        async def identify(self, secret: str | None) -> Principal | None:
            return Principal("a", frozenset({"gateway", "read"}))

    chain = await run_chain(keyring=Reading())
    messages: list[Json] = [CHAT.look("One", image(1))]
    status, _, _ = await send(chain, CHAT, messages, {"Authorization": f"Bearer {KEY}"})
    assert status == 200
    assert chain.upstream.seen[-1].json == CHAT.body(messages)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":1,"n":2}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"n":NaN}',
        b'{"model":"m","messages":[]}',
        b"{}",
        b"no JSON",
    ],
)
async def test_what_is_not_understood_is_the_remotes_to_judge(
    run_chain: RunChain, raw: bytes
) -> None:
    chain = await run_chain()
    answers: list[tuple[int, bytes]] = []
    for url in (chain.url, chain.remote_url):
        async with chain.http.post(f"{url}/v1/chat/completions", data=raw) as answer:
            answers.append((answer.status, await answer.read()))
    assert answers[0] == answers[1]


async def test_a_compressed_body_is_read(run_chain: RunChain) -> None:
    chain = await run_chain()
    messages: list[Json] = [CHAT.look("One", image(1, IMAGE_BYTES))]
    raw = gzip.compress(json.dumps(CHAT.body(messages)).encode())
    url = f"{chain.url}{CHAT.path}"
    async with chain.http.post(url, data=raw, headers={"Content-Encoding": "gzip"}) as answer:
        assert answer.status == 200
    assert chain.upstream.seen[-1].json == CHAT.body(messages)
    assert chain.meters.uploads == 1


async def test_many_conversations_at_once_upload_a_shared_image_once(run_chain: RunChain) -> None:
    chain = await run_chain()
    shared = image(9, 2 * IMAGE_BYTES)

    async def talk(number: int) -> None:
        messages: list[Json] = [CHAT.look(f"Talk {number}", shared)]
        for turn in range(3):
            status, _, _ = await send(chain, CHAT, messages)
            assert status == 200
            messages.append({"role": "user", "content": f"{number}.{turn}"})

    await asyncio.gather(*map(talk, range(12)))
    assert chain.meters.uploads == 1
    assert chain.link.up < 3 * IMAGE_BYTES
    wanted = sorted(json.dumps(seen.json) for seen in chain.upstream.seen)
    assert len(wanted) == len(set(wanted)) == 36


async def test_a_client_that_hangs_up_ends_the_turn_upstream(run_chain: RunChain) -> None:
    hanging = Hanging()
    chain = await run_chain(hanging)
    sending = asyncio.create_task(send(chain, CHAT, [HELLO]))
    await asyncio.wait_for(hanging.begun.wait(), 5)
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await asyncio.wait_for(hanging.ended.wait(), 5)


async def test_a_stream_that_breaks_off_ends_in_an_error(run_chain: RunChain) -> None:
    async def cut(request: aioweb.Request) -> aioweb.StreamResponse:
        response = aioweb.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        assert request.transport
        request.transport.abort()
        return response

    chain = await run_chain(cut)
    raw = json.dumps(CHAT.body([HELLO])).encode()
    with pytest.raises(aiohttp.ClientPayloadError):
        async with chain.http.post(chain.url + CHAT.path, data=raw) as answer:
            await answer.read()


async def test_files_and_other_paths_are_the_remotes(run_chain: RunChain) -> None:
    chain = await run_chain()
    data = image(3)
    form = aiohttp.FormData()
    form.add_field("purpose", "vision")
    form.add_field("file", data, filename="a.png", content_type="image/png")
    async with chain.http.post(f"{chain.url}/v1/files", data=form) as answer:
        file_id = (await answer.json())["id"]
    async with chain.http.get(f"{chain.url}/v1/files/{file_id}/content") as answer:
        assert await answer.read() == data
    part: JsonObject = {"type": "file", "file": {"file_id": file_id}}
    status, _, _ = await send(chain, CHAT, [{"role": "user", "content": [part]}])
    assert status == 200
    async with chain.http.get(f"{chain.url}/v1/audio/voices?x=1") as answer:
        assert answer.status == 200
    assert chain.upstream.seen[-1].path == "/v1/audio/voices?x=1"
    sent = decode_json(chain.upstream.seen[-2].body)
    assert "file_data" in json.dumps(sent)


async def test_responses_go_on_by_their_ids(run_chain: RunChain) -> None:
    asked = 0

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        nonlocal asked
        asked += 1
        part: JsonObject = {"type": "output_text", "text": f"Answer {asked}", "annotations": []}
        item: JsonObject = {"type": "message", "role": "assistant", "content": [part]}
        return aioweb.json_response(
            {"id": f"resp_{asked}", "object": "response", "status": "completed", "output": [item]}
        )

    chain = await run_chain(respond, history="coatcheck")
    spoken = SPOKEN[1]
    previous: str | None = None
    ups: list[int] = []
    for number in range(3):
        item = spoken.look(f"What is {number}?", image(number, 1000))
        body: JsonObject = {"model": "m", "input": [item], "tools": TOOLS}
        if previous is not None:
            body["previous_response_id"] = previous
        before = chain.link.up
        async with chain.http.post(f"{chain.url}/v1/responses", data=encode_json(body)) as answer:
            told = await answer.json()
        assert answer.status == 200, told
        previous = told["id"]
        ups.append(chain.link.up - before)
    sent = cast("JsonObject", chain.upstream.seen[-1].json)
    assert len(cast("list[Json]", sent["input"])) == 5
    assert sent["tools"] == TOOLS
    assert "previous_response_id" not in sent
    assert ups[0] > 10_000
    assert max(ups[1:]) < 4000, ups


async def test_edges_that_have_each_other_as_remotes_notice(run_chain: RunChain) -> None:
    chain = await run_chain()
    chain.link.target = ("127.0.0.1", int(chain.url.rpartition(":")[2]))  # itself, over the link
    for message in (HELLO, CHAT.look("One", image(1))):
        status, body, _ = await send(chain, CHAT, [message])
        assert (status, json.loads(body)["error"]["code"]) == (508, "loop_detected")
    async with chain.http.get(f"{chain.url}/v1/blobs") as answer:
        assert (answer.status, (await answer.json())["code"]) == (508, "loop_detected")


@pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/v1/models/echo"])
async def test_models_are_the_remotes(run_chain: RunChain, path: str) -> None:
    async def listing(request: aioweb.Request) -> aioweb.StreamResponse:
        if request.path.startswith("/v1beta"):
            return aioweb.json_response({"models": [{"name": "models/coat"}]})
        return aioweb.json_response({"object": "list", "data": [{"id": "coat"}]})

    chain = await run_chain(listing)
    lists: list[Any] = []
    for url in (chain.url, chain.remote_url):
        async with chain.http.get(url + path) as answer:
            lists.append((answer.status, await answer.json()))
    assert lists[0] == lists[1]
    assert lists[0][0] == 200
