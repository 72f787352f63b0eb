"""`Expect: 100-continue`: a body is asked for once it is wanted, and never where its head says no."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from coatcheck.protocol import Digest, format_digest_field
from coatcheck.store import StoreConfig
from coatcheck.web import Limits, Principal, Server

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]

BODY = b"ten bytes."
DIGEST = Digest.of(BODY)
RIGHT, WRONG = format_digest_field(DIGEST), format_digest_field(Digest.of(b"other"))
BOUND = 1000
KEY = f"cck_{'a' * 8}_{'k' * 40}"
READER = f"cck_{'r' * 8}_{'k' * 40}"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FORM = "Content-Type: multipart/form-data; boundary=B"
BLOB = f"PUT /v1/blobs/{DIGEST}"


class Keys:
    """One key for everything, one for reading."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        known = {KEY: Principal("a"), READER: Principal("a", frozenset({"read"}))}
        return known.get(secret or "")


@pytest.fixture
async def server(serve_store: Serve) -> Server:
    config = StoreConfig(data_folder=None, max_blob_bytes=BOUND)
    return await serve_store(config, Limits(linger_seconds=0.1), keyring=Keys())


def head(target: str, *lines: str, version: str = "1.1") -> bytes:
    """A request's head; its body of ten bytes is not there, unless lines say something else."""
    given = {line.partition(":")[0].lower() for line in lines}
    usual = {
        "authorization": f"Authorization: Bearer {KEY}",
        "content-length": f"Content-Length: {len(BODY)}",
        "expect": "Expect: 100-continue",
    }
    rest = [line for name, line in usual.items() if name not in given]
    kept = [line for line in lines if " " in line]
    start = [f"{target} HTTP/{version}", "Host: localhost"]
    return "\r\n".join([*start, *rest, *kept, "", ""]).encode()


@pytest.mark.parametrize(
    ("request_head", "status", "code"),
    [
        (head(BLOB, "Authorization:"), 401, "key_missing"),
        (head(BLOB, f"Authorization: Bearer {READER}"), 403, "scope_missing"),
        (head("PUT /v1/blobs/sha256:xyz"), 400, "digest_invalid"),
        (head("POST /v1/blobs", f"Content-Length: {BOUND + 1}"), 413, "blob_too_large"),
        (head(BLOB, f"Content-Length: {BOUND + 1}"), 413, "blob_too_large"),
        (head("POST /v1/blobs", FORM, f"Content-Length: {BOUND + 65_537}"), 413, "blob_too_large"),
        (head("POST /v1/files", FORM, f"Content-Length: {BOUND + 65_537}"), 413, "blob_too_large"),
        (
            head(
                "POST /v1/files",
                FORM,
                "anthropic-version: 1",
                f"Content-Length: {BOUND + 65_537}",
            ),
            413,
            "blob_too_large",
        ),
        (head("POST /v1/blobs/missing", "Content-Length: 9999999"), 413, "body_too_large"),
        (head(BLOB, "Content-Length: 0"), 400, "body_empty"),
        (head(BLOB, "Content-Encoding: gzip"), 415, "content_encoding_unsupported"),
        (head(BLOB, "Content-Type: picture"), 400, "media_type_invalid"),
        (head("POST /v1/blobs", "Content-Type: multipart/form-data"), 400, "form_malformed"),
        (head(BLOB, f"Content-Digest: {WRONG}"), 422, "digest_mismatch"),
        (head(BLOB, f"Repr-Digest: {WRONG}"), 422, "digest_mismatch"),
        (
            head("POST /v1/blobs", f"Repr-Digest: {RIGHT}", f"Content-Digest: {WRONG}"),
            422,
            "digest_mismatch",
        ),
        (head(BLOB, "Content-Digest: sha-256=:AAAA:"), 400, "digest_field_invalid"),
        (head(BLOB, "Content-Digest: md5=:AAAA:"), 400, "digest_algorithm_unsupported"),
        (head(BLOB, "Expect: 200-perhaps"), 417, "expectation_failed"),
        (head(BLOB, "Expect: 100-continue, more=1"), 417, "expectation_failed"),
        (head("GET /v1/blobs", "Expect: 200-perhaps"), 417, "expectation_failed"),
        (head("POST /nowhere"), 404, "not_found"),
        (head("POST /nowhere", "Expect: 200-perhaps"), 417, "expectation_failed"),
        (head("PATCH /v1/blobs"), 405, "method_not_allowed"),
    ],
)
async def test_a_body_that_its_head_condemns_is_never_asked_for(
    server: Server, talk: Talk, request_head: bytes, status: int, code: str
) -> None:
    async with asyncio.timeout(10):
        answer = await talk(
            server, request_head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert f'code":"{code}"'.encode() in answer
    assert b"100 Continue" not in answer


async def test_a_part_that_is_longer_than_its_upload_is_never_asked_for(
    server: Server, talk: Talk
) -> None:
    asked = {"purpose": "vision", "filename": "a", "bytes": 9, "mime_type": "image/png"}
    begin = json.dumps(asked).encode()
    close = "Connection: close"
    sized = f"Content-Length: {len(begin)}"
    async with asyncio.timeout(10):
        begun = await talk(server, head("POST /v1/uploads", "Expect:", sized, close) + begin)
        upload = json.loads(begun.partition(b"\r\n\r\n")[2])["id"]
        part = f"POST /v1/uploads/{upload}/parts"
        answer = await talk(server, head(part, FORM, f"Content-Length: {9 + 65_537}", close))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"upload_too_long"' in answer
    assert b"100 Continue" not in answer


async def test_an_unread_body_ends_the_connection(server: Server, talk: Talk) -> None:
    async with asyncio.timeout(10):
        answer = await talk(server, head(BLOB, f"Content-Digest: {WRONG}"))
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    "request_head",
    [
        head(BLOB),
        head("POST /v1/blobs", "Expect: 100-Continue"),
        head("POST /v1/blobs", f"Content-Digest: {RIGHT}, md5=:AAAA:"),
        head(BLOB, f"Content-Length: {BOUND}"),
    ],
)
async def test_a_body_that_is_wanted_is_asked_for_once(server: Server, request_head: bytes) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    async with asyncio.timeout(10):
        writer.write(request_head)
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        size = BOUND if f"Content-Length: {BOUND}".encode() in request_head else len(BODY)
        writer.write(BODY.ljust(size, b"x"))
        status = b"201 Created" if size == len(BODY) else b"422 Unprocessable Entity"
        assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 " + status + b"\r\n"
    writer.close()
    await writer.wait_closed()


async def test_a_form_whose_file_may_be_small_enough_is_asked_for(server: Server) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    async with asyncio.timeout(10):
        writer.write(head("POST /v1/blobs", FORM, f"Content-Length: {BOUND + 65_536}"))
        assert await reader.readexactly(len(CONTINUE)) == CONTINUE
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize("expected", ["Expect: 100-continue", "Expect: 200-perhaps"])
async def test_a_client_of_http_1_0_expects_nothing(
    server: Server, talk: Talk, expected: str
) -> None:
    async with asyncio.timeout(10):
        answer = await talk(server, head(BLOB, expected, version="1.0") + BODY)
    assert answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.0 201 "))
