"""The store's contributions: pages, document, readiness, and the table of errors."""

import inspect
import io
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession
from PIL import Image

from coatcheck import store as store_folder
from coatcheck.api import readiness, routes, store_problem
from coatcheck.protocol import Digest
from coatcheck.store import (
    BlobNotFoundError,
    CorruptBlobError,
    SizeMismatchError,
    Store,
    StoreClosedError,
    StoreConfig,
    StoreError,
    StoreUnavailableError,
)
from coatcheck.web import Principal, Server

Serve = Callable[..., Awaitable[Server]]
DIGEST = Digest.of(b"x")
# Raised where no request is being answered, or answered by another face.
NOT_OF_BLOBS = {"SchemaError", "FolderInUseError", "KeyNotFoundError"} | {
    "ImageRefusedError",
    "ImageWorkerCrashedError",
    "ImageWorkerLostError",
    "ImageWorkersBusyError",
}


def test_every_error_that_a_request_can_cause_has_a_row() -> None:
    for name, kind in inspect.getmembers(store_folder, inspect.isclass):
        if issubclass(kind, StoreError) and kind is not StoreError and name not in NOT_OF_BLOBS:
            error = kind.__new__(kind)
            vars(error).update(
                digest=DIGEST,
                expected=1,
                actual=2,
                limit_bytes=3,
                used_bytes=4,
                quota_bytes=5,
                file_id="f",
            )
            vars(error).update(offset=6, length=7, limit=8)
            assert store_problem(error) is not None, name
    assert store_problem(StoreError()) is None


def test_a_corrupt_blob_is_answered_like_an_unknown_one() -> None:
    corrupt, unknown = (
        store_problem(error) for error in (CorruptBlobError(DIGEST), BlobNotFoundError(DIGEST))
    )
    assert corrupt is not None
    assert unknown is not None
    assert (
        (corrupt.status, corrupt.code) == (unknown.status, unknown.code) == (404, "blob_not_found")
    )


def test_only_what_can_pass_is_worth_a_resend() -> None:
    unavailable = store_problem(StoreUnavailableError("the disk failed"))
    assert unavailable is not None
    assert (unavailable.status, unavailable.retryable) == (503, True)
    mismatch = store_problem(SizeMismatchError(1, 2))
    assert mismatch is not None
    assert (mismatch.retryable, mismatch.extensions) == (False, {"expected": 1, "actual": 2})
    closed = store_problem(StoreClosedError())
    assert closed is not None
    assert closed.status == 503


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (30, 20), "teal").save(out, "PNG")
    return out.getvalue()


async def test_the_admin_page_shows_the_pictures(server: Server, http: ClientSession) -> None:
    url = server.address.url
    async with http.get(f"{url}/admin") as answer:
        assert "No blob yet" in await answer.text()
    async with http.post(f"{url}/v1/blobs", data=picture()) as answer:
        digest = (await answer.json())["digest"]
    headers = {"Content-Type": "text/x-script-alert"}
    async with http.post(f"{url}/v1/blobs", data=b"<script>", headers=headers) as answer:
        assert answer.status == 201
    async with http.get(f"{url}/admin") as answer:
        page = await answer.text()
        assert answer.status == 200
    assert f'src="/admin/blobs/{digest}/picture"' in page
    assert "/v1/blobs" not in page
    assert "30 x 20" in page
    assert page.count("<img") == 1
    assert "<script" not in page


