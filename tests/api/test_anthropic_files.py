"""Anthropic's Files API as its SDK and as forged requests see it, on a real server.

The forged ones are as version 0.75 of the SDK sends them.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import anthropic
import pytest
from aiohttp import ClientSession, FormData

from coatcheck.protocol import is_file_id
from coatcheck.store import StoreConfig
from coatcheck.web import Principal, Server

Serve = Callable[..., Awaitable[Server]]
DATA = os.urandom(300_001)
UNKNOWN = "file-cc" + "a" * 24
OLD = {"anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}


@pytest.fixture
async def ai(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as client:
        yield client


def form(data: bytes = DATA, fields: dict[str, str] | None = None, *, is_first: bool = True) -> Any:
    made = FormData()
    for name, value in (fields or {}).items() if is_first else ():
        made.add_field(name, value)
    made.add_field("file", data, filename="cat.bin", content_type="application/x-cat")
    for name, value in (fields or {}).items() if not is_first else ():
        made.add_field(name, value)
    return made


async def post(http: ClientSession, url: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with http.post(f"{url}/v1/files?beta=true", data=body, headers=OLD | headers) as answer:
        return answer.status, await answer.json()


async def page(http: ClientSession, url: str, query: str) -> Any:
    async with http.get(f"{url}/v1/files?beta=true&{query}", headers=OLD) as answer:
        assert answer.status == 200
        return await answer.json()


@pytest.mark.parametrize("is_beta", [False, True])
async def test_a_file_is_created_described_read_and_deleted(
    ai: anthropic.AsyncAnthropic, *, is_beta: bool
) -> None:
    files: Any = ai.beta.files if is_beta else ai.files
    file = await files.upload(file=("cat.png", DATA, "application/x-cat"))
    assert is_file_id(file.id)
    assert (file.type, file.filename, file.mime_type) == ("file", "cat.png", "application/x-cat")
    assert (file.size_bytes, file.downloadable) == (len(DATA), True)
    assert file.created_at.tzinfo is not None
    assert await files.retrieve_metadata(file.id) == file
    content = await files.download(file.id)
    assert await content.read() == DATA
    gone = await files.delete(file.id)
    assert (gone.id, gone.type) == (file.id, "file_deleted")
    for ask in (files.retrieve_metadata, files.download, files.delete):
        with pytest.raises(anthropic.NotFoundError) as caught:
            await ask(file.id)
        body: Any = caught.value.body
        assert body["error"]["type"] == "not_found_error"
        assert body["error"]["details"]["error_code"] == "file_not_found"
        assert body["error"]["details"]["missing"] == [{"file_id": file.id}]
        assert caught.value.response.headers["x-should-retry"] == "false"


async def test_the_older_generation_is_understood(url: str, http: ClientSession) -> None:
    status, file = await post(http, url, form())
    assert status == 200
    assert (file["mime_type"], file["size_bytes"]) == ("application/x-cat", len(DATA))
    assert file["expires_at"] is None
    async with http.get(f"{url}/v1/files/{file['id']}/content?beta=true", headers=OLD) as answer:
        assert await answer.read() == DATA
        assert answer.headers["Content-Disposition"] == 'attachment; filename="cat.bin"'
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    async with http.delete(f"{url}/v1/files/{file['id']}?beta=true", headers=OLD) as answer:
        assert await answer.json() == {"id": file["id"], "type": "file_deleted"}


async def test_lists_go_page_by_page_both_ways(
    ai: anthropic.AsyncAnthropic, url: str, http: ClientSession
) -> None:
    made = [await ai.files.upload(file=(f"{n}", b"%d" % n)) for n in range(7)]
    ids = [file.id for file in made][::-1]
    assert [file.id async for file in ai.files.list(limit=3)] == ids
    first = await page(http, url, "limit=3")
    assert set(first) == {"data", "has_more", "first_id", "last_id", "next_page"}
    assert [file["id"] for file in first["data"]] == ids[:3]
    assert (first["has_more"], first["first_id"], first["last_id"]) == (True, ids[0], ids[2])
    assert first["next_page"].startswith("page_")
    last = await page(http, url, f"limit=3&after_id={ids[5]}")
    assert ([f["id"] for f in last["data"]], last["has_more"]) == (ids[6:], False)
    assert last["next_page"] is None
    before = await page(http, url, f"limit=3&before_id={ids[5]}")
    assert ([f["id"] for f in before["data"]], before["has_more"]) == (ids[2:5], True)
    start = await page(http, url, f"limit=3&before_id={before['first_id']}")
    assert ([f["id"] for f in start["data"]], start["has_more"]) == (ids[:2], False)


async def test_an_empty_list_is_one(url: str, http: ClientSession) -> None:
    empty: Any = {
        "data": [],
        "has_more": False,
        "first_id": None,
        "last_id": None,
        "next_page": None,
    }
    assert await page(http, url, "limit=1000") == empty


async def test_files_are_listed_by_their_ids(ai: anthropic.AsyncAnthropic) -> None:
    made = [(await ai.files.upload(file=(f"{n}", b"x"))).id for n in range(3)]
    listed = await ai.files.list(ids=[made[2], UNKNOWN, "file_theirs", made[0], made[2]])
    assert [file.id for file in listed.data] == [made[2], made[0]]
    assert listed.next_page is None
    with pytest.raises(anthropic.BadRequestError):
        await ai.files.list(ids=[f"file_{n}" for n in range(101)])


async def test_a_list_out_of_bounds_is_refused(url: str, http: ClientSession) -> None:
    cases = [
        ("limit=1001", "limit_invalid"),
        ("limit=0", "limit_invalid"),
        (f"after_id={UNKNOWN}", "cursor_invalid"),
        (f"before_id={UNKNOWN}", "cursor_invalid"),
        ("after_id=", "cursor_invalid"),
        ("page=page_", "cursor_invalid"),
        ("page=page_zzz", "cursor_invalid"),
        ("page=zzz", "cursor_invalid"),
    ]
    for query, code in cases:
        async with http.get(f"{url}/v1/files?{query}", headers=OLD) as answer:
            body = await answer.json()
        assert (answer.status, body["type"]) == (400, "error")
        assert body["error"]["type"] == "invalid_request_error"
        assert body["error"]["details"]["error_code"] == code
        assert answer.headers["x-should-retry"] == "false"


async def test_a_file_that_has_expired_is_as_if_it_had_never_been(serve_store: Serve) -> None:
    now = 1_000_000.5
    server = await serve_store(StoreConfig(data_folder=None), clock=lambda: now)
    async with anthropic.AsyncAnthropic(base_url=server.address.url, api_key="none") as ai:
        file = await ai.files.upload(file=("a", b"x"), expires_in_seconds=7_776_000)
        assert file.expires_at is not None
        assert (file.expires_at - file.created_at).total_seconds() == 7_776_000
        assert file.created_at.timestamp() == now
        now += 7_776_000 - 1
        assert (await ai.files.retrieve_metadata(file.id)).id == file.id
        now += 1
        for ask in (ai.files.retrieve_metadata, ai.files.download, ai.files.delete):
            with pytest.raises(anthropic.NotFoundError) as caught:
                await ask(file.id)
            body: Any = caught.value.body
            assert body["error"]["details"]["error_code"] == "file_not_found"
        assert (await ai.files.list()).data == []


async def test_a_lifetime_out_of_bounds_is_refused_and_nothing_kept(
    url: str, http: ClientSession
) -> None:
    for seconds in ("3599", "7776001", "", "0", "-1", "1e4", "null"):
        for is_first in (True, False):
            body = form(fields={"expires_in_seconds": seconds}, is_first=is_first)
            status, answer = await post(http, url, body)
            assert status == 400
            assert answer["error"]["details"]["error_code"] == "expires_in_seconds_invalid"
    async with http.get(f"{url}/admin/api/stats") as stats:
        assert (await stats.json())["blobs"] == 0


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_lifetime_may_stand_before_the_file_or_behind_it(
    url: str, http: ClientSession, *, is_first: bool
) -> None:
    fields = {"expires_in_seconds": "3600"}
    status, file = await post(http, url, form(fields=fields, is_first=is_first))
    assert status == 200
    assert file["expires_at"] > file["created_at"]


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"", {}, "form_malformed"),
        (b"{}", {"Content-Type": "application/json"}, "form_malformed"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=a"}, "form_malformed"),
        (form(b""), {}, "body_empty"),
    ],
)
async def test_what_holds_no_file_is_refused(
    url: str, http: ClientSession, body: Any, headers: dict[str, str], code: str
) -> None:
    status, answer = await post(http, url, body, **headers)
    assert (status, answer["error"]["details"]["error_code"]) == (400, code)


async def test_a_file_without_a_name_gets_one(url: str, http: ClientSession) -> None:
    made = FormData()
    made.add_field("file", b"\x89PNG\r\n\x1a\n", filename="", content_type="image/png")
    _, file = await post(http, url, made)
    assert file["filename"] == "unnamed.png"


class Keys:
    """Knows a key for each tenant."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        tenant = (secret or "").removeprefix("cck_")
        return Principal(tenant, frozenset(["read", "write"])) if tenant else None


