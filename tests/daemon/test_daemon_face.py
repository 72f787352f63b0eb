"""A daemon's face over a store elsewhere: blobs from the cache, the store's routes passed through."""

import asyncio
import io
import json
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import ClientSession
from aiohttp import web as aioweb
from PIL import Image
from yarl import URL

from coatcheck.daemon import Daemon, DaemonConfig, RemoteStore
from coatcheck.protocol import PIECE_BYTES, Digest, format_digest_field
from coatcheck.web import Server, build_app, join_faces

from .remote import ALICE, BOB, KEY, Keyring, StoreServer, forever, open_remote

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
LARGE = bytes(range(256)) * (PIECE_BYTES // 256) + b"and a half"


@dataclass
class Front:
    """A daemon and its store."""

    url: str
    store: StoreServer
    remote: RemoteStore
    http: ClientSession

    def path(self, digest: Digest) -> str:
        return f"{self.url}/v1/blobs/{digest}"


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[Front]:
    store = await StoreServer.open()
    remote = await open_remote(store, tmp_path)
    daemon = Daemon.open(
        DaemonConfig(), remote.blobs, remote.prompts, inventory=remote.inventory, clock=store.clock
    )
    table = join_faces([remote.face(daemon.passage), daemon.face()], title="Coatcheck", version="1")
    server = Server(build_app(table, keyring=Keyring()))
    address = await server.start()
    async with ClientSession(headers={"Authorization": f"Bearer {ALICE}"}) as http:
        yield Front(address.url, store, remote, http)
    await server.stop(0)
    await daemon.close()
    await remote.close()
    await store.close()


async def test_the_store_says_what_a_signed_url_opens(front: Front) -> None:
    digest = await put(front, PNG)
    async with front.http.post(f"{front.path(digest)}/signed-url", json={}) as answer:
        url = str((await answer.json())["url"])
    assert url.startswith(f"{front.path(digest)}?expires=")
    async with ClientSession() as nobody:
        for where, status in [
            (url, 200),
            (url[:-1], 403),
            (url.replace(digest, Digest.of(b"x")), 403),
            (url.partition("&")[0], 401),
        ]:
            for method in ("GET", "HEAD"):
                async with nobody.request(method, URL(where, encoded=True)) as answer:
                    assert answer.status == status
                    if (status, method) == (200, "GET"):
                        assert await answer.read() == PNG
    async with front.http.delete(front.path(digest)) as answer:
        assert answer.status == 200
    async with ClientSession() as nobody, nobody.get(URL(url, encoded=True)) as answer:
        assert answer.status == 404


async def put(front: Front, data: bytes, tenant: str = "a") -> Digest:
    async def body() -> AsyncIterator[bytes]:
        yield data

    return (await front.store.store.receive(tenant, body(), declared_type="image/png")).grant.digest


async def test_a_blob_comes_from_the_cache_as_the_store_sends_it(front: Front) -> None:
    digest = await put(front, PNG)
    told: list[dict[str, str]] = []
    for url in (front.store.url, front.url):
        headers = {"Coatcheck-Tenant": "a"}
        async with front.http.get(f"{url}/v1/blobs/{digest}", headers=headers) as answer:
            assert await answer.read() == PNG
            told.append({k: v for k, v in answer.headers.items() if k not in ("Date",)})
        async with front.http.head(f"{url}/v1/blobs/{digest}", headers=headers) as answer:
            told.append({k: v for k, v in answer.headers.items() if k not in ("Date",)})
    assert told[0] == told[2] == told[1] == told[3]


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ("bytes=0-0", 206, slice(0, 1)),
        (
            f"bytes={PIECE_BYTES - 2}-{PIECE_BYTES + 1}",
            206,
            slice(PIECE_BYTES - 2, PIECE_BYTES + 2),
        ),
        ("bytes=-4", 206, slice(len(LARGE) - 4, None)),
        ("bytes=99999999-", 416, None),
        ("lines=1-2", 200, slice(None)),
    ],
)
async def test_a_range_comes_from_the_cache(
    front: Front, asked: str, status: int, part: slice | None
) -> None:
    digest = await put(front, LARGE)
    async with front.http.get(front.path(digest), headers={"Range": asked}) as answer:
        assert answer.status == status
        if part is not None:
            assert await answer.read() == LARGE[part]


async def test_who_has_it_is_told_so_and_nothing_is_fetched(front: Front) -> None:
    digest = await put(front, PNG)
    headers = {"If-None-Match": f'"{digest}"'}
    async with front.http.get(front.path(digest), headers=headers) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, f'"{digest}"')
    async with front.http.get(front.path(digest), headers={"If-Match": '"x"'}) as answer:
        assert answer.status == 412
    assert front.store.paths() == ["POST /v1/resolve"]


