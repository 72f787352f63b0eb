"""tus 1.0.0 as its clients see it, on a real server."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from coatcheck.api import face
from coatcheck.protocol import Digest, format_digest_field
from coatcheck.store import NewUpload, Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

MIB = 1024 * 1024
DATA = os.urandom(900_003)
VERSION = {"Tus-Resumable": "1.0.0"}
BYTES = VERSION | {"Content-Type": "application/offset+octet-stream"}


@pytest.fixture
async def http(url: str) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(url) as session:
        yield session


def metadata(**values: str | bytes) -> str:
    encoded = {
        name: base64.b64encode(value.encode() if isinstance(value, str) else value).decode()
        for name, value in values.items()
    }
    return ",".join(f"{name} {value}" for name, value in encoded.items())


async def create(http: aiohttp.ClientSession, **fields: str) -> str:
    """Begin an upload; return its path."""
    named = {f"Upload-{name.replace('_', '-')}": value for name, value in fields.items()}
    async with http.post("/v1/tus", headers=VERSION | named) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert "Upload-Expires" in answer.headers
        return answer.headers["Location"]


async def patch(
    http: aiohttp.ClientSession, path: str, offset: int | str, data: Any, **more: str
) -> tuple[int, Mapping[str, str]]:
    fields = BYTES | {"Upload-Offset": str(offset)}
    fields |= {name.replace("_", "-"): value for name, value in more.items()}
    async with http.patch(path, data=data, headers=fields) as answer:
        await answer.read()
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        return answer.status, answer.headers


async def head(http: aiohttp.ClientSession, path: str) -> tuple[int, Mapping[str, str]]:
    async with http.head(path, headers=VERSION) as answer:
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.status, answer.headers


async def refused(
    http: aiohttp.ClientSession, method: str, path: str, **options: Any
) -> tuple[int, str]:
    async with http.request(method, path, **options) as answer:
        assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert answer.content_type == "application/problem+json"
        return answer.status, (await answer.json(content_type=None))["code"]


async def test_options_says_what_is_understood(http: aiohttp.ClientSession) -> None:
    for path in ("/v1/tus", "/v1/tus/x"):
        async with http.options(path, headers={"Tus-Resumable": "0.2.2"}) as answer:
            assert answer.status == 204
            assert answer.headers["Tus-Resumable"] == "1.0.0"
            assert answer.headers["Tus-Version"] == "1.0.0"
            assert answer.headers["Tus-Max-Size"] == str(512 * MIB)
            assert answer.headers["Tus-Extension"].split(",") == [
                "creation",
                "creation-defer-length",
                "creation-with-upload",
                "expiration",
                "termination",
            ]


async def test_an_upload_becomes_a_blob(http: aiohttp.ClientSession) -> None:
    said = metadata(filename="../../etc/passwd", filetype="text/plain") + ",empty"
    path = await create(http, Length=str(len(DATA)), Metadata=said)
    assert path.startswith("/v1/tus/")
    status, fields = await head(http, path)
    assert (status, fields["Upload-Offset"], fields["Upload-Length"]) == (200, "0", str(len(DATA)))
    assert fields["Upload-Metadata"] == said
    status, fields = await patch(http, path, 0, DATA[:5000])
    assert (status, fields["Upload-Offset"]) == (204, "5000")
    parsedate_to_datetime(fields["Upload-Expires"])
    async with http.get(path) as answer:
        assert answer.status == 404
    status, fields = await patch(http, path, 5000, DATA[5000:])
    assert (status, fields["Upload-Offset"]) == (204, str(len(DATA)))
    digest = Digest.of(DATA)
    for _, said_of_it in ((status, fields), await head(http, path)):
        assert said_of_it["Coatcheck-Digest"] == digest
        assert said_of_it["Coatcheck-Ref"] == f"blob:{digest}"
        assert said_of_it["Upload-Offset"] == str(len(DATA))
        assert "Upload-Expires" not in said_of_it
    for place in (path, f"/v1/blobs/{digest}"):
        async with http.get(place) as answer:
            assert await answer.read() == DATA
            assert answer.headers["Coatcheck-Media-Type"] == "text/plain"
    async with http.get(path, headers={"Range": "bytes=10-19"}) as answer:
        assert (answer.status, await answer.read()) == (206, DATA[10:20])
    assert (await patch(http, path, len(DATA), b""))[0] == 204


async def test_creation_with_upload(http: aiohttp.ClientSession) -> None:
    for data in (DATA[:1000], DATA):
        fields = BYTES | {"Upload-Length": str(len(DATA))}
        async with http.post("/v1/tus", data=data, headers=fields) as answer:
            assert answer.status == 201
            assert answer.headers["Upload-Offset"] == str(len(data))
            path = answer.headers["Location"]
            assert ("Coatcheck-Digest" in answer.headers) == (data is DATA)
    async with http.get(path) as answer:
        assert await answer.read() == DATA


async def test_a_creation_whose_bytes_are_refused_leaves_nothing(
    http: aiohttp.ClientSession, serve_store: Callable[..., Awaitable[Server]]
) -> None:
    server = await serve_store(StoreConfig(None, max_uploads_per_tenant=1))
    for _ in range(3):
        fields = BYTES | {"Upload-Length": "10"}
        answer = await refused(
            http, "POST", f"{server.address.url}/v1/tus", data=DATA[:11], headers=fields
        )
        assert answer == (413, "upload_too_long")


async def test_the_length_may_come_later(http: aiohttp.ClientSession) -> None:
    path = await create(http, Defer_Length="1")
    _, fields = await head(http, path)
    assert fields["Upload-Defer-Length"] == "1"
    assert "Upload-Length" not in fields

    async def chunks() -> AsyncIterator[bytes]:
        for at in range(0, 50_000, 9999):
            yield DATA[at : min(at + 9999, 50_000)]

    assert (await patch(http, path, 0, chunks()))[0] == 204
    status, fields = await patch(http, path, 50_000, DATA[50_000:], Upload_Length=str(len(DATA)))
    assert (status, fields["Coatcheck-Digest"]) == (204, Digest.of(DATA))
    _, fields = await head(http, path)
    assert fields["Upload-Length"] == str(len(DATA))
    assert "Upload-Defer-Length" not in fields


async def test_the_length_stays_what_it_was_said_to_be(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="100")
    status, _ = await patch(http, path, 0, b"x" * 10, Upload_Length="99")
    assert status == 409
    status, fields = await patch(http, path, 0, b"x" * 10, Upload_Length="100")
    assert (status, fields["Upload-Offset"]) == (204, "10")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({}, 400, "upload_length_invalid"),
        ({"Upload-Length": "-1"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "1.5"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "+5"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "007"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "１"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "1" + "0" * 30}, 400, "upload_length_invalid"),
        ({"Upload-Length": "999999999999"}, 413, "blob_too_large"),
        ({"Upload-Length": "0"}, 400, "body_empty"),
        ({"Upload-Defer-Length": "2"}, 400, "upload_length_invalid"),
        ({"Upload-Defer-Length": "1", "Upload-Length": "5"}, 400, "upload_length_invalid"),
        ({"Upload-Length": "5", "Upload-Metadata": ""}, 400, "upload_metadata_invalid"),
        ({"Upload-Length": "5", "Upload-Metadata": "a b c"}, 400, "upload_metadata_invalid"),
        ({"Upload-Length": "5", "Upload-Metadata": "a !!!"}, 400, "upload_metadata_invalid"),
        (
            {"Upload-Length": "5", "Upload-Metadata": "a QQ==,a QQ=="},
            400,
            "upload_metadata_invalid",
        ),
        (
            {"Upload-Length": "5", "Upload-Metadata": "a QQ==,,b QQ=="},
            400,
            "upload_metadata_invalid",
        ),
        ({"Upload-Length": "5", "Upload-Metadata": "filetype QUE="}, 400, "media_type_invalid"),
        (
            {"Upload-Length": "5", "Upload-Metadata": "filetype /w=="},
            400,
            "upload_metadata_invalid",
        ),
        ({"Upload-Length": "5", "Upload-Metadata": "digest QUE="}, 400, "digest_invalid"),
        ({"Upload-Length": "5", "Repr-Digest": "nonsense"}, 400, "digest_field_invalid"),
        ({"Upload-Concat": "partial", "Upload-Length": "5"}, 400, "tus_extension_unsupported"),
        ({"Tus-Resumable": "0.2.2", "Upload-Length": "5"}, 412, "tus_version_unsupported"),
        ({"Content-Encoding": "gzip", "Upload-Length": "5"}, 415, "content_encoding_unsupported"),
    ],
)
async def test_a_bad_beginning_is_refused(
    http: aiohttp.ClientSession, fields: Mapping[str, str], status: int, code: str
) -> None:
    options = {"headers": VERSION | dict(fields)}
    assert await refused(http, "POST", "/v1/tus", **options) == (status, code)


async def test_a_wrong_version_is_told_the_right_one(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="5")
    for method, place in (("POST", "/v1/tus"), ("HEAD", path), ("PATCH", path), ("DELETE", path)):
        async with http.request(method, place, headers={"Upload-Length": "5"}) as answer:
            assert answer.status == 412
            assert answer.headers["Tus-Version"] == "1.0.0"
    assert (await head(http, path))[1]["Upload-Offset"] == "0"


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"Upload-Offset": "5"}, 409, "upload_offset_mismatch"),
        ({"Upload-Offset": "-1"}, 400, "upload_offset_invalid"),
        ({"Upload-Offset": "x"}, 400, "upload_offset_invalid"),
        ({"Upload-Offset": ""}, 400, "upload_offset_invalid"),
        ({"Upload-Offset": "0", "Content-Type": "text/plain"}, 415, "upload_type_unsupported"),
        ({"Upload-Offset": "0", "Content-Encoding": "br"}, 415, "content_encoding_unsupported"),
        ({"Upload-Offset": "0", "Upload-Checksum": "sha1 x"}, 400, "tus_extension_unsupported"),
        ({"Upload-Offset": "0", "Upload-Length": "-5"}, 400, "upload_length_invalid"),
    ],
)
async def test_a_bad_part_is_refused_and_changes_nothing(
    http: aiohttp.ClientSession, fields: Mapping[str, str], status: int, code: str
) -> None:
    path = await create(http, Length="10")
    options: Any = {"headers": BYTES | dict(fields), "data": b"12345"}
    assert await refused(http, "PATCH", path, **options) == (status, code)
    assert (await head(http, path))[1]["Upload-Offset"] == "0"


async def test_a_part_beyond_the_length_is_refused(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="10")
    options: Any = {"headers": BYTES | {"Upload-Offset": "0"}, "data": b"x" * 11}
    assert await refused(http, "PATCH", path, **options) == (413, "upload_too_long")
    assert (await head(http, path))[1]["Upload-Offset"] == "0"


async def test_an_upload_that_is_not_there(http: aiohttp.ClientSession) -> None:
    for name in ("0" * 32, "x", "..%2f..%2fseed"):
        path = f"/v1/tus/{name}"
        options: Any = {"headers": BYTES | {"Upload-Offset": "0"}, "data": b"x"}
        assert await refused(http, "PATCH", path, **options) == (404, "upload_not_found")
        options = {"headers": VERSION}
        assert await refused(http, "DELETE", path, **options) == (404, "upload_not_found")
        assert await refused(http, "GET", path) == (404, "upload_not_found")
        status, fields = await head(http, path)
        assert status == 404
        assert "Upload-Offset" not in fields


async def test_termination(http: aiohttp.ClientSession) -> None:
    for length in (100, 50):
        path = await create(http, Length=str(length))
        await patch(http, path, 0, b"x" * 50)
        async with http.delete(path, headers=VERSION) as answer:
            assert answer.status == 204
            assert answer.headers["Tus-Resumable"] == "1.0.0"
        assert (await head(http, path))[0] == 404
    async with http.get(f"/v1/blobs/{Digest.of(b'x' * 50)}") as answer:
        assert answer.status == 200  # the blob is let go of by its own route


async def test_clients_that_know_post_alone(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="5")
    fields = BYTES | {"X-HTTP-Method-Override": "PATCH", "Upload-Offset": "0"}
    async with http.post(path, data=b"12345", headers=fields) as answer:
        assert answer.status == 204
        assert answer.headers["Upload-Offset"] == "5"
    async with http.post(path, headers=VERSION | {"X-HTTP-Method-Override": "DELETE"}) as answer:
        assert answer.status == 204
    for fields in (VERSION, VERSION | {"X-HTTP-Method-Override": "GET"}):
        async with http.post(path, headers=fields) as answer:
            assert answer.status == 405


@pytest.mark.parametrize(
    "promise",
    [
        {"Repr-Digest": format_digest_field(Digest.of(b"right"))},
        {"Upload-Metadata": metadata(digest=Digest.of(b"right"))},
    ],
)
async def test_other_bytes_than_promised_are_not_kept(
    http: aiohttp.ClientSession, promise: Mapping[str, str]
) -> None:
    for data, expected in ((b"right", 204), (b"wrong", 422)):
        fields = VERSION | {"Upload-Length": "5"} | dict(promise)
        async with http.post("/v1/tus", headers=fields) as answer:
            path = answer.headers["Location"]
        assert (await patch(http, path, 0, data))[0] == expected
    assert (await head(http, path))[0] == 404
    async with http.get(f"/v1/blobs/{Digest.of(b'wrong')}") as answer:
        assert answer.status == 404


async def test_two_promises_that_differ_are_refused(http: aiohttp.ClientSession) -> None:
    fields = {
        "Upload-Length": "5",
        "Repr-Digest": format_digest_field(Digest.of(b"one")),
        "Upload-Metadata": metadata(digest=Digest.of(b"two")),
    }
    answer = await refused(http, "POST", "/v1/tus", headers=VERSION | fields)
    assert answer == (422, "digest_mismatch")


async def test_a_promise_that_cannot_be_compared_is_refused(http: aiohttp.ClientSession) -> None:
    fields = VERSION | {"Upload-Length": "5", "Repr-Digest": "sha-512=:AAAA:"}
    async with http.post("/v1/tus", headers=fields) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (400, "digest_algorithm_unsupported")
        assert answer.headers["Want-Repr-Digest"] == "sha-256=10"
    both = format_digest_field(Digest.of(b"right"))
    fields["Repr-Digest"] += f", {both}"
    async with http.post("/v1/tus", headers=fields) as answer:
        assert answer.status == 201


async def test_a_connection_that_breaks_keeps_what_it_brought(
    http: aiohttp.ClientSession, url: str
) -> None:
    path = await create(http, Length=str(len(DATA)))
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = (
        f"PATCH {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nTus-Resumable: 1.0.0\r\n"
        "Content-Type: application/offset+octet-stream\r\nUpload-Offset: 0\r\n"
        f"Content-Length: {len(DATA)}\r\n\r\n"
    )
    writer.write(request.encode() + DATA[:700_001])
    await writer.drain()
    writer.write_eof()
    assert b"body_incomplete" in await reader.read()
    writer.close()
    assert (await head(http, path))[1]["Upload-Offset"] == "700001"
    status, fields = await patch(http, path, 700_001, DATA[700_001:])
    assert (status, fields["Coatcheck-Digest"]) == (204, Digest.of(DATA))


async def test_a_body_that_stalls_is_ended_and_kept(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="100")
    answered = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield b"x" * 60
        await answered.wait()

    fields = BYTES | {"Upload-Offset": "0"}
    async with http.patch(path, data=stalling(), headers=fields) as answer:
        assert answer.status == 408
        answered.set()
    assert (await head(http, path))[1]["Upload-Offset"] == "60"


async def test_a_second_writer_is_told_to_wait(http: aiohttp.ClientSession) -> None:
    path = await create(http, Length="10")
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"1234"
        begun.set()
        await may_end.wait()
        yield b"567890"

    first = asyncio.create_task(patch(http, path, 0, slow()))
    await begun.wait()
    while True:  # until the first has begun at the server
        status, fields = await patch(http, path, 0, b"")
        if status == 423:
            break
        await asyncio.sleep(0)
    assert "x-should-retry" not in fields
    may_end.set()
    assert (await first)[0] == 204
    assert (await head(http, path))[1]["Upload-Offset"] == "10"


async def test_a_tenant_has_so_many_and_is_told_what_to_do(
    http: aiohttp.ClientSession, serve_store: Callable[..., Awaitable[Server]], tmp_path: Path
) -> None:
    server = await serve_store(StoreConfig(tmp_path / "data", max_uploads_per_tenant=2))
    url = f"{server.address.url}/v1/tus"
    fields = VERSION | {"Upload-Length": "5"}
    for _ in range(2):
        async with http.post(url, headers=fields) as answer:
            assert answer.status == 201
    async with http.post(url, headers=fields) as answer:
        assert answer.status == 429
        problem = await answer.json(content_type=None)
        assert (problem["code"], problem["max_uploads"]) == ("too_many_uploads", 2)
        assert "terminate" in problem["detail"]


async def test_a_whole_upload_that_no_answer_told_of_is_finished_by_head() -> None:
    """As after a crash between the last part and the blob."""
    store = await Store.open(StoreConfig(None))
    server = Server(build_app(join_faces([face(store)], title="Coatcheck", version="1")))
    await server.start()
    try:
        upload = await store.uploads.create(NewUpload("default", 5))

        async def body() -> AsyncIterator[bytes]:
            yield b"12345"

        await store.uploads.append("default", upload.id, 0, body())
        async with aiohttp.ClientSession(server.address.url) as http:
            status, fields = await head(http, f"/v1/tus/{upload.id}")
            assert (status, fields["Coatcheck-Digest"]) == (200, Digest.of(b"12345"))
    finally:
        await server.stop(drain_seconds=0.1)
        await store.close()