@pytest.mark.parametrize("place", ["bearer", "x-api-key"])
async def test_each_tenant_has_its_files_alone(serve_store: Serve, place: str) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url

    def client(key: str) -> anthropic.AsyncAnthropic:
        if place == "bearer":
            return anthropic.AsyncAnthropic(base_url=url, api_key=key)
        headers: Any = {"Authorization": anthropic.omit, "x-api-key": key}
        return anthropic.AsyncAnthropic(base_url=url, api_key="-", default_headers=headers)

    async with client("cck_a") as a, client("cck_b") as b:
        file = await a.files.upload(file=("a", b"x"))
        assert [found.id async for found in a.files.list()] == [file.id]
        assert (await b.files.list()).data == []
        assert (await b.files.list(ids=[file.id])).data == []
        told: list[Any] = []
        for file_id in (file.id, UNKNOWN):
            for ask in (b.files.retrieve_metadata, b.files.download, b.files.delete):
                with pytest.raises(anthropic.NotFoundError) as caught:
                    await ask(file_id)
                told.append(str(caught.value.body).replace(file_id, "ID"))
        assert told[:3] == told[3:]
    async with anthropic.AsyncAnthropic(base_url=url, api_key="none") as nobody:
        with pytest.raises(anthropic.AuthenticationError):
            await nobody.files.list()