async def test_another_tenant_gets_the_answer_of_a_blob_that_is_not_there(front: Front) -> None:
    digest = await put(front, PNG)
    async with front.http.get(front.path(digest)) as answer:
        assert answer.status == 200
    told: list[tuple[int, str]] = []
    for name in (digest, Digest.of(b"unknown")):
        headers = {"Authorization": f"Bearer {BOB}"}
        async with front.http.get(front.path(name), headers=headers) as answer:
            told.append((answer.status, (await answer.text()).replace(name, "")))
    assert told[0] == told[1]
    assert told[0][0] == 404


async def test_pictures_come_from_the_cache(front: Front) -> None:
    digest = await put(front, PNG)
    async with front.http.get(f"{front.url}/admin/blobs/{digest}/picture") as answer:
        assert (answer.status, answer.content_type, await answer.read()) == (200, "image/png", PNG)
    async with front.http.get(f"{front.url}/admin/api/cache") as answer:
        told = json.loads(await answer.read())
    [entry] = told["entries"]
    assert (entry["digest"], entry["source"], entry["verified"]) == (digest, "disk", True)
    assert (told["totals"]["entries"], told["totals"]["misses"]) == (1, 1)
    async with front.http.get(f"{front.url}/admin") as answer:
        assert str(digest) in await answer.text()
    async with front.http.delete(f"{front.url}/admin/api/cache/{digest}") as answer:
        assert answer.status == 200
    async with front.http.delete(f"{front.url}/admin/api/cache/{digest}") as answer:
        assert answer.status == 404


async def test_the_stores_routes_pass_through(front: Front) -> None:
    async with front.http.post(f"{front.url}/v1/blobs", data=io.BytesIO(LARGE)) as answer:
        assert (answer.status, answer.headers["Location"]) == (201, f"/v1/blobs/{Digest.of(LARGE)}")
        digest = Digest((await answer.json())["digest"])
    async with front.http.put(front.path(Digest.of(PNG)), data=io.BytesIO(LARGE)) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            422,
            "digest_mismatch",
        )
    async with front.http.get(f"{front.url}/v1/blobs?limit=1") as answer:
        assert [blob["digest"] for blob in (await answer.json())["blobs"]] == [digest]
    async with front.http.post(
        f"{front.url}/v1/blobs/missing", json={"digests": [digest]}
    ) as answer:
        assert (await answer.json())["missing"] == []
    async with front.http.put(f"{front.path(digest)}/pin") as answer:
        assert (await answer.json())["pinned"] is True
    async with front.http.get(f"{front.path(digest)}/nothing") as answer:
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_a_chunked_upload_passes_through(front: Front) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(LARGE), 100_000):
            yield LARGE[start : start + 100_000]

    async with front.http.post(f"{front.url}/v1/blobs", data=chunks()) as answer:
        assert (await answer.json())["digest"] == Digest.of(LARGE)


async def test_the_clients_own_key_goes_on_and_nobody_elses(front: Front) -> None:
    seen: list[dict[str, str]] = []

    async def note(request: aioweb.Request) -> aioweb.StreamResponse:
        seen.append(dict(request.headers))
        return aioweb.json_response({"blobs": [], "next_cursor": None})

    front.store.before = note
    sent = {
        "Authorization": "Bearer sk-upstream",
        "Coatcheck-Key": ALICE,
        "Coatcheck-Tenant": "a",
        "Origin": front.url,
        "Cookie": "a=b",
    }
    async with front.http.get(f"{front.url}/v1/blobs", headers=sent) as answer:
        assert answer.status == 200
    [headers] = seen
    assert headers["Coatcheck-Key"] == ALICE
    assert not {"Authorization", "Coatcheck-Tenant", "Origin", "Cookie"} & set(headers)
    sent = {"Authorization": f"Bearer {KEY}", "Coatcheck-Tenant": "b"}
    async with front.http.get(f"{front.url}/v1/blobs", headers=sent) as answer:
        assert answer.status == 200
    assert seen[1]["Coatcheck-Tenant"] == "b"
    sent = {"Coatcheck-Tenant": "b"}
    async with front.http.get(f"{front.url}/v1/blobs", headers=sent) as answer:
        assert (answer.status, len(seen)) == (403, 2)


async def test_what_was_deleted_is_asked_for_at_once(front: Front) -> None:
    digest = await put(front, PNG)
    async with front.http.get(front.path(digest)) as answer:
        assert answer.status == 200
    async with front.http.delete(front.path(digest)) as answer:
        assert answer.status == 200
    async with front.http.get(front.path(digest)) as answer:
        assert answer.status == 404


