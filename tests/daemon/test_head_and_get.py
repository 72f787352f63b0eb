"""HEAD says what GET would, in every header, at the store's routes and at the daemon's."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession

from coatcheck.daemon import Daemon, DaemonConfig
from coatcheck.protocol import PIECE_BYTES, Digest
from coatcheck.web import Server, build_app, join_faces
from coatcheck.web.ranges import MAX_RANGES

from .remote import ALICE, BOB, Keyring, StoreServer, open_remote

LARGE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * (PIECE_BYTES // 256) + b"and more"
DIGEST = Digest.of(LARGE)
TAG = f'"{DIGEST}"'
OTHER = f'"{Digest.of(b"other")}"'
DATE = "Wed, 21 Oct 2026 07:28:00 GMT"
EDGE = f"{PIECE_BYTES - 2}-{PIECE_BYTES + 1}"

RANGES = [
    "bytes=0-0",
    "bytes=100-199",
    f"bytes={EDGE}",
    "bytes=10000-",
    "bytes=-1",
    "bytes=-99999999",
    "bytes=0-",
    "bytes=0-1,3-4",
    "bytes=-1,0-1",
    f"bytes=0-0,{EDGE},-1",
    "bytes=0-1,1-2",
    "bytes=0-,0-,-5",
    "bytes=0-0,99999999-",
    "bytes=99999999-",
    "bytes=99999999-,-0",
    "bytes=-0",
    f"bytes={'9' * 5000}-",
    "bytes=a-b",
    "bytes=5-2",
    "bytes=0-0,5-2",
    "lines=0-1",
    "bytes=" + ",".join(f"{10 * n}-{10 * n}" for n in range(MAX_RANGES)),
    "bytes=" + ",".join(f"{10 * n}-{10 * n}" for n in range(MAX_RANGES + 1)),
    "bytes=40-40,30-30,20-20,10-10,0-0",
]
WANTS = ["sha-256=1", "sha-256=10, sha-512=3", "sha-256=0", "sha-512=1", "sha-256=11", "()", ""]
CONDITIONS: list[dict[str, str]] = [
    {"If-None-Match": TAG},
    {"If-None-Match": f"W/{TAG}"},
    {"If-None-Match": f'{OTHER} , W/"x", {TAG}'},
    {"If-None-Match": "*"},
    {"If-None-Match": OTHER},
    {"If-Match": TAG},
    {"If-Match": "*"},
    {"If-Match": OTHER},
    {"If-Match": f"W/{TAG}"},
    {"If-Match": OTHER, "If-None-Match": TAG},
    {"If-None-Match": TAG, "Range": "bytes=0-9"},
    {"If-Modified-Since": DATE},
    {"If-Unmodified-Since": DATE},
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Expect": "100-continue"},
    {"Expect": "200-perhaps"},
    {"Accept-Encoding": "gzip, br, zstd"},
    *({"Range": asked} for asked in RANGES),
    *({"Range": "bytes=0-9", "If-Range": tag} for tag in (TAG, OTHER, f"W/{TAG}", DATE)),
    *({"Range": "bytes=0-1,5-6", "If-Range": tag} for tag in (TAG, OTHER)),
    *CONDITIONS,
    *({"Want-Repr-Digest": want} for want in WANTS),
    *({"Want-Content-Digest": want} for want in WANTS),
    *(
        {"Want-Content-Digest": "sha-256=5", "Want-Repr-Digest": "sha-256=0", "Range": asked}
        for asked in ("bytes=0-9", "bytes=0-999999", f"bytes={EDGE}", "bytes=0-1,5-6")
    ),
]
NAMES = [str(Digest.of(b"unknown")), "x", f"sha256:{'A' * 64}", f"sha512:{'a' * 64}"]

Told = tuple[int, tuple[tuple[bytes, bytes], ...]]


@dataclass
class Faces:
    """A store, and a daemon with a cache in front of it."""

    urls: dict[str, str]
    http: ClientSession

    async def told(
        self, face: str, method: str, path: str, headers: dict[str, str]
    ) -> tuple[Told, bytes]:
        """Return the status and all headers but Date, in order, and the content."""
        asked = {"Authorization": f"Bearer {ALICE}", **headers}
        async with self.http.request(method, self.urls[face] + path, headers=asked) as answer:
            named = tuple(item for item in answer.raw_headers if item[0] != b"Date")
            return (answer.status, named), await answer.read()


@pytest.fixture
async def faces(tmp_path: Path) -> AsyncIterator[Faces]:
    async def body() -> AsyncIterator[bytes]:
        yield LARGE

    store = await StoreServer.open()
    await store.store.receive("a", body(), declared_type="image/webp")
    remote = await open_remote(store, tmp_path)
    daemon = Daemon.open(
        DaemonConfig(), remote.blobs, remote.prompts, inventory=remote.inventory, clock=store.clock
    )
    table = join_faces([remote.face(daemon.passage), daemon.face()], title="Coatcheck", version="1")
    server = Server(build_app(table, keyring=Keyring()))
    address = await server.start()
    async with ClientSession(auto_decompress=False) as http:
        yield Faces({"store": store.url, "daemon": address.url}, http)
    await server.stop(0)
    await daemon.close()
    await remote.close()
    await store.close()


@pytest.mark.parametrize("face", ["store", "daemon"])
async def test_head_says_exactly_what_get_would(faces: Faces, face: str) -> None:
    asked = [(f"/v1/blobs/{DIGEST}", headers) for headers in HEADERS]
    asked += [(f"/admin/blobs/{DIGEST}/picture", headers) for headers in HEADERS[:8]]
    asked += [(f"/v1/blobs/{name}", headers) for name in NAMES for headers in HEADERS[:8]]
    for who in (BOB, f"cck_{'z' * 8}_{'k' * 40}", "no key"):
        credential = {"Authorization": f"Bearer {who}"}
        asked += [(f"/v1/blobs/{DIGEST}", {**headers, **credential}) for headers in HEADERS[:8]]
    seen: set[int] = set()
    for path, headers in asked:
        get, content = await faces.told(face, "GET", path, headers)
        head, nothing = await faces.told(face, "HEAD", path, headers)
        assert head == get, (path, headers)
        assert nothing == b""
        if get[0] != 304:
            assert dict(get[1])[b"Content-Length"] == str(len(content)).encode(), (path, headers)
        seen.add(get[0])
    assert seen == {200, 206, 304, 400, 401, 404, 412, 416, 417}


async def test_the_daemon_says_what_the_store_says(faces: Faces) -> None:
    for headers in HEADERS:
        path = f"/v1/blobs/{DIGEST}"
        told = await asyncio.gather(
            *(faces.told(face, "GET", path, headers) for face in ("store", "daemon"))
        )
        assert told[0] == told[1], headers


async def test_another_tenants_blob_is_like_one_that_is_not_there(faces: Faces) -> None:
    unknown = Digest.of(b"unknown")
    for face in ("store", "daemon"):
        for headers in HEADERS:
            asked = {**headers, "Authorization": f"Bearer {BOB}"}
            told = [
                await faces.told(face, "GET", f"/v1/blobs/{name}", asked)
                for name in (DIGEST, unknown)
            ]
            (foreign, content), (absent, other_content) = told
            assert foreign == absent, headers
            assert re.sub(DIGEST, unknown, content.decode()) == other_content.decode()
