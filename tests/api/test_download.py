"""GET and HEAD: ranges, conditions, headers, and bytes that have rotted."""

import base64
import email
import email.policy
import hashlib
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession
from PIL import Image

from coatcheck.protocol import PIECE_BYTES, Digest, format_digest_field
from coatcheck.store import StoreConfig
from coatcheck.web import Server

Serve = Callable[..., Awaitable[Server]]
DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
TAG = f'"{DIGEST}"'


@pytest.fixture
async def target(url: str, http: ClientSession) -> str:
    async with http.post(f"{url}/v1/blobs", data=DATA) as answer:
        return f"{url}{answer.headers['Location']}"


async def test_get_sends_the_bytes_with_their_rules(target: str, http: ClientSession) -> None:
    async with http.get(target) as answer:
        assert await answer.read() == DATA
        headers = answer.headers
    raw = base64.b64encode(hashlib.sha256(DATA).digest()).decode()
    assert headers["ETag"] == TAG
    assert headers["Repr-Digest"] == headers["Content-Digest"] == f"sha-256=:{raw}:"
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["Content-Length"] == str(len(DATA))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == f'attachment; filename="{DIGEST.hex[:16]}.bin"'


async def test_head_of_an_unknown_blob_is_a_404_without_a_body(
    url: str, http: ClientSession
) -> None:
    async with http.head(f"{url}/v1/blobs/{DIGEST}") as answer:
        assert (answer.status, await answer.read()) == (404, b"")
    async with http.head(f"{url}/v1/blobs/x") as answer:
        assert answer.status == 400


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=10000-", 10000, 10240),
        ("bytes=10000-99999999", 10000, 10240),
        ("bytes=-1", 10239, 10240),
        ("bytes=-99999", 0, 10240),
        ("bytes = 0-0", 0, 1),
    ],
)
async def test_a_range_is_sent_as_a_part(
    target: str, http: ClientSession, asked: str, start: int, stop: int
) -> None:
    async with http.get(target, headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
        assert answer.headers["ETag"] == TAG
        assert await answer.read() == DATA[start:stop]


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=-0", f"bytes={'9' * 5000}-"])
async def test_a_range_outside_the_blob_is_not_satisfiable(
    target: str, http: ClientSession, asked: str
) -> None:
    async with http.get(target, headers={"Range": asked}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(DATA)}"
        assert (await answer.json(content_type=None))["code"] == "range_not_satisfiable"


async def test_a_client_that_has_the_blob_is_told_so(target: str, http: ClientSession) -> None:
    async with http.get(target, headers={"If-None-Match": TAG}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
        assert {name.lower() for name in answer.headers} - {"date", "server"} == {
            "etag",
            "cache-control",
        }
        assert answer.headers["ETag"] == TAG


def parts_of(answer: ClientResponse, body: bytes) -> list[tuple[str | None, str | None, bytes]]:
    """Read `multipart/byteranges`: each part's type, its range and its bytes."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    assert message.is_multipart()
    assert not message.defects
    read: list[tuple[str | None, str | None, bytes]] = []
    for part in message.iter_parts():
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        read.append((part["Content-Type"], part["Content-Range"], content))
    return read


async def test_several_ranges_are_parts_of_one_answer(target: str, http: ClientSession) -> None:
    asked = {"Range": "bytes=10000-10001, 99999-, 0-3, 2-4, -1"}
    async with http.get(target, headers=asked) as answer:
        body = await answer.read()
        assert answer.status == 206
        assert answer.headers["Content-Length"] == str(len(body))
        assert answer.headers["Content-Type"].startswith("multipart/byteranges; boundary=")
        assert answer.headers["ETag"] == TAG
        assert answer.headers["Repr-Digest"] == format_digest_field(DIGEST)
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Range" not in answer.headers
        assert "Content-Digest" not in answer.headers
        octets = "application/octet-stream"
        assert parts_of(answer, body) == [
            (octets, "bytes 10000-10001/10240", DATA[10000:10002]),
            (octets, "bytes 0-4/10240", DATA[0:5]),
            (octets, "bytes 10239-10239/10240", DATA[-1:]),
        ]


@pytest.mark.parametrize("asked", ["bytes=0-3,2-9", "bytes=9-9,99999-", "bytes=5-9,0-4"])
async def test_what_comes_to_one_range_is_sent_as_one(
    target: str, http: ClientSession, asked: str
) -> None:
    async with http.get(target, headers={"Range": asked}) as answer:
        assert answer.status == 206
        first = 9 if asked.startswith("bytes=9") else 0
        assert answer.headers["Content-Range"] == f"bytes {first}-9/{len(DATA)}"
        assert await answer.read() == DATA[first:10]


async def test_a_header_with_very_many_ranges_gets_the_whole(
    target: str, http: ClientSession
) -> None:
    asked = {"Range": f"bytes={','.join(f'{2 * n}-{2 * n}' for n in range(500))}"}
    async with http.get(target, headers=asked) as answer:
        assert (answer.status, await answer.read()) == (200, DATA)


@pytest.mark.parametrize("want", ["sha-256=1", "sha-512=9, sha-256=1"])
async def test_a_ranges_own_digest_is_sent_to_who_wants_it(
    target: str, http: ClientSession, want: str
) -> None:
    asked = {"Range": "bytes=5-99", "Want-Content-Digest": want}
    async with http.get(target, headers=asked) as answer:
        part = await answer.read()
        assert answer.headers["Content-Digest"] == format_digest_field(Digest.of(part))
        assert answer.headers["Repr-Digest"] == format_digest_field(DIGEST)
    async with http.get(target, headers={"Range": "bytes=5-99"}) as answer:
        assert "Content-Digest" not in answer.headers


@pytest.mark.parametrize(
    ("want", "is_sent"),
    [("sha-256=0", False), ("sha-512=1", True), ("sha-256=0, x=11", True), ("nonsense(", True)],
)
async def test_digests_that_nobody_wants_are_left_out(
    target: str, http: ClientSession, want: str, is_sent: bool
) -> None:
    for name in ("Repr-Digest", "Content-Digest"):
        async with http.get(target, headers={f"Want-{name}": want}) as answer:
            sent = {"Repr-Digest", "Content-Digest"} & set(answer.headers)
            assert sent == {"Repr-Digest", "Content-Digest"} - (set() if is_sent else {name})


def picture(kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (8, 4)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "declared", "shown", "kind"),
    [
        (picture("PNG"), "image/png", "image/png", "inline"),
        (picture("JPEG"), "text/html", "image/jpeg", "inline"),
        (picture("WEBP"), "image/svg+xml", "image/webp", "inline"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>", "image/svg+xml", None, ""),
        (b"<!doctype html><script>x()</script>", "text/html", None, ""),
        (b"alert(1)", "text/javascript", None, ""),
        (b"plain", "text/plain", None, ""),
        (b"%PDF-1.7 ...", "application/pdf", "application/pdf", "attachment"),
    ],
)
async def test_only_what_cannot_run_is_shown(
    url: str, http: ClientSession, data: bytes, declared: str, shown: str | None, kind: str
) -> None:
    headers = {"Content-Type": declared}
    async with http.post(f"{url}/v1/blobs", data=data, headers=headers) as answer:
        location = answer.headers["Location"]
        assert (await answer.json())["media_type"] == declared
    async with http.get(f"{url}{location}") as answer:
        assert answer.headers["Content-Type"] == (shown or "application/octet-stream")
        assert answer.headers["Content-Disposition"].startswith(kind or "attachment")
        assert answer.headers["Coatcheck-Media-Type"] == declared
        if shown and shown.startswith("image/"):
            assert answer.headers["Coatcheck-Width"] == "8"
            assert answer.headers["Coatcheck-Height"] == "4"


def damage(folder: Path, digest: Digest, at: int) -> None:
    (path,) = [path for path in folder.rglob("*") if path.is_file() and digest.hex in path.name]
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


async def read_into(got: bytearray, answer: ClientResponse) -> None:
    while chunk := await answer.content.readany():
        got += chunk


async def test_a_piece_that_rotted_breaks_the_answer_and_an_upload_heals_it(
    serve_store: Serve, http: ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = await serve_store(StoreConfig(data_folder=folder, min_free_bytes=0))
    data = bytes(PIECE_BYTES) + b"second piece" * 1000
    digest = Digest.of(data)
    target = f"{server.address.url}/v1/blobs/{digest}"
    async with http.put(target, data=io.BytesIO(data)) as answer:
        assert answer.status == 201
    damage(folder, digest, PIECE_BYTES + 5)
    got = bytearray()
    async with http.get(target) as answer:
        assert answer.status == 200
        with pytest.raises((ClientError, ConnectionError)):
            await read_into(got, answer)
    assert data.startswith(bytes(got))
    assert len(got) <= PIECE_BYTES
    for method in ("GET", "HEAD"):
        async with http.request(method, target) as answer:
            assert answer.status == 404
    async with http.post(
        f"{server.address.url}/v1/blobs/missing", json={"digests": [digest]}
    ) as answer:
        assert (await answer.json())["missing"] == [digest]
    async with http.put(target, data=io.BytesIO(data)) as answer:
        assert answer.status == 201
    async with http.get(target) as answer:
        assert await answer.read() == data


async def test_a_later_part_that_rotted_breaks_the_answer_before_it_is_sent(
    serve_store: Serve, http: ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = await serve_store(StoreConfig(data_folder=folder, min_free_bytes=0))
    data = bytes(PIECE_BYTES) + b"second piece" * 1000
    digest = Digest.of(data)
    target = f"{server.address.url}/v1/blobs/{digest}"
    async with http.put(target, data=io.BytesIO(data)) as answer:
        assert answer.status == 201
    damage(folder, digest, PIECE_BYTES + 5)
    got = bytearray()
    asked = {"Range": f"bytes=0-9,{PIECE_BYTES + 100}-"}
    async with http.get(target, headers=asked) as answer:
        assert answer.status == 206
        with pytest.raises((ClientError, ConnectionError)):
            await read_into(got, answer)
    assert b"piece" not in got
    async with http.get(target) as answer:
        assert answer.status == 404


async def test_a_digest_of_a_part_that_rotted_is_not_found(
    serve_store: Serve, http: ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = await serve_store(StoreConfig(data_folder=folder, min_free_bytes=0))
    target = f"{server.address.url}/v1/blobs/{DIGEST}"
    async with http.put(target, data=DATA) as answer:
        assert answer.status == 201
    damage(folder, DIGEST, 5)
    asked = {"Range": "bytes=100-199", "Want-Content-Digest": "sha-256=1"}
    async with http.get(target, headers=asked) as answer:
        assert answer.status == 404


async def test_a_first_piece_that_rotted_is_not_found(
    serve_store: Serve, http: ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = await serve_store(StoreConfig(data_folder=folder, min_free_bytes=0))
    target = f"{server.address.url}/v1/blobs/{DIGEST}"
    async with http.put(target, data=DATA) as answer:
        assert answer.status == 201
    damage(folder, DIGEST, 5)
    async with http.get(target) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (404, "blob_not_found")


async def test_a_large_blob_comes_back_whole(url: str, http: ClientSession) -> None:
    data = hashlib.shake_128(b"large").digest(2 * PIECE_BYTES + 17)
    async with http.post(f"{url}/v1/blobs", data=io.BytesIO(data)) as answer:
        target = f"{url}{answer.headers['Location']}"
    async with http.get(target) as answer:
        assert await answer.read() == data
    start = PIECE_BYTES - 10
    asked = {"Range": f"bytes={start}-{start + 19}"}
    async with http.get(target, headers=asked) as answer:
        assert await answer.read() == data[start : start + 20]
