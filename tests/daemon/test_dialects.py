"""What holds of a turn in every dialect, from the client's bytes to the upstream's and back."""

import asyncio
import base64
import gzip
import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from aiohttp import web as aioweb
from yarl import URL

from coatcheck.daemon import GatewayConfig, UpstreamConfig
from coatcheck.daemon.body import RawBody
from coatcheck.daemon.echo import EchoUpstream
from coatcheck.daemon.echo_voices import VOICES
from coatcheck.daemon.observed_turn import ReadLimits, read_turn
from coatcheck.daemon.upstream import Outgoing
from coatcheck.protocol import (
    DIALECTS,
    Digest,
    Json,
    JsonObject,
    encode_json,
    prompt_digests,
    ref_form,
    write_event,
)
from coatcheck.store import ImageWorkers

from .dialect_samples import SAMPLES, Sample, data_url, read_answer, stream_events

Fixture = Callable[..., Any]
FILE_ID = "file-cc" + "a" * 24


async def post(
    daemon: Any, path: str, body: JsonObject | bytes, headers: dict[str, str] | None = None
) -> tuple[int, Any, Any]:
    """Post a body; return status, answer and headers."""
    raw = body if isinstance(body, bytes) else encode_json(body)
    fields = {"Content-Type": "application/json", **(headers or {})}
    async with daemon.http.post(daemon.url + path, data=raw, headers=fields) as response:
        return response.status, read_answer(await response.read()), response.headers


def test_every_dialect_has_a_sample() -> None:
    assert [sample.name for sample in SAMPLES] == list(DIALECTS)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