async def test_looking_at_the_page_keeps_no_blob(serve_store: Serve, http: ClientSession) -> None:
    now = 1_000_000.0
    server = await serve_store(StoreConfig(data_folder=None), clock=lambda: now)
    url = server.address.url
    async with http.post(f"{url}/v1/blobs", data=picture()) as answer:
        digest = (await answer.json())["digest"]

    async def lease() -> int:
        async with http.get(f"{url}/admin/api/blobs") as answer:
            return int((await answer.json())["blobs"][0]["lease_expires_at"])

    ends = await lease()
    now = ends - 60.0
    for headers, status in [({}, 200), ({"Range": "bytes=1-2"}, 206)]:
        async with http.get(f"{url}/admin/blobs/{digest}/picture", headers=headers) as answer:
            assert (answer.status, answer.content_type) == (status, "image/png")
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
            assert await answer.read() == (picture() if status == 200 else picture()[1:3])
    assert await lease() == ends
    async with http.get(f"{url}/v1/blobs/{digest}") as answer:
        assert answer.status == 200
    assert await lease() > ends


class Keys:
    """Knows a key for each scope: its own name."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        match secret:
            case "read" | "admin" as scope:
                return Principal("acme", frozenset([scope]))
            case _:
                return None


@pytest.mark.parametrize(("key", "status"), [("", 401), ("read", 403), ("admin", 200)])
async def test_the_operators_routes_are_for_keys_that_may_administer(
    serve_store: Serve, http: ClientSession, key: str, status: int
) -> None:
    server = await serve_store(StoreConfig(data_folder=None), keyring=Keys())
    headers = {"Coatcheck-Key": key}
    for path in ("/admin", "/admin/api/stats", "/admin/api/blobs"):
        async with http.get(server.address.url + path, headers=headers) as answer:
            assert answer.status == status
    shown = f"{server.address.url}/admin/blobs/{DIGEST}/picture"
    async with http.get(shown, headers=headers) as answer:
        assert answer.status == (404 if status == 200 else status)


async def test_the_numbers_are_served(server: Server, http: ClientSession) -> None:
    url = server.address.url
    async with http.post(f"{url}/v1/blobs", data=b"12345") as answer:
        assert answer.status == 201
    async with http.get(f"{url}/admin/api/stats") as answer:
        stats = await answer.json()
    assert (stats["blobs"], stats["blob_bytes"], stats["grants"]) == (1, 5, 1)
    assert stats["disk_free_bytes"] > 0
    async with http.get(f"{url}/admin/api/blobs") as answer:
        page = await answer.json()
    assert [blob["size"] for blob in page["blobs"]] == [5]
    assert page["next_cursor"] is None


async def test_every_route_is_in_the_document(server: Server, http: ClientSession) -> None:
    async with http.get(f"{server.address.url}/openapi.json") as answer:
        document = await answer.json()
    async with await Store.open(StoreConfig(data_folder=None)) as store:
        for route in routes(store):
            if route.method != "*":
                assert route.method.lower() in document["paths"][route.path], route.path
    for schema in ("Descriptor", "BlobPage", "MissingRequest", "Released", "StatsAnswer"):
        assert schema in document["components"]["schemas"]


async def test_a_store_that_works_is_ready_and_a_closed_one_is_not(
    server: Server, http: ClientSession
) -> None:
    async with http.get(f"{server.address.url}/readyz") as answer:
        assert await answer.json() == {"status": "ready", "checks": {"store": "ok"}}
    store = await Store.open(StoreConfig(data_folder=None))
    await store.close()
    assert await readiness(store).check() == "the store is closed"


async def test_a_store_whose_disk_is_gone_is_not_ready(
    disk_server: Server, http: ClientSession, tmp_path: Path
) -> None:
    url = f"{disk_server.address.url}/readyz"
    elsewhere = (tmp_path / "data").rename(tmp_path / "elsewhere")
    try:
        async with http.get(url) as answer:
            text = await answer.text()
            assert answer.status == 503
    finally:
        elsewhere.rename(tmp_path / "data")
    assert str(tmp_path) not in text
    async with http.get(url) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/healthz", "/admin", "/openapi.json", "/admin/api/stats"])
async def test_pages_refuse_other_methods(server: Server, http: ClientSession, path: str) -> None:
    async with http.delete(f"{server.address.url}{path}") as answer:
        assert answer.status == 405