async def test_a_copy_that_rots_is_fetched_during_the_turn_which_goes_on(
    front: Front, tmp_path: Path
) -> None:
    noise = random.Random(3).randbytes(1300 * 1200 * 3)
    file = io.BytesIO()
    Image.frombytes("RGB", (1300, 1200), noise).save(file, "PNG")
    digest = await put(front, file.getvalue())
    assert len(file.getvalue()) > PIECE_BYTES
    parts = [{"type": "image_url", "image_url": {"url": f"blob:{digest}"}}]
    body = {"model": "echo", "messages": [{"role": "user", "content": parts}]}
    said: list[str] = []
    for is_rotten in (False, True):
        if is_rotten:
            path = tmp_path / "cache" / "blobs" / digest.hex
            rotten = bytearray(path.read_bytes())
            rotten[PIECE_BYTES + 5] ^= 1
            path.write_bytes(rotten)
        async with front.http.post(f"{front.url}/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
            said.append((await answer.json())["choices"][0]["message"]["content"])
    assert said[0] == said[1]
    assert front.store.paths().count(f"GET /v1/blobs/{digest}") == 2
    assert front.remote.cache.counts.verification_failures == 1
    async with front.http.get(f"{front.url}/admin/api/cache") as answer:
        told = await answer.json()
    assert told["totals"]["healed"] == 1
    (heal,) = told["heals"]
    assert heal["digest"] == digest
    assert heal["fault"] == f"piece 1 of {digest} is damaged"


async def test_without_the_store_its_routes_are_unavailable(front: Front) -> None:
    await front.store.stop()
    async with front.http.get(f"{front.url}/v1/blobs") as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert (await answer.json(content_type=None))["code"] == "store_unavailable"
    async with front.http.get(f"{front.url}/readyz") as answer:
        told = await answer.json()
        assert (answer.status, told["status"]) == (200, "degraded")
        assert "goes on" in told["checks"]["store"]


async def test_a_store_that_hangs_makes_no_probe_wait(front: Front) -> None:
    front.store.before = forever
    async with front.http.get(f"{front.url}/readyz") as answer:
        assert (await answer.json())["status"] == "degraded"
    assert front.remote.cache.counts.misses == 0


async def test_the_store_decides_whether_a_body_is_asked_for(front: Front) -> None:
    digest, other = Digest.of(PNG), Digest.of(b"other")
    head = (
        f"PUT /v1/blobs/{digest} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Authorization: Bearer {ALICE}\r\nContent-Length: {len(PNG)}\r\n"
    )
    url = URL(front.url)
    for promised in (other, digest):
        reader, writer = await asyncio.open_connection(url.host, url.port)
        async with asyncio.timeout(10):
            field = f"Content-Digest: {format_digest_field(promised)}\r\n\r\n"
            writer.write((head + field).encode())
            if promised == other:
                answer = await reader.readuntil(b"nothing was read")
                assert answer.startswith(b"HTTP/1.1 422 ")
                assert b"Connection: close" in answer
            else:
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
                writer.write(PNG)
                assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 201 Created\r\n"
            writer.close()
            await writer.wait_closed()


async def test_dot_segments_are_not_passed_on(front: Front) -> None:
    front.store.seen.clear()
    for written in ("x/../../admin", "%2e%2e/x", "x/..%2f..%2fadmin"):
        url = URL(f"{front.url}/v1/blobs/{written}", encoded=True)
        async with front.http.get(url) as answer:
            assert (answer.status, (await answer.json())["code"]) == (400, "path_invalid")
    assert front.store.seen == []


async def test_requests_that_are_passed_on_are_told_that_the_store_is_away(front: Front) -> None:
    await front.store.stop()
    for _ in range(3):
        async with front.http.post(f"{front.url}/v1/blobs", data=PNG) as answer:
            told = await answer.json()
            assert (answer.status, told["code"]) == (503, "store_unavailable")
            assert "upstream" not in told["detail"]
            assert answer.headers["Retry-After"] == "1"


async def test_an_index_of_the_cache_that_fails_is_said(front: Front, tmp_path: Path) -> None:
    digest = await put(front, PNG)
    async with front.http.get(front.path(digest)) as answer:
        assert await answer.read() == PNG
    with closing(sqlite3.connect(tmp_path / "cache" / "cache.sqlite")) as index:
        index.execute("DROP TABLE copies")
        index.commit()
    for method, path in (("GET", ""), ("DELETE", f"/{digest}"), ("DELETE", "")):
        url = f"{front.url}/admin/api/cache{path}"
        async with front.http.request(method, url) as answer:
            told = await answer.json()
            assert (answer.status, told["code"]) == (503, "store_unavailable")
            assert "the cache's index failed" in told["detail"]
    async with front.http.get(f"{front.url}/admin") as answer:
        assert answer.status == 503


async def test_head_says_what_get_would(front: Front) -> None:
    digest = await put(front, PNG)
    async with front.http.get(front.path(digest)) as answer:
        assert answer.status == 200

    async def lie(request: aioweb.Request) -> aioweb.StreamResponse | None:
        return aioweb.Response(body=bytes(len(PNG))) if request.method == "GET" else None

    front.store.before = lie
    assert await front.remote.cache.evict(digest)
    for method in ("GET", "HEAD"):
        async with front.http.request(method, front.path(digest)) as answer:
            assert answer.status == 502