class TestDialect:
    """The contract; each dialect brings a sample."""

    async def test_echo_is_given_the_bytes_streamed_and_not(
        self, sample: Sample, run_daemon: Fixture, picture: Fixture
    ) -> None:
        daemon = await run_daemon()
        red, blue = picture("red", "PNG", (30, 20)), picture("blue", "PNG", (9, 9))
        daemon.blobs.add(red)
        parts = sample.ref(red), sample.inline(blue), sample.pointer(red)
        status, answer, _ = await post(daemon, sample.path, sample.ask(*parts))
        assert status == 200, answer
        said = sample.said(answer)
        assert said.startswith("I was given 1 message; the last says: 'Look'. Attachments: 3.\n")
        assert f"1. PNG 30x20, mean colour #ff0000, {Digest.of(red)}, {len(red)} bytes" in said
        assert f"2. PNG 9x9, mean colour #0000ff, {Digest.of(blue)}" in said
        assert f"3. PNG 30x20, mean colour #ff0000, {Digest.of(red)}" in said
        asked = encode_json(sample.ask(*parts, **sample.streaming))
        async with daemon.http.post(daemon.url + sample.stream_path, data=asked) as response:
            assert response.headers["Content-Type"].startswith("text/event-stream")
            events = stream_events(await response.read())
        assert "".join(map(sample.delta, events)) == said
        assert len(events) > 10

    async def test_the_upstream_is_sent_what_the_client_would_have_inlined(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.add(picture())
        for part in (sample.ref(picture()), sample.pointer(picture())):
            status, _, _ = await post(daemon, sample.path, sample.ask(part, extra={"a": [1.0]}))
            assert status == 200
        wanted = sample.ask(sample.inline(picture()), extra={"a": [1.0]})
        assert [seen.json for seen in upstream.seen] == [wanted, wanted]
        assert int(upstream.seen[0].headers["Content-Length"]) == len(upstream.seen[0].body)

    async def test_a_body_in_which_nothing_is_replaced_goes_as_it_came(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        body = json.dumps(sample.ask(sample.inline(picture()), n=1.50), indent=3).encode()
        assert (await post(daemon, sample.path, body))[0] == 200
        assert upstream.seen[0].body == body

    async def test_all_that_is_missing_is_named_at_once(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        body = sample.ask(sample.ref(b"one"), sample.file(FILE_ID), sample.pointer(b"two"))
        status, answer, headers = await post(daemon, sample.path, body)
        assert (status, sample.code(answer)) == (sample.refused(404), "blob_not_found")
        pointer_key = sample.key("data:;base64,A")
        assert sample.extension(answer)["missing"] == [
            {"digest": Digest.of(b"one"), "path": sample.place(0, 0, sample.key("blob:"))},
            {"file_id": FILE_ID, "path": sample.place(0, 1, sample.file_key)},
            {"digest": Digest.of(b"two"), "path": sample.place(0, 2, pointer_key)},
        ]
        assert headers["x-should-retry"] == "false"
        assert not upstream.seen

    async def test_other_ids_and_urls_pass(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        theirs = sample.part("image/png", "https://pictures.example/a.png")
        body = encode_json(sample.ask(sample.file("file-theirs"), theirs))
        assert (await post(daemon, sample.path, body))[0] == 200
        assert upstream.seen[0].body == body

    async def test_a_file_id_of_ours_goes_on_as_its_ref_would(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        digest = daemon.blobs.add(picture())
        daemon.blobs.files[FILE_ID] = digest
        theirs = sample.file("file-theirs")
        for path in sample.paths:
            for part in (sample.file(FILE_ID), sample.file_ref(f"blob:{digest}")):
                body = encode_json(sample.ask(theirs, part, extra=1.0))
                async with daemon.http.post(daemon.url + path, data=body) as response:
                    assert response.status == 200
            by_id, by_ref = upstream.seen[-2:]
            assert by_id.body == by_ref.body
            assert base64.b64encode(picture()) in by_id.body
            assert FILE_ID.encode() not in by_id.body
            assert b"file-theirs" in by_id.body

    async def test_a_half_migrated_request_has_ids_of_both(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.files[FILE_ID] = daemon.blobs.add(picture())
        old = [
            *("file-BK7bzQj3FfZFXr7DbL6xJwfo", "file_011CNha8iCJcU1wXNR6q4V8w", "abc-123"),
            *(FILE_ID.upper(), FILE_ID[:-1], f"{FILE_ID}a", FILE_ID.replace("-", "_")),
        ]

        def asked(image: Json) -> JsonObject:
            history = [sample.message([sample.file(name), image]) for name in old]
            return sample.body([*history, sample.message([image, sample.file(old[0])])])

        named, inlined = sample.file(FILE_ID), sample.file_ref(f"blob:{Digest.of(picture())}")
        for path in sample.paths:
            for image in (named, inlined):
                assert (await post(daemon, path, asked(image)))[0] == 200
            by_id, by_ref = (json.loads(seen.body) for seen in upstream.seen[-2:])
            assert by_id == by_ref
            kept = sample.messages(by_id)
            texts = [encode_json(message).decode() for message in kept]
            assert FILE_ID not in "".join(texts).replace(f"{FILE_ID}a", "")
            for name, text in zip([*old, old[0]], texts, strict=True):
                assert encode_json(sample.file(name)).decode() in text
                assert base64.b64encode(picture()).decode() in text

    async def test_echo_is_given_the_bytes_of_a_file(
        self, sample: Sample, run_daemon: Fixture, picture: Fixture
    ) -> None:
        daemon = await run_daemon()
        daemon.blobs.files[FILE_ID] = digest = daemon.blobs.add(picture())
        status, answer, _ = await post(daemon, sample.path, sample.ask(sample.file(FILE_ID)))
        assert status == 200, answer
        assert f"{digest}, {len(picture())} bytes" in sample.said(answer)

    async def test_echo_says_that_it_cannot_decode_now_as_its_provider_would(
        self, sample: Sample, picture: Fixture
    ) -> None:
        workers = ImageWorkers()
        voice = next(voice for voice in VOICES if voice.dialect == sample.name)
        echo = EchoUpstream(lambda: 0.0, workers, voice)
        body = encode_json(sample.ask(sample.inline(picture())))
        outgoing = Outgoing("POST", sample.path, (), RawBody(body))
        async with echo.send(outgoing) as answer:
            assert answer.status == 200
        assert workers.pids
        await echo.close()
        assert workers.pids  # they are the daemon's, which closes them
        await workers.close()
        async with echo.send(outgoing) as answer:
            text = b"".join([piece async for piece in answer.chunks()])
        assert answer.status == 503
        assert sample.code(read_answer(text)) == "decoder_unavailable"

    async def test_a_file_id_of_ours_that_names_nothing_here_is_never_forwarded(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        gone, known = "file-cc" + "b" * 24, "file-cc" + "c" * 24
        daemon.blobs.files[gone] = Digest.of(b"gone")
        daemon.blobs.files[known] = daemon.blobs.add(picture())
        parts = [sample.file(each) for each in (known, FILE_ID, gone)]
        for path in sample.paths:
            status, answer, headers = await post(daemon, path, sample.ask(*parts))
            assert (status, sample.code(answer)) == (sample.refused(404), "blob_not_found")
            assert sample.extension(answer)["missing"] == [
                {"file_id": FILE_ID, "path": sample.place(0, 1, sample.file_key)},
                {"file_id": gone, "path": sample.place(0, 2, sample.file_key)},
            ]
            assert headers["x-should-retry"] == "false"
        assert not upstream.seen

    async def test_a_kept_file_id_is_resolved_in_every_later_turn(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.files[FILE_ID] = daemon.blobs.add(picture())
        message, more = sample.message([sample.file(FILE_ID)]), sample.message([])
        keep = {"Coatcheck-Prompt": "keep"}
        _, _, headers = await post(daemon, sample.path, sample.body([message]), keep)
        assert headers["Coatcheck-Prompt"] == prompt_digests(sample.name, [message])[0]
        turn: JsonObject = {"parent": headers["Coatcheck-Prompt"], "append": [more]}
        assert (await post(daemon, sample.path, sample.enveloped(turn)))[0] == 200
        first, second = (sample.messages(seen.json) for seen in upstream.seen)
        assert second == [*first, more]
        daemon.blobs.files.clear()
        status, answer, _ = await post(daemon, sample.path, sample.enveloped(turn))
        assert (status, sample.code(answer)) == (sample.refused(404), "blob_not_found")
        place = sample.place(0, 0, sample.file_key)
        assert sample.extension(answer)["missing"] == [{"file_id": FILE_ID, "path": place}]

    @pytest.mark.parametrize("header", ["Coatcheck-Prompt", "Coatcheck-Refs", None])
    async def test_a_turn_is_for_whom_its_body_names_or_its_header(
        self,
        sample: Sample,
        run_daemon: Fixture,
        run_upstream: Fixture,
        picture: Fixture,
        header: str | None,
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        wish = {"Coatcheck-Prompt": "keep", "Coatcheck-Refs": "1"}
        asked = {header: wish[header]} if header else {}
        body = sample.ask(sample.inline(picture()), **sample.for_ann)
        digest = Digest.of(picture())
        assert (await post(daemon, sample.path, body, asked))[0] == 200
        await daemon.blobs.absorbed.wait()
        claims = {(digest, "ann")} if sample.for_ann else set[tuple[Digest, str]]()
        assert daemon.blobs.claims == claims
        assert set(daemon.prompts.end_users.values()) <= {"ann" if sample.for_ann else None}
        daemon.blobs.blobs.clear()
        daemon.blobs.absorbed.clear()
        fields = {**asked, "Coatcheck-User": "cleo"}
        assert (await post(daemon, sample.path, body, fields))[0] == 200
        await daemon.blobs.absorbed.wait()
        assert daemon.blobs.claims == claims | {(digest, "cleo")}
        assert [seen.json for seen in upstream.seen] == [body, body]
        assert not any("coatcheck" in name.lower() for name in upstream.seen[1].headers)
        status, answer, _ = await post(daemon, sample.path, body, {"Coatcheck-User": "x" * 257})
        assert (status, sample.code(answer)) == (sample.refused(400), "end_user_invalid")

    async def test_tokens_are_counted_of_the_bytes(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        if not sample.count_path:
            assert [call.is_turn for call in DIALECTS[sample.name].calls] == [True]
            return
        upstream = await run_upstream(dialect=sample.name, models=("other",))
        daemon = await run_daemon()
        daemon.blobs.add(picture())
        body = sample.ask(sample.ref(picture()))
        status, answer, _ = await post(daemon, sample.count_path, body)
        assert status == 200
        assert sample.counted(answer) > 0
        behind = await run_daemon(UpstreamConfig("u", sample.name, upstream.config.base_url))
        behind.blobs.add(picture())
        assert (await post(behind, sample.count_path, body))[0] == 200
        assert upstream.seen[0].json == sample.ask(sample.inline(picture()))
        missing = await post(daemon, sample.count_path, sample.ask(sample.ref(b"one")))
        assert (missing[0], sample.code(missing[1])) == (sample.refused(404), "blob_not_found")

    async def test_an_envelope_goes_on_as_the_whole_list(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        first = sample.message([sample.inline(picture("red"))])
        second = sample.message([sample.inline(picture("blue"))])
        form = ref_form(DIALECTS[sample.name], [first, second]).messages
        digests = prompt_digests(sample.name, form)
        _, _, headers = await post(
            daemon, sample.path, sample.body([first]), {"Coatcheck-Prompt": "keep"}
        )
        assert headers["Coatcheck-Prompt"] == digests[0]
        envelope: JsonObject = {"parent": digests[0], "append": [second]}
        _, _, headers = await post(daemon, sample.path, sample.enveloped(envelope))
        assert headers["Coatcheck-Prompt"] == digests[1]
        assert upstream.seen[1].json == sample.body([first, second])

    async def test_each_turns_messages_begin_with_those_before(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        colours = [f"#{number:02x}8040" for number in range(12)]
        messages: list[Json] = []
        for number, colour in enumerate(colours):
            data = picture(colour)
            daemon.blobs.add(data)
            make = (sample.ref, sample.pointer, sample.inline)[number % 3]
            messages.append(sample.message([make(data)]))
            assert (await post(daemon, sample.path, sample.body(messages)))[0] == 200
        key = f'"{sample.messages_key}":'.encode()
        texts = [seen.body.partition(key)[2] for seen in upstream.seen]
        for before, after in pairwise(texts):
            assert after.startswith(before[: before.rindex(b"]")])

    async def test_a_client_that_asks_learns_what_its_attachments_are_called(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        red, blue = picture("red"), picture("blue")
        daemon.blobs.add(red)
        body = sample.body(
            [sample.message([sample.inline(blue)]), sample.message([sample.ref(red)])]
        )
        _, _, headers = await post(daemon, sample.path, body, {"Coatcheck-Refs": "1"})
        inline_key, ref_key = sample.key("data:;base64,A"), sample.key("blob:")
        assert headers["Coatcheck-Refs"] == (
            f"{sample.place(0, 0, inline_key)};{Digest.of(blue)}, "
            f"{sample.place(1, 0, ref_key)};{Digest.of(red)}"
        )
        assert "Coatcheck-Refs-More" not in headers
        assert Digest.of(blue) in daemon.blobs.blobs
        assert "Coatcheck-Refs" not in upstream.seen[0].headers
        _, _, headers = await post(daemon, sample.path, body)
        assert "Coatcheck-Refs" not in headers

    async def test_a_stream_that_breaks_ends_in_the_providers_error_event(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        async def break_off(request: aioweb.Request) -> aioweb.StreamResponse:
            response = aioweb.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(write_event('{"type":"x"}'))
            assert request.transport is not None
            request.transport.abort()
            return response

        upstream = await run_upstream(break_off, dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        got = bytearray()

        async def read() -> None:
            asked = encode_json(sample.ask(**sample.streaming))
            async with daemon.http.post(daemon.url + sample.stream_path, data=asked) as response:
                async for chunk in response.content.iter_any():
                    got.extend(chunk)

        with pytest.raises(ClientPayloadError):
            await read()
        _, error = stream_events(bytes(got))
        assert sample.code(error) == "upstream_cut"

    @pytest.mark.parametrize("is_counted", [False, True])
    @pytest.mark.parametrize(
        ("insert", "code"),
        [
            (b'"a":1,"a":2,', "json_invalid"),
            (b'"a":NaN,', "json_invalid"),
            (b'"a":1e999,', "json_invalid"),
            (b'"a":' + b"[" * 10_000 + b"]" * 10_000 + b",", "json_invalid"),
            (b'"a":"\xff",', "json_invalid"),
            (b'"a":' + b"9" * 5000 + b",", "json_invalid"),
            (b'"coatcheck":1,', "envelope_invalid"),
            (b'"coatcheck":{"parent":null,"append":[1]},', "envelope_invalid"),
        ],
    )
    async def test_bad_json_is_refused_in_the_providers_shape(
        self,
        sample: Sample,
        run_daemon: Fixture,
        run_upstream: Fixture,
        insert: bytes,
        code: str,
        is_counted: bool,
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        body = encode_json(sample.ask()).replace(b"{", b"{" + insert, 1)
        path = sample.count_path if is_counted and sample.count_path else sample.path
        status, answer, headers = await post(daemon, path, body)
        assert (status, sample.code(answer)) == (sample.refused(400), code)
        assert headers["x-should-retry"] == "false"
        assert not upstream.seen

    async def test_malformed_refs_and_pointers_are_refused_by_path(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        bad_pointer = sample.inline(b"version coatcheck-pointer/1\nx")
        cases = (
            (sample.part("image/png", "blob:sha256:xyz"), "ref_invalid", "blob:"),
            (sample.part("image/png", " BLOB:SHA256:xyz"), "ref_invalid", "blob:"),
            (bad_pointer, "pointer_invalid", "data:;base64,A"),
        )
        for part, code, url in cases:
            status, answer, _ = await post(daemon, sample.path, sample.ask(part))
            assert (status, sample.code(answer)) == (sample.refused(400), code)
            named = sample.extension(answer)
            place = sample.place(0, 0, sample.key(url))
            assert place in (named.get("path"), named.get("param"))
        assert not upstream.seen

    async def test_values_of_wrong_types_are_refused_in_every_place(
        self, sample: Sample, run_daemon: Fixture, picture: Fixture
    ) -> None:
        daemon = await run_daemon()
        whole = sample.ask(sample.inline(picture()))
        wrong: list[Json] = [1, True, [], {}, "text", [[]], [1], {"a": None}]
        bodies = [body for value in wrong for body in _with(whole, value)]
        assert len(bodies) > 8 * 8
        for body in bodies:
            status, answer, _ = await post(daemon, sample.path, body)
            assert status in (200, 400, 404), (body, answer)
            if status != 200 or sample.refused(400) == 200:
                assert isinstance(answer, list) or sample.code(answer), body

    @pytest.mark.parametrize("text", ["iVBORw0KGgo", "iVBORw0KGgp=", "@@@@", "QR==", "AAAA AAAA"])
    async def test_echo_refuses_bad_base64(
        self, sample: Sample, run_daemon: Fixture, text: str
    ) -> None:
        daemon = await run_daemon()
        part = sample.part("image/png", f"data:image/png;base64,{text}")
        status, answer, _ = await post(daemon, sample.path, sample.ask(part))
        assert (status, sample.code(answer)) == (sample.refused(400), "invalid_base64")

    async def test_echo_refuses_what_its_provider_does(
        self, sample: Sample, run_daemon: Fixture, picture: Fixture
    ) -> None:
        daemon = await run_daemon()
        cases = (
            (sample.inline(picture(), "image/jpeg"), (400,), "invalid_image_format"),
            (sample.inline(picture()[:40]), (400,), "invalid_image"),
            (sample.inline(b"GIF89a", "image/gif"), (400,), "invalid_image"),
            (sample.part("image/png", "https://a.example/x.png"), (400,), "invalid_image_url"),
            (sample.file("file-theirs"), (403, 404, 400), sample.foreign_file_code),
        )
        for part, status, code in cases:
            got, answer, _ = await post(daemon, sample.path, sample.ask(part))
            assert got in map(sample.refused, status)
            assert sample.code(answer) == code
            got, answer, _ = await post(
                daemon, sample.stream_path, sample.ask(part, **sample.streaming)
            )
            assert sample.code(answer) == code

    async def test_a_lone_surrogate_goes_on_and_is_not_kept(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.add(picture())
        body = sample.ask(sample.ref(picture()))
        raw = encode_json(body).replace(b'"Look"', b'"\\ud800"')
        status, _, headers = await post(daemon, sample.path, raw, {"Coatcheck-Prompt": "keep"})
        assert status == 200
        assert "Coatcheck-Prompt" not in headers
        assert b'"\\ud800"' in upstream.seen[0].body

    async def test_many_messages_are_taken(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.add(picture())
        messages = [sample.message([]) for _ in range(10_000)]
        messages[5000] = sample.message([sample.ref(picture())])
        assert (await post(daemon, sample.path, sample.body(messages)))[0] == 200
        messages[5000] = sample.message([sample.inline(picture())])
        assert await asyncio.to_thread(lambda: upstream.seen[0].json) == sample.body(messages)

    async def test_a_body_over_the_limit_is_refused_before_it_is_there(
        self, sample: Sample, run_daemon: Fixture
    ) -> None:
        daemon = await run_daemon(gateway=GatewayConfig(max_request_bytes=1000))
        path = sample.path
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200000000\r\n\r\n"
        reader, writer = await asyncio.open_connection(
            *daemon.url.removeprefix("http://").split(":")
        )
        writer.write(head.encode() + b'{"a":"')
        answer = await reader.readuntil(b"\r\n\r\n")
        said = re.search(rb"content-length: (\d+)", answer, re.IGNORECASE)
        assert said is not None
        problem = await reader.readexactly(int(said[1]))  # it closes 10 s later
        writer.close()
        await writer.wait_closed()
        assert answer.startswith(b"HTTP/1.1 %d " % sample.refused(413))
        assert sample.code(read_answer(problem)) == "body_too_large"

    async def test_compressed_turns_are_read(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        daemon.blobs.add(picture())
        packed = gzip.compress(encode_json(sample.ask(sample.ref(picture()))))
        status, _, _ = await post(daemon, sample.path, packed, {"Content-Encoding": "gzip"})
        assert status == 200
        assert upstream.seen[0].json == sample.ask(sample.inline(picture()))

    def test_observing_counts_its_pictures(self, sample: Sample, picture: Fixture) -> None:
        data = picture()
        body = sample.ask(sample.inline(data), sample.ref(data), sample.inline(data))
        turn = read_turn(encode_json(body), DIALECTS[sample.name], ReadLimits())
        assert turn is not None
        (message,) = turn.messages
        assert [(image.digest, image.size) for image in message.images] == [
            (Digest.of(data), len(data))
        ] * 2
        assert len(turn.chain) == 1

    async def test_a_malformed_turn_passes_where_nothing_is_read(
        self, sample: Sample, run_daemon: Fixture, run_upstream: Fixture
    ) -> None:
        upstream = await run_upstream(dialect=sample.name, mode="pass")
        daemon = await run_daemon(upstream.config)
        body = encode_json(sample.ask(sample.ref(b"one"))).replace(b"{", b'{"a":NaN,"a":1,', 1)
        for path in sample.paths:
            async with daemon.http.post(daemon.url + path, data=body) as response:
                assert response.status == 200
        assert all(seen.body == body for seen in upstream.seen)


def _with(value: Json, wrong: Json) -> list[Any]:
    """Return a request once for each place in it, with a wrong value there."""
    if isinstance(value, dict):
        return [
            {**value, key: other}
            for key, item in value.items()
            for other in [wrong, *_with(item, wrong)]
        ]
    if isinstance(value, list):
        return [
            [*value[:at], other, *value[at + 1 :]]
            for at, item in enumerate(value)
            for other in [wrong, *_with(item, wrong)]
        ]
    return []


CHAT, RESPONSES, ANTHROPIC, GEMINI, DIFY = SAMPLES


@pytest.mark.parametrize(
    ("sample", "by_id", "by_ref"),
    [
        (
            CHAT,
            {"type": "image_url", "image_url": {"file_id": FILE_ID, "detail": "low"}},
            {"type": "image_url", "image_url": {"url": "REF", "detail": "low"}},
        ),
        (
            CHAT,
            {"type": "file", "file_id": FILE_ID},
            {"type": "file", "file": {"file_data": "REF"}},
        ),
        (
            RESPONSES,
            {"type": "input_file", "file_id": FILE_ID, "filename": "a"},
            {"type": "input_file", "file_data": "REF", "filename": "a"},
        ),
        (
            ANTHROPIC,
            {"type": "document", "source": {"type": "file", "file_id": FILE_ID}, "title": "a"},
            {"type": "document", "source": {"type": "url", "url": "REF"}, "title": "a"},
        ),
        (
            ANTHROPIC,
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "file", "file_id": FILE_ID}}],
            },
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [{"type": "image", "source": {"type": "url", "url": "REF"}}],
            },
        ),
        (GEMINI, {"fileData": {"fileUri": FILE_ID}}, {"fileData": {"fileUri": "REF"}}),
        (
            DIFY,
            {"type": "document", "format": "pdf", "mime_type": "application/pdf", "url": FILE_ID},
            {"type": "document", "format": "pdf", "mime_type": "application/pdf", "url": "REF"},
        ),
        (
            GEMINI,
            {"file_data": {"mime_type": "image/png", "file_uri": f"files/{FILE_ID}"}},
            {"file_data": {"mime_type": "image/png", "file_uri": "REF"}},
        ),
        (
            GEMINI,
            {"fileData": {"fileUri": f"https://gemini.example/v1beta/files/{FILE_ID}"}},
            {"fileData": {"fileUri": "REF"}},
        ),
        (
            GEMINI,
            {"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": FILE_ID}}]}},
            {"functionResponse": {"name": "f", "parts": [{"fileData": {"fileUri": "REF"}}]}},
        ),
    ],
)
async def test_a_file_id_goes_on_as_its_ref_would_in_every_place(
    run_daemon: Fixture,
    run_upstream: Fixture,
    picture: Fixture,
    sample: Sample,
    by_id: Json,
    by_ref: Json,
) -> None:
    upstream = await run_upstream(dialect=sample.name)
    daemon = await run_daemon(upstream.config)
    daemon.blobs.files[FILE_ID] = digest = daemon.blobs.add(picture())
    ref = json.loads(json.dumps(by_ref).replace("REF", f"blob:{digest}"))
    for part in (by_id, ref):
        assert (await post(daemon, sample.path, sample.ask(part)))[0] == 200
    first, second = upstream.seen
    assert first.body == second.body
    assert base64.b64encode(picture()) in first.body


async def test_file_ids_beside_the_messages_are_resolved_too(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    image: Json = {"type": "input_image", "file_id": FILE_ID}
    mask: Json = {"type": "image_generation", "input_image_mask": {"file_id": FILE_ID}}
    cases: list[tuple[Sample, JsonObject, list[str]]] = [
        (
            RESPONSES,
            {"prompt": {"id": "p", "variables": {"face": image}}, "tools": [mask]},
            ["prompt.variables.face.file_id", "tools.0.input_image_mask.file_id"],
        ),
        (
            GEMINI,
            {"systemInstruction": {"parts": [GEMINI.file(FILE_ID)]}},
            ["systemInstruction.parts.0.fileData"],
        ),
    ]
    for sample, fields, paths in cases:
        upstream = await run_upstream(dialect=sample.name)
        daemon = await run_daemon(upstream.config)
        status, answer, _ = await post(daemon, sample.path, sample.ask(**fields))
        assert status == 404
        missing = [{"file_id": FILE_ID, "path": path} for path in paths]
        assert sample.extension(answer)["missing"] == missing
        assert not upstream.seen
        daemon.blobs.files[FILE_ID] = daemon.blobs.add(picture())
        assert (await post(daemon, sample.path, sample.ask(**fields)))[0] == 200
        body = upstream.seen[0].body
        assert body.count(base64.b64encode(picture())) == len(paths)
        assert FILE_ID.encode() not in body


async def test_forty_attachments_are_named_and_the_rest_counted(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    parts: list[Json] = [
        {"type": "image_url", "image_url": {"url": data_url(bytes([number]), "image/png")}}
        for number in range(43)
    ]
    body: JsonObject = {"model": "m", "messages": [{"role": "user", "content": parts}]}
    _, _, headers = await post(daemon, "/v1/chat/completions", body, {"Coatcheck-Refs": "1"})
    assert len(headers["Coatcheck-Refs"].split(", ")) == 40
    assert headers["Coatcheck-Refs-More"] == "3"


async def test_paths_of_names_count_the_messages_that_were_kept(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    part: Json = {"type": "image_url", "image_url": {"url": data_url(picture(), "image/png")}}
    append: list[Json] = [{"role": "user", "content": [part]}]
    turn: JsonObject = {"model": "m", "coatcheck": {"parent": None, "append": append}}
    fields = {"Coatcheck-Refs": "1"}
    _, _, first = await post(daemon, "/v1/chat/completions", turn, fields)
    turn["coatcheck"] = {"parent": first["Coatcheck-Prompt"], "append": append}
    _, _, second = await post(daemon, "/v1/chat/completions", turn, fields)
    digest = Digest.of(picture())
    assert first["Coatcheck-Refs"] == f"messages.0.content.0.image_url;{digest}"
    assert second["Coatcheck-Refs"] == f"messages.1.content.0.image_url;{digest}"


async def test_names_that_cannot_be_kept_are_not_told(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    daemon.blobs.is_full = True
    part: Json = {"type": "image_url", "image_url": {"url": data_url(picture(), "image/png")}}
    body: JsonObject = {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    status, _, headers = await post(daemon, "/v1/chat/completions", body, {"Coatcheck-Refs": "1"})
    assert status == 200
    assert "Coatcheck-Refs" not in headers


async def test_a_dialect_without_an_upstream_goes_to_its_providers(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream = await run_upstream(dialect="openai.chat")
    daemon = await run_daemon(upstream.config)
    daemon.blobs.add(picture())
    responses = SAMPLES[1]
    status, _, _ = await post(daemon, responses.path, responses.ask(responses.ref(picture())))
    assert status == 200
    assert upstream.seen[0].json == responses.ask(responses.inline(picture()))
    anthropic = SAMPLES[2]
    status, answer, _ = await post(daemon, anthropic.path, anthropic.ask())
    assert (status, anthropic.code(answer)) == (404, "upstream_not_found")
    status, _, _ = await post(daemon, anthropic.path, {**anthropic.ask(), "model": "echo"})
    assert status == 200


@pytest.mark.parametrize(
    "path", ["/v1/models/m%3AgenerateContent", "/v1beta/models/a%2Fb:countTokens"]
)
async def test_no_spelling_of_a_path_takes_a_ref_past_the_walk(
    run_daemon: Fixture, run_upstream: Fixture, path: str
) -> None:
    upstream = await run_upstream(dialect="gemini.generate")
    daemon = await run_daemon(upstream.config)
    gemini = SAMPLES[3]
    body = encode_json(gemini.ask(gemini.ref(b"one")))
    url = URL(daemon.url + path, encoded=True)
    async with daemon.http.post(url, data=body) as response:
        assert (response.status, gemini.code(await response.json())) == (404, "blob_not_found")
    assert not upstream.seen


async def test_echo_takes_both_alphabets_where_gemini_does(
    run_daemon: Fixture, picture: Fixture
) -> None:
    daemon = await run_daemon()
    gemini = SAMPLES[3]
    data = picture("red", "PNG", (31, 7)) + b"\xfb\xff\xfe"
    text = base64.b64encode(data).decode()
    other = base64.urlsafe_b64encode(data).decode()
    assert text != other
    parts: list[Json] = [
        {"inlineData": {key: "image/png", "data": value}}
        for key in ("mimeType", "mime_type")
        for value in (text, other)
    ]
    status, answer, _ = await post(daemon, gemini.path, gemini.ask(*parts))
    assert status == 200, answer
    assert gemini.said(answer).count(Digest.of(data)) == 4


async def test_gemini_streams_a_list_where_no_events_are_asked_for(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    gemini = SAMPLES[3]
    _, answer, headers = await post(
        daemon, "/v1/models/a:streamGenerateContent", gemini.ask(**gemini.streaming)
    )
    assert headers["Content-Type"] == "application/json"
    assert "".join(map(gemini.delta, answer)).startswith("I was given 1 message")
    assert {chunk["modelVersion"] for chunk in answer} == {"a"}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"input": []}, "invalid_request"),
        ({"input": [{"role": "wizard", "content": "x"}]}, "invalid_value"),
        ({"input": [{"type": "spell"}]}, "invalid_value"),
        ({"input": "x", "previous_response_id": "resp_1"}, "response_not_found"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "item_not_found"),
    ],
)
async def test_echo_knows_no_responses_of_others(
    run_daemon: Fixture, body: JsonObject, code: str
) -> None:
    daemon = await run_daemon()
    status, answer, _ = await post(daemon, "/v1/responses", {"model": "m", **body})
    assert status in (400, 404)
    assert answer["error"]["code"] == code


async def test_echo_takes_a_string_and_refuses_to_compact(run_daemon: Fixture) -> None:
    daemon = await run_daemon()
    body: JsonObject = {"model": "m", "input": "Hello"}
    status, answer, _ = await post(daemon, "/v1/responses", body)
    assert status == 200
    assert "'Hello'" in SAMPLES[1].said(answer)
    status, answer, _ = await post(daemon, "/v1/responses/compact", body)
    assert (status, answer["error"]["code"]) == (400, "unsupported_call")


async def test_a_string_is_kept_as_one_user_message(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream(dialect="openai.responses")
    daemon = await run_daemon(upstream.config)
    body: JsonObject = {"model": "m", "input": "Hello"}
    _, _, headers = await post(daemon, "/v1/responses", body, {"Coatcheck-Prompt": "keep"})
    message: Json = {"role": "user", "content": "Hello"}
    assert headers["Coatcheck-Prompt"] == prompt_digests("openai.responses", [message])[0]
    assert upstream.seen[0].json == body
    turn: JsonObject = {"parent": headers["Coatcheck-Prompt"], "append": [message]}
    assert (await post(daemon, "/v1/responses", {"model": "m", "coatcheck": turn}))[0] == 200
    assert upstream.seen[1].json == {"model": "m", "input": [message, message]}


async def test_tools_that_return_pictures_are_hydrated_in_every_dialect(
    run_daemon: Fixture, picture: Fixture
) -> None:
    daemon = await run_daemon()
    daemon.blobs.add(picture())
    chat, responses, anthropic, gemini, _ = SAMPLES
    results: list[tuple[Sample, Json]] = [
        (chat, {"role": "tool", "tool_call_id": "c", "content": [chat.ref(picture())]}),
        (
            responses,
            {"type": "function_call_output", "call_id": "c", "output": [responses.ref(picture())]},
        ),
        (
            anthropic,
            anthropic.message(
                [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t",
                        "content": [anthropic.ref(picture())],
                    }
                ]
            ),
        ),
        (
            gemini,
            gemini.message(
                [
                    {
                        "functionResponse": {
                            "name": "f",
                            "response": {},
                            "parts": [gemini.ref(picture())],
                        }
                    }
                ]
            ),
        ),
    ]
    for sample, message in results:
        status, answer, _ = await post(daemon, sample.path, sample.body([message]))
        assert status == 200, answer
        assert "1. PNG 4x3, mean colour #ff0000" in sample.said(answer)
