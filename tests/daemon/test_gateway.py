"""A turn, end to end over loopback: what the upstream gets, and what the client is told."""

import asyncio
import base64
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web as aioweb
from tests.daemon.hanging import Hanging
from yarl import URL

from coatcheck.daemon import GatewayConfig, TurnLimits, UpstreamConfig
from coatcheck.protocol import Digest, Json, JsonObject, Pointer, encode_json, prompt_digests

Fixture = Callable[..., Any]
CHAT = "openai.chat"


def ask(*parts: Json, **fields: Json) -> JsonObject:
    return {"model": "m", "messages": [{"role": "user", "content": list(parts)}], **fields}


def image(url: str) -> JsonObject:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


async def test_refs_and_pointers_arrive_as_the_bytes(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red, jpeg = picture(), picture("blue", "JPEG")
    digest, other = daemon.blobs.add(red), daemon.blobs.add(jpeg)
    pointer = str(Pointer(other, len(jpeg))).encode()
    status, _, _ = await daemon.chat(
        ask(
            {"type": "text", "text": "é?"},
            image(f"blob:{digest}"),
            image(f"blob:{digest}?type=image/x-special"),
            image(data_url(pointer, "image/jpeg")),
            image(f"{daemon.url}/v1/blobs/{other}"),
            {"type": "input_audio", "input_audio": {"data": f"blob:{other}", "format": "wav"}},
            temperature=0.30000000000000004,
            seed=12345678901234567890,
        )
    )
    assert status == 200
    (seen,) = upstream.seen
    assert seen.path == "/v1/chat/completions"
    assert int(seen.headers["Content-Length"]) == len(seen.body)
    assert seen.json == ask(
        {"type": "text", "text": "é?"},
        image(data_url(red)),
        image(data_url(red, "image/x-special")),
        image(data_url(jpeg, "image/jpeg")),
        image(data_url(jpeg, "image/jpeg")),
        {
            "type": "input_audio",
            "input_audio": {"data": base64.b64encode(jpeg).decode(), "format": "wav"},
        },
        temperature=0.30000000000000004,
        seed=12345678901234567890,
    )
    assert all(reader.closed for reader in daemon.blobs.readers)


async def test_a_body_in_which_nothing_is_replaced_goes_out_as_it_came(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    raw = b'{ "messages": [{"role":"user",  "content":"\\u0041"}],\n "model":"m", "x":1.0}'
    assert (await daemon.chat(raw, {"Content-Type": "application/json"}))[0] == 200
    assert upstream.seen[0].body == raw


async def test_query_and_headers_pass(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream(api_key="secret")
    daemon = await run_daemon(upstream.config)
    async with daemon.http.post(
        URL(f"{daemon.url}/v1/chat/completions?api-version=1&x=%2F", encoded=True),
        data=encode_json(ask("hi")),
        headers={"Authorization": "Bearer theirs", "X-Own": "1", "Coatcheck-Prompt": "keep"},
    ) as response:
        assert response.status == 200
    (seen,) = upstream.seen
    assert seen.path == "/v1/chat/completions?api-version=1&x=%2F"
    assert seen.headers["Authorization"] == "Bearer secret"
    assert seen.headers["X-Own"] == "1"
    assert not any(name.lower().startswith("coatcheck") for name in seen.headers)


async def test_an_upstreams_headers_go_with_turns_and_with_what_passes(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream(headers=(("X-Org", "o"), ("api-key", "k")))
    daemon = await run_daemon(upstream.config)
    theirs = {"x-org": "theirs", "Authorization": "Bearer theirs"}
    assert (await daemon.chat(ask("hi"), theirs))[0] == 200
    async with daemon.http.get(f"{daemon.url}/v1/batches?x=1", headers=theirs) as got:
        assert got.status == 200
    for seen in upstream.seen:
        assert (seen.headers["X-Org"], seen.headers["api-key"]) == ("o", "k")
        assert not {"x-org", "Authorization"} & set(seen.headers)
    assert upstream.seen[1].path == "/v1/batches?x=1"


async def test_missing_blobs_are_all_named_before_anything_is_sent(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    held = daemon.blobs.add(picture())
    gone = [Digest.of(b"1"), Digest.of(b"2")]
    file_id = "file-cc" + "a" * 24
    wrong_size = base64.b64encode(str(Pointer(held, 7)).encode()).decode()
    status, body, response = await daemon.chat(
        ask(
            image(f"blob:{held}"),
            image(f"blob:{gone[0]}"),
            image(f"blob:{gone[1]}"),
            {"type": "file", "file": {"file_id": file_id}},
            image(f"data:image/png;base64,{wrong_size}"),
        )
    )
    assert status == 404
    assert response.headers["x-should-retry"] == "false"
    error = body["error"]
    assert (error["code"], error["type"]) == ("blob_not_found", "invalid_request_error")
    assert error["missing"] == [
        {"digest": gone[0], "path": "messages.0.content.1.image_url"},
        {"digest": gone[1], "path": "messages.0.content.2.image_url"},
        {"file_id": file_id, "path": "messages.0.content.3.file"},
        {"digest": held, "path": "messages.0.content.4.image_url"},
    ]
    assert not upstream.seen


async def test_a_conversation_by_envelope(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red = picture()
    ref = f"blob:{daemon.blobs.add(red)}"
    first: list[Json] = [{"role": "user", "content": [{"type": "text", "text": "?"}, image(ref)]}]
    more: list[Json] = [{"role": "assistant", "content": "red"}, {"role": "user", "content": "é"}]
    digests = prompt_digests(CHAT, [*first, *more])

    status, _, response = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": None, "append": first}, "stream": False}
    )
    assert (status, response.headers["Coatcheck-Prompt"]) == (200, digests[0])
    _, _, response = await daemon.chat(
        {"stream": False, "coatcheck": {"parent": digests[0], "append": more}, "model": "m"}
    )
    assert response.headers["Coatcheck-Prompt"] == digests[2]
    _, _, again = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": digests[2], "append": []}}
    )
    assert again.headers["Coatcheck-Prompt"] == digests[2]

    inline = [{"role": "user", "content": [{"type": "text", "text": "?"}, image(data_url(red))]}]
    assert upstream.seen[0].json == {"model": "m", "messages": inline, "stream": False}
    assert list(upstream.seen[0].json) == ["model", "messages", "stream"]
    assert upstream.seen[1].json == {"stream": False, "messages": inline + more, "model": "m"}
    assert list(upstream.seen[1].json) == ["stream", "messages", "model"]
    assert upstream.seen[2].json["messages"] == inline + more
    before = encode_json(upstream.seen[0].json["messages"])[:-1]
    assert before in upstream.seen[1].body  # the provider's prompt cache sees the same prefix


async def test_keep_names_a_whole_list_and_absorbs_its_images(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red = picture()
    body = ask(image(data_url(red)))
    raw = encode_json(body)
    _, _, response = await daemon.chat(raw, {"Coatcheck-Prompt": "keep"})
    in_ref_form = ask(image(f"blob:{Digest.of(red)}"))["messages"]
    assert isinstance(in_ref_form, list)
    (digest,) = prompt_digests(CHAT, in_ref_form)
    assert response.headers["Coatcheck-Prompt"] == digest
    assert upstream.seen[0].body == raw
    assert daemon.blobs.blobs[Digest.of(red)] == red
    status, _, _ = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": digest, "append": [{"role": "user", "content": ""}]}}
    )
    assert status == 200
    assert upstream.seen[1].json["messages"][0] == body["messages"][0]  # type: ignore[index]


async def test_inline_images_are_absorbed_beside_the_turn(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    _, _, response = await daemon.chat(ask(image(data_url(picture("green")))))
    assert "Coatcheck-Prompt" not in response.headers
    await asyncio.wait_for(daemon.blobs.absorbed.wait(), 5)


async def test_a_full_store_does_not_fail_the_turn(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    daemon.blobs.is_full = True
    status, _, response = await daemon.chat(
        ask(image(data_url(picture()))), {"Coatcheck-Prompt": "keep"}
    )
    assert status == 200
    assert "Coatcheck-Prompt" not in response.headers


async def test_a_list_without_a_canonical_form_is_forwarded_without_a_digest(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    message: JsonObject = {"role": "user", "content": "x", "n": 2**60}
    status, _, response = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": None, "append": [message]}}
    )
    assert status == 200
    assert "Coatcheck-Prompt" not in response.headers
    assert upstream.seen[0].json["messages"] == [message]


@pytest.mark.parametrize(
    ("body", "status", "code", "param"),
    [
        (b"nonsense", 400, "json_invalid", None),
        (b"[1]", 400, "request_malformed", None),
        (b"\xff", 400, "json_invalid", None),
        (b'{"model":"m","messages":[],"model":"n"}', 400, "json_invalid", None),
        (b'{"messages":[]}', 400, "request_malformed", "model"),
        (b'{"model":7,"messages":[]}', 400, "request_malformed", "model"),
        (b'{"model":"m"}', 400, "message_malformed", "messages"),
        (b'{"model":"m","messages":{}}', 400, "message_malformed", "messages"),
        (b'{"model":"m","messages":[1]}', 400, "message_malformed", "messages.0"),
        (
            b'{"model":"m","messages":[{"content":[{"image_url":{"url":[]}}]}]}',
            400,
            "message_malformed",
            "messages.0.content.0.image_url.url",
        ),
        (
            b'{"model":"m","messages":[{"content":[{"image_url":{"url":"blob:sha256:x"}}]}]}',
            400,
            "ref_invalid",
            "messages.0.content.0.image_url",
        ),
        (
            b'{"model":"m","messages":[{}],"coatcheck":{"parent":null,"append":[{}]}}',
            400,
            "envelope_invalid",
            "messages",
        ),
        (
            b'{"model":"m","coatcheck":{"parent":null,"append":[]}}',
            400,
            "envelope_invalid",
            "coatcheck.append",
        ),
        (
            b'{"model":"m","coatcheck":{"parent":"sha256:' + b"0" * 64 + b'","append":[]}}',
            404,
            "prompt_not_found",
            "coatcheck.parent",
        ),
        (
            b'{"model":"m","coatcheck":{"parent":null,"append":[{}],"fields":{"tools":"sha256:'
            + b"0" * 64
            + b'"}}}',
            404,
            "field_not_found",
            None,
        ),
        (b'{"model":"unheard-of","messages":[]}', 404, "model_not_found", None),
    ],
)
async def test_bad_requests_are_refused_and_nothing_goes_upstream(
    run_daemon: Fixture,
    run_upstream: Fixture,
    body: bytes,
    status: int,
    code: str,
    param: str | None,
) -> None:
    upstream = await run_upstream(models=("m",))
    daemon = await run_daemon(upstream.config)
    answered, answer, response = await daemon.chat(body)
    error = answer["error"]
    assert (answered, error["code"], error["param"]) == (status, code, param)
    assert response.headers["x-should-retry"] == "false"
    assert not upstream.seen


async def test_another_dialects_parent_is_not_found(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    (digest,) = prompt_digests("anthropic.messages", [{"role": "user", "content": "x"}])
    status, answer, _ = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": digest, "append": []}}
    )
    assert (status, answer["error"]["code"]) == (404, "prompt_not_found")


async def test_a_body_over_the_limit_is_refused(run_daemon: Fixture) -> None:
    daemon = await run_daemon(gateway=GatewayConfig(max_request_bytes=1000))
    status, answer, _ = await daemon.chat(ask("x" * 1000))
    assert (status, answer["error"]["code"]) == (413, "body_too_large")


async def test_the_servers_own_refusals_have_the_dialects_shape(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    url = f"{daemon.url}/v1/chat/completions"
    async with daemon.http.get(url) as response:
        assert response.status == 404
        assert (await response.json())["error"]["code"] == "upstream_not_found"
    async with daemon.http.post(url, headers={"Origin": "https://foreign.example"}) as response:
        assert response.status == 403
        assert response.headers["x-should-retry"] == "false"
        assert (await response.json())["error"]["code"] == "origin_foreign"


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": zlib.compress}


@pytest.mark.parametrize("coding", PACKERS)
async def test_a_compressed_turn_in_which_nothing_is_replaced_goes_on_as_it_came(
    run_daemon: Fixture, run_upstream: Fixture, coding: str
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    packed = PACKERS[coding](encode_json(ask("hi")))
    assert (await daemon.chat(packed, {"Content-Encoding": coding}))[0] == 200
    assert upstream.seen[0].body == packed
    assert upstream.seen[0].headers["Content-Encoding"] == coding


async def test_a_compressed_turn_with_a_ref_goes_on_as_plain_json(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    digest = daemon.blobs.add(picture())
    packed = gzip.compress(encode_json(ask(image(f"blob:{digest}"))))
    assert (await daemon.chat(packed, {"Content-Encoding": "gzip"}))[0] == 200
    assert upstream.seen[0].json == ask(image(data_url(picture())))
    assert "Content-Encoding" not in upstream.seen[0].headers


async def test_echo_reads_a_compressed_turn(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    packed = gzip.compress(encode_json(ask({"type": "text", "text": "hi"})))
    status, _, _ = await daemon.chat(packed, {"Content-Encoding": "x-gzip, identity"})
    assert status == 200


@pytest.mark.parametrize(
    ("body", "coding", "status", "code"),
    [
        (b"x", "compress", 415, "content_encoding_unsupported"),
        (b"x", "gzip", 400, "encoding_malformed"),
        (gzip.compress(b"{}", mtime=0)[:-1], "gzip", 400, "encoding_malformed"),
        (gzip.compress(bytes(5000), mtime=0), "gzip", 413, "body_too_large"),
    ],
)
async def test_a_compressed_turn_that_cannot_be_read_is_refused(
    run_daemon: Fixture, body: bytes, coding: str, status: int, code: str
) -> None:
    daemon = await run_daemon(gateway=GatewayConfig(max_request_bytes=1000))
    answered, answer, _ = await daemon.chat(body, {"Content-Encoding": coding})
    assert (answered, answer["error"]["code"]) == (status, code)


async def test_a_blob_that_turns_out_bad_is_reported_as_missing(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    digest, sound = daemon.blobs.add(picture()), daemon.blobs.add(picture("blue"))
    daemon.blobs.rotten.add(digest)
    parts = [image(f"blob:{name}") for name in (sound, digest, digest)]
    status, answer, _ = await daemon.chat(ask(*parts))
    assert (status, answer["error"]["code"]) == (404, "blob_not_found")
    assert answer["error"]["missing"] == [
        {"digest": digest, "path": "messages.0.content.1.image_url"},
        {"digest": digest, "path": "messages.0.content.2.image_url"},
    ]


async def test_pass_mode_forwards_and_nothing_else(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream(mode="pass")
    daemon = await run_daemon(upstream.config)
    raw = encode_json(ask(image(f"blob:{Digest.of(b'unknown')}")))
    assert (await daemon.chat(raw))[0] == 200
    assert upstream.seen[0].body == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":1,"model":"m"}',
        b'{"model":"m","coatcheck":{"parent":7,"fields":{}}}',
        b'{"model":"m","n":NaN}',
        b"nonsense",
    ],
)
async def test_pass_mode_has_no_rules_of_its_own(
    run_daemon: Fixture, run_upstream: Fixture, raw: bytes
) -> None:
    upstream = await run_upstream(mode="pass")
    daemon = await run_daemon(upstream.config)
    assert (await daemon.chat(raw))[0] == 200
    assert upstream.seen[0].body == raw


async def test_another_upstreams_rules_hold_beside_one_that_passes(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    passing, strict = await run_upstream(mode="pass", models=("p",)), await run_upstream()
    daemon = await run_daemon(passing.config, strict.config)
    status, answer, _ = await daemon.chat(b'{"model":"m","messages":1}')
    assert (status, answer["error"]["code"]) == (400, "message_malformed")
    status, answer, _ = await daemon.chat(b'{"model":"m","messages":[],"model":"m"}')
    assert (status, answer["error"]["code"]) == (400, "json_invalid")


async def test_our_key_stays_here(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    await daemon.chat(ask("hi"), {"Authorization": "Bearer cck_secret", "x-api-key": "cck_other"})
    assert not any("cck_" in value for value in upstream.seen[0].headers.values())


@pytest.mark.parametrize("filler", ["base64", "text"])
@pytest.mark.parametrize("has_ref", [False, True])
async def test_a_body_of_many_megabytes_arrives_too(
    run_daemon: Fixture,
    run_upstream: Fixture,
    picture: Fixture,
    data_url: Fixture,
    filler: str,
    has_ref: bool,
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red = picture()
    ref = image(f"blob:{daemon.blobs.add(red)}" if has_ref else "https://elsewhere/1.png")
    large: JsonObject = (
        image(data_url(bytes(range(256)) * 40_000))
        if filler == "base64"
        else {"type": "text", "text": 'a "word", ' * 900_000}
    )
    body = ask(large, ref)
    assert (await daemon.chat(body))[0] == 200
    (seen,) = upstream.seen
    assert seen.json == ask(large, image(data_url(red)) if has_ref else ref)
    if not has_ref:
        assert seen.body == encode_json(body)


async def test_a_client_that_leaves_while_images_are_sent_closes_the_blob(
    run_daemon: Fixture, run_raw: Fixture
) -> None:
    begun = asyncio.Event()

    async def never_reads(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.set()
        await asyncio.wait_for(writer.wait_closed(), 5)

    daemon = await run_daemon(UpstreamConfig(name="slow", base_url=await run_raw(never_reads)))
    digest = daemon.blobs.add(bytes(50_000_000))
    turn = asyncio.create_task(daemon.chat(ask(image(f"blob:{digest}"))))
    await begun.wait()
    turn.cancel()
    await asyncio.gather(turn, return_exceptions=True)
    (reader,) = daemon.blobs.readers
    await asyncio.wait_for(reader.when_closed.wait(), 5)


async def test_a_stream_comes_back_byte_for_byte(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    stream = (
        b': hi\n\ndata: {"a":1}\n\ndata:\xc3\xa9\r\n\r\nevent: x\ndata: 1\n\ndata: [DONE]\n\nrest'
    )

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        response = aioweb.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Up": "1"})
        response.set_cookie("a", "b")
        await response.prepare(request)
        for at in range(0, len(stream), 5):
            await response.write(stream[at : at + 5])
        return response

    upstream = await run_upstream(respond)
    daemon = await run_daemon(upstream.config)
    async with daemon.http.post(
        f"{daemon.url}/v1/chat/completions", json=ask("hi", stream=True)
    ) as response:
        assert await response.read() == stream
        assert response.headers["X-Up"] == "1"
        assert "Set-Cookie" not in response.headers


async def test_upstream_errors_pass_with_the_prompts_name(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response(
            {"error": {"message": "slow down"}}, status=429, headers={"Retry-After": "7"}
        )

    upstream = await run_upstream(respond)
    daemon = await run_daemon(upstream.config)
    status, body, response = await daemon.chat(
        {"model": "m", "coatcheck": {"parent": None, "append": [{"role": "user", "content": "x"}]}}
    )
    assert (status, body) == (429, {"error": {"message": "slow down"}})
    assert response.headers["Retry-After"] == "7"
    assert response.headers["Coatcheck-Prompt"].startswith("sha256:")


async def test_the_first_upstream_that_matches_wins_and_echo_has_its_name(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    one, two = await run_upstream(models=("gpt-*",)), await run_upstream()
    daemon = await run_daemon(one.config, two.config)
    for model in ("gpt-4o", "llava", "echo"):
        await daemon.chat({"model": model, "messages": [{"role": "user", "content": "x"}]})
    assert (len(one.seen), len(two.seen)) == (1, 1)


async def test_a_client_that_leaves_cancels_the_upstreams_request(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    hanging = Hanging()
    upstream = await run_upstream(hanging)
    daemon = await run_daemon(upstream.config)
    response = await daemon.http.post(
        f"{daemon.url}/v1/chat/completions", json=ask("hi", stream=True)
    )
    assert await response.content.readany() == b"data: 1\n\n"
    await hanging.begun.wait()
    response.close()
    await asyncio.wait_for(hanging.ended.wait(), 5)


async def test_cache_inspection_shows_and_evicts(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red = picture()
    digest = daemon.blobs.add(red)
    for _ in range(2):
        await daemon.chat(ask(image(f"blob:{digest}")))
    api = f"{daemon.url}/admin/api/cache"

    async def listing() -> Any:
        async with daemon.http.get(api) as response:
            return await response.json()

    shown = await listing()
    assert shown == {
        "entries": [
            {
                "digest": digest,
                "size": len(red),
                "media_type": "image/png",
                "source": "store",
                "hits": 1,
                "last_used_at": 1000.0,
                "verified": True,
                "verified_at": 1000.0,
            }
        ],
        "totals": {
            "entries": 1,
            "bytes": len(red),
            "hits": 1,
            "misses": 1,
            "hit_ratio": 0.5,
            "healed": 0,
        },
        "heals": [],
    }
    async with daemon.http.get(f"{daemon.url}/admin") as response:
        page = await response.text()
        assert digest in page
        assert f'src="/admin/blobs/{digest}/picture"' in page
    async with daemon.http.delete(f"{api}/{digest}") as response:
        assert await response.json() == {"evicted": 1}
    async with daemon.http.delete(f"{api}/{digest}") as response:
        assert response.status == 404
    async with daemon.http.delete(f"{api}/sha256:x") as response:
        assert response.status == 400
    async with daemon.http.get(api, params={"limit": "0"}) as response:
        assert response.status == 400
    await daemon.chat(ask(image(f"blob:{digest}")))
    async with daemon.http.post(
        f"{daemon.url}/admin/cache/evict", data={"digest": digest}, allow_redirects=False
    ) as response:
        assert response.status == 303
    assert (await listing())["entries"] == []
    await daemon.chat(ask(image(f"blob:{digest}")))
    async with daemon.http.delete(api) as response:
        assert await response.json() == {"evicted": 1}


async def test_closing_ends_what_goes_on_in_the_background(
    run_daemon: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    daemon = await run_daemon()
    await daemon.chat(ask(image(data_url(picture()))))
    # The fixtures close the daemon; pytest's unraisable hook turns a task left behind into an error.


async def test_refs_that_would_fill_too_large_a_body_are_refused_before_it(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(max_upstream_bytes=50_000))
    digest = daemon.blobs.add(b"x" * 30_000)
    assert (await daemon.chat(ask(image(f"blob:{digest}"))))[0] == 200
    status, answer, response = await daemon.chat(ask(*[image(f"blob:{digest}")] * 2))
    assert (status, answer["error"]["code"]) == (413, "upstream_body_too_large")
    assert answer["error"]["max_bytes"] == 50_000
    assert response.headers["x-should-retry"] == "false"
    assert len(upstream.seen) == 1
    assert len(daemon.blobs.readers) == 1


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (TurnLimits(max_values=25), "too_many_values"),
        (TurnLimits(max_attachments=3), "too_many_attachments"),
    ],
)
async def test_what_was_kept_counts_towards_the_limits_of_a_turn(
    run_daemon: Fixture, run_upstream: Fixture, limits: TurnLimits, code: str
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config, gateway=GatewayConfig(turn=limits))
    digest = daemon.blobs.add(b"bytes")
    messages: list[Json] = [{"role": "user", "content": [image(f"blob:{digest}")] * 2}]

    async def send(parent: Json) -> Any:
        envelope: JsonObject = {"parent": parent, "append": messages}
        return await daemon.chat({"model": "m", "coatcheck": envelope})

    status, _, response = await send(None)
    assert status == 200
    status, answer, _ = await send(response.headers["Coatcheck-Prompt"])
    assert (status, answer["error"]["code"]) == (413, code)
    assert len(upstream.seen) == 1


async def test_a_file_id_arrives_as_the_bytes(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    red = picture()
    ours, theirs = "file-cc" + "a" * 24, "file-abc123"
    daemon.blobs.files[ours] = daemon.blobs.add(red)
    status, _, _ = await daemon.chat(
        ask(
            {"type": "file", "file": {"file_id": ours, "x": 1}},
            {"type": "file", "file": {"file_id": theirs, "x": 1}},
        )
    )
    assert status == 200
    assert upstream.seen[0].json == ask(
        {"type": "file", "file": {"file_data": data_url(red), "x": 1}},
        {"type": "file", "file": {"file_id": theirs, "x": 1}},
    )


KEEP = {"Coatcheck-Prompt": "keep"}


@pytest.mark.parametrize(
    ("headers", "fields", "expected"),
    [
        ({"Coatcheck-User": "ann"}, {"user": "bob"}, "ann"),
        ({}, {"user": "bob"}, "bob"),
        ({}, {"user": "bob", "safety_identifier": "hash"}, "hash"),
        ({}, {"user": "bob", "safety_identifier": 7}, "bob"),
        ({}, {"user": "x" * 257}, None),
        ({}, {"user": ["bob"]}, None),
        ({}, {}, None),
    ],
)
async def test_what_is_kept_is_for_whom_the_turn_names(
    run_daemon: Fixture,
    run_upstream: Fixture,
    picture: Fixture,
    data_url: Fixture,
    headers: dict[str, str],
    fields: dict[str, Json],
    expected: str | None,
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    body = ask(image(data_url(picture())), **fields)
    status, _, response = await daemon.chat(body, {**KEEP, **headers})
    assert status == 200
    digest = Digest(response.headers["Coatcheck-Prompt"])
    assert daemon.prompts.end_users[digest] == expected
    assert daemon.blobs.claims == ({(Digest.of(picture()), expected)} if expected else set())
    (seen,) = upstream.seen
    assert seen.json == body  # the provider is told what the client told it
    assert not any(name.lower().startswith("coatcheck") for name in seen.headers)


async def test_an_image_that_is_held_already_is_for_the_next_end_user_too(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    digest = daemon.blobs.add(picture())
    for user in ("ann", "bob"):
        assert (await daemon.chat(ask(image(data_url(picture())), user=user), KEEP))[0] == 200
    assert daemon.blobs.claims == {(digest, "ann"), (digest, "bob")}
    assert not daemon.blobs.absorbed.is_set()


async def test_a_turn_without_a_kept_prompt_is_for_somebody_too(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture, data_url: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    assert (await daemon.chat(ask(image(data_url(picture())), user="ann")))[0] == 200
    await daemon.blobs.absorbed.wait()
    assert daemon.blobs.claims == {(Digest.of(picture()), "ann")}


async def test_a_malformed_end_user_is_refused_in_the_providers_shape(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    status, body, _ = await daemon.chat(ask("hi"), {"Coatcheck-User": "x" * 257})
    assert (status, body["error"]["code"]) == (400, "end_user_invalid")
    assert upstream.seen == []
