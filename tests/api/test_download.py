"""GET and HEAD: ranges, conditions, headers, and bytes that have rotted."""

import base64
import hashlib
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientResponse, ClientSession
from PIL import Image

from coatcheck.protocol import PIECE_BYTES, Digest
from coatcheck.store import StoreConfig
from coatcheck.web import Server

Serve = Callable[..., Awaitable[Server]]
DATA = bytes(range(256)) * 40
DIGEST = Digest.of(DATA)
TAG = f'"{DIGEST}"'
OTHER = f'"{Digest.of(b"other")}"'


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
    assert headers["Repr-Digest"] == f"sha-256=:{raw}:"
    assert headers["Cache-Control"] == "private, max-age=31536000, immutable"
    assert headers["Content-Length"] == str(len(DATA))
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["Content-Disposition"] == f'attachment; filename="{DIGEST.hex[:16]}.bin"'


REQUESTS: list[dict[str, str]] = [
    {},
    {"Range": "bytes=0-0"},
    {"Range": "bytes=100-199"},
    {"Range": "bytes=10000-"},
    {"Range": "bytes=-1"},
    {"Range": "bytes=-99999999"},
    {"Range": "bytes=99999999-"},
    {"Range": "bytes=-0"},
    {"Range": "bytes=0-1,3-4"},
    {"Range": "bytes=a-b"},
    {"Range": "bytes=5-2"},
    {"Range": "lines=0-1"},
    {"Range": f"bytes={'9' * 5000}-"},
    {"Range": "bytes=0-9", "If-Range": TAG},
    {"Range": "bytes=0-9", "If-Range": OTHER},
    {"Range": "bytes=0-9", "If-Range": f"W/{TAG}"},
    {"Range": "bytes=0-9", "If-Range": "Wed, 21 Oct 2026 07:28:00 GMT"},
    {"If-None-Match": TAG},
    {"If-None-Match": f"W/{TAG}"},
    {"If-None-Match": f'{OTHER} , W/"x", {TAG}'},
    {"If-None-Match": "*"},
    {"If-None-Match": OTHER},
    {"If-Match": TAG},
    {"If-Match": OTHER},
    {"If-Match": f"W/{TAG}"},
    {"If-None-Match": TAG, "Range": "bytes=0-9"},
]


@pytest.mark.parametrize("asked", REQUESTS)
async def test_head_says_exactly_what_get_would(
    target: str, http: ClientSession, asked: dict[str, str]
) -> None:
    async with http.get(target, headers=asked) as answer:
        get = (answer.status, {k: v for k, v in answer.headers.items() if k != "Date"})
        body = await answer.read()
    async with http.head(target, headers=asked) as answer:
        head = (answer.status, {k: v for k, v in answer.headers.items() if k != "Date"})
        assert await answer.read() == b""
    assert head == get
    if get[0] in (200, 206):
        assert get[1]["Content-Length"] == str(len(body))


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
        assert answer.headers["ETag"] == TAG
        assert "Cache-Control" in answer.headers


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
