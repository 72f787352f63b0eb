"""OpenAI's Files API as its SDK and as forged requests see it, on a real server."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai
import pytest
from aiohttp import ClientSession

from coatcheck.api import face
from coatcheck.protocol import Digest, is_file_id
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Principal, Server, build_app, join_faces

Serve = Callable[..., Awaitable[Server]]
DATA = os.urandom(300_001)
BOUNDARY = "0123456789abcdef"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
UNKNOWN = "file-cc" + "a" * 24


def part(name: str, value: bytes, filename: str | None = None, media_type: str = "") -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    typed = f"\r\nContent-Type: {media_type}" if media_type else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}{typed}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FILE = part("file", DATA, "cat.bin", "application/x-cat")
PURPOSE = part("purpose", b"user_data")


@pytest.fixture
async def ai(url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


async def post(http: ClientSession, url: str, body: Any, **headers: str) -> tuple[int, Any]:
    async with http.post(f"{url}/v1/files", data=body, headers=FORM | headers) as answer:
        return answer.status, await answer.json()


async def refused(http: ClientSession, url: str, body: Any, **headers: str) -> tuple[int, str, str]:
    async with http.post(f"{url}/v1/files", data=body, headers=FORM | headers) as answer:
        assert answer.headers["x-should-retry"] == "false"
        error = (await answer.json())["error"]
        assert error["type"] == "invalid_request_error"
        assert error["message"]
        return answer.status, error["code"], error["param"]


async def test_a_file_is_created_described_read_and_deleted(ai: openai.AsyncOpenAI) -> None:
    file = await ai.files.create(file=("cat.bin", DATA), purpose="user_data")
    assert is_file_id(file.id)
    assert (file.object, file.bytes, file.filename) == ("file", len(DATA), "cat.bin")
    assert (file.purpose, file.status, file.expires_at) == ("user_data", "processed", None)
    assert await ai.files.retrieve(file.id) == file
    content = await ai.files.content(file.id)
    assert content.content == DATA
    gone = await ai.files.delete(file.id)
    assert (gone.id, gone.object, gone.deleted) == (file.id, "file", True)
    for ask in (ai.files.retrieve, ai.files.content, ai.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            await ask(file.id)
        assert caught.value.code == "file_not_found"
        assert caught.value.response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("order", [(PURPOSE, FILE), (FILE, PURPOSE)])
async def test_the_fields_may_stand_before_the_file_or_behind_it(
    url: str, http: ClientSession, order: tuple[bytes, bytes]
) -> None:
    status, file = await post(http, url, form(*order))
    assert (status, file["bytes"], file["purpose"]) == (200, len(DATA), "user_data")
    async with http.get(f"{url}/v1/files/{file['id']}/content") as answer:
        assert await answer.read() == DATA
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"
        assert answer.headers["Content-Disposition"] == 'attachment; filename="cat.bin"'
        assert answer.headers["Coatcheck-Media-Type"] == "application/x-cat"
        assert answer.headers["ETag"] == f'"{Digest.of(DATA)}"'
    ranged = {"Range": "bytes=10-19"}
    async with http.get(f"{url}/v1/files/{file['id']}/content", headers=ranged) as answer:
        assert (answer.status, await answer.read()) == (206, DATA[10:20])
    async with http.head(f"{url}/v1/files/{file['id']}/content") as answer:
        assert (answer.status, answer.content_length) == (200, len(DATA))


async def test_lists_go_page_by_page_in_both_orders(ai: openai.AsyncOpenAI) -> None:
    made = [
        await ai.files.create(file=(f"{n}", b"%d" % n), purpose="vision" if n % 2 else "user_data")
        for n in range(7)
    ]
    ids = [file.id for file in made]
    assert [file.id async for file in ai.files.list(limit=3)] == ids[::-1]
    assert [file.id async for file in ai.files.list(limit=2, order="asc")] == ids
    assert [f.id async for f in ai.files.list(purpose="vision", order="asc")] == ids[1::2]
    page = await ai.files.list(limit=3, order="asc", after=ids[1])
    assert ([file.id for file in page.data], page.has_more) == (ids[2:5], True)
    assert page.model_extra == {"object": "list", "first_id": ids[2], "last_id": ids[4]}
    last = await ai.files.list(limit=3, order="asc", after=ids[3])
    assert ([file.id for file in last.data], last.has_more) == (ids[4:], False)


async def test_a_long_list_is_whole(http: ClientSession) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"

    async with await Store.open(StoreConfig(data_folder=None)) as store:
        digest = (await store.receive("default", body())).grant.digest
        made = [await store.files.create("default", digest) for _ in range(501)]
        server = Server(build_app(join_faces([face(store)], title="Coatcheck", version="1")))
        url = f"{(await server.start()).url}/v1/files"
        for query, count, has_more in [("", 501, False), ("?limit=500", 500, True)]:
            async with http.get(url + query) as answer:
                page = await answer.json()
            ids = [file.id for file in reversed(made)][:count]
            assert ([file["id"] for file in page["data"]], page["has_more"]) == (ids, has_more)
        await server.stop(0)


async def test_an_empty_list_is_one(ai: openai.AsyncOpenAI) -> None:
    page = await ai.files.list()
    assert (page.data, page.has_more) == ([], False)


WRONG_QUERIES = [
    ("limit=10001", "limit_invalid", None),
    ("limit=0", "limit_invalid", None),
    ("order=newest", "order_invalid", "order"),
    (f"after={UNKNOWN}", "cursor_invalid", "after"),
    ("after=file-theirs", "cursor_invalid", "after"),
    ("after=", "cursor_invalid", "after"),
    ("purpose=batch", "purpose_unsupported", "purpose"),
]


async def test_a_list_out_of_bounds_is_refused(url: str, http: ClientSession) -> None:
    for query, code, param in WRONG_QUERIES:
        async with http.get(f"{url}/v1/files?{query}") as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"], error["param"]) == (400, code, param)
            assert answer.headers["x-should-retry"] == "false"


async def test_a_file_that_has_expired_is_as_if_it_had_never_been(
    serve_store: Serve, http: ClientSession
) -> None:
    now = 1_000_000.5
    server = await serve_store(StoreConfig(data_folder=None), clock=lambda: now)
    async with openai.AsyncOpenAI(base_url=f"{server.address.url}/v1", api_key="none") as ai:
        terms: Any = {"anchor": "created_at", "seconds": 3600}
        file = await ai.files.create(file=b"x", purpose="user_data", expires_after=terms)
        assert (file.created_at, file.expires_at) == (1_000_000, 1_003_600)
        now += 3599
        assert (await ai.files.retrieve(file.id)).id == file.id
        now += 2
        with pytest.raises(openai.NotFoundError):
            await ai.files.retrieve(file.id)
        with pytest.raises(openai.NotFoundError):
            await ai.files.content(file.id)
        assert (await ai.files.list()).data == []


ANCHOR = part("expires_after[anchor]", b"created_at")


def seconds(text: str) -> bytes:
    return part("expires_after[seconds]", text.encode())


WRONG_FIELDS: list[tuple[list[bytes], str, str]] = [
    ([], "purpose_missing", "purpose"),
    ([part("purpose", b"")], "purpose_missing", "purpose"),
    ([part("purpose", b"batch")], "purpose_unsupported", "purpose"),
    ([part("purpose", b"\xff\x00")], "purpose_unsupported", "purpose"),
    ([PURPOSE, PURPOSE], "form_field_repeated", "purpose"),
    ([PURPOSE, ANCHOR], "expires_after_invalid", "expires_after[seconds]"),
    ([PURPOSE, seconds("3600")], "expires_after_invalid", "expires_after[anchor]"),
    ([PURPOSE, ANCHOR, seconds("3599")], "expires_after_invalid", "expires_after[seconds]"),
    ([PURPOSE, ANCHOR, seconds("2592001")], "expires_after_invalid", "expires_after[seconds]"),
    ([PURPOSE, ANCHOR, seconds("1e4")], "expires_after_invalid", "expires_after[seconds]"),
    (
        [PURPOSE, part("expires_after[anchor]", b"now"), seconds("3600")],
        "expires_after_invalid",
        "expires_after[anchor]",
    ),
]


async def test_a_form_that_says_something_wrong_leaves_nothing(
    url: str, http: ClientSession
) -> None:
    for fields, code, param in WRONG_FIELDS:
        for body in (form(*fields, FILE), form(FILE, *fields)):
            assert await refused(http, url, body) == (400, code, param), fields
    async with http.get(f"{url}/admin/api/stats") as answer:
        assert (await answer.json())["blobs"] == 0


WRONG_BODIES = [
    (form(PURPOSE), 400, "form_without_file"),
    (form(PURPOSE, FILE, FILE), 400, "form_with_files"),
    (form(PURPOSE, part("file", b"")), 400, "body_empty"),
    (form(part("purpose", b"u" * 70_000), FILE), 413, "form_overhead_too_large"),
    (form(FILE, part("purpose", b"u" * 70_000)), 413, "form_overhead_too_large"),
    (form(PURPOSE, FILE)[:-30], 400, "form_malformed"),
    (form(FILE, PURPOSE)[:-30], 400, "form_malformed"),
    (b"--other\r\n", 400, "form_malformed"),
    (b"", 400, "form_malformed"),
    (form(*[part(f"f{n}", b"") for n in range(40)]), 400, "form_malformed"),
]


async def test_a_form_that_is_none_is_refused(url: str, http: ClientSession) -> None:
    for body, status, code in WRONG_BODIES:
        assert (await refused(http, url, body))[:2] == (status, code)


WRONG_HEADERS: list[tuple[dict[str, str], int, str]] = [
    ({"Content-Type": "multipart/form-data"}, 400, "form_malformed"),
    ({"Content-Type": 'multipart/form-data; boundary="a\tb"'}, 400, "form_malformed"),
    ({"Content-Type": "application/json"}, 400, "form_malformed"),
    ({"Content-Encoding": "gzip"}, 415, "content_encoding_unsupported"),
]


async def test_what_is_no_form_is_refused(url: str, http: ClientSession) -> None:
    for headers, status, code in WRONG_HEADERS:
        found = await refused(http, url, form(PURPOSE, FILE), **headers)
        assert found[:2] == (status, code)


async def test_a_file_over_the_bound_is_refused_in_both_orders(
    serve_store: Serve, http: ClientSession
) -> None:
    config = StoreConfig(data_folder=None, max_blob_bytes=len(DATA) - 1)
    url = (await serve_store(config)).address.url
    for body in (form(PURPOSE, FILE), form(FILE, PURPOSE)):
        assert (await refused(http, url, body))[:2] == (413, "blob_too_large")


async def test_a_body_that_is_cut_leaves_nothing(
    server: Server, http: ClientSession, url: str
) -> None:
    body = form(FILE, PURPOSE)
    for length in (10, 200_000, len(body) - 5):
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        head = f"POST /v1/files HTTP/1.1\r\nHost: {server.address.host}\r\n"
        head += f"Content-Type: {FORM['Content-Type']}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[:length])
        writer.write_eof()
        answer = await reader.read()
        assert answer == b"" or b" 400 " in answer.split(b"\r\n")[0]
        writer.close()
    async with http.get(f"{url}/admin/api/stats") as stats:
        assert (await stats.json())["blobs"] == 0


@pytest.mark.parametrize(
    ("sent", "kept", "disposition"),
    [
        ("../../etc/passwd", "passwd", 'attachment; filename="passwd"'),
        ("C:\\temp\\a b.png", "a b.png", 'attachment; filename="a b.png"'),
        ("ä;x.txt", "ä;x.txt", "attachment; filename=\"__x.txt\"; filename*=UTF-8''%C3%A4%3Bx.txt"),
        ("x" * 300, "x" * 255, f'attachment; filename="{"x" * 255}"'),
        ("..", "file", 'attachment; filename="file"'),
        ("a\u202egnp.exe", "agnp.exe", 'attachment; filename="agnp.exe"'),
        ("", "file", 'attachment; filename="file"'),
    ],
)
async def test_names_are_kept_harmless(
    url: str, http: ClientSession, sent: str, kept: str, disposition: str
) -> None:
    escaped = sent.replace("\\", "\\\\")
    _, file = await post(http, url, form(PURPOSE, part("file", b"x", escaped)))
    assert file["filename"] == kept
    async with http.get(f"{url}/v1/files/{file['id']}/content") as answer:
        assert answer.headers["Content-Disposition"] == disposition


class Keys:
    """Knows a key for each tenant: its own name, perhaps with a scope."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        tenant, _, scope = (secret or "").partition(":")
        scopes: Any = frozenset([scope] if scope else ["read", "write"])
        return Principal(tenant, scopes) if tenant else None


async def test_another_tenants_file_is_answered_like_one_that_nobody_has(
    serve_store: Serve, http: ClientSession
) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url
    _, file = await post(http, url, form(PURPOSE, FILE), **{"Coatcheck-Key": "a"})
    answers: list[Any] = []
    for file_id in (file["id"], UNKNOWN):
        for method, path in [("GET", ""), ("GET", "/content"), ("DELETE", "")]:
            target = f"{url}/v1/files/{file_id}{path}"
            async with http.request(method, target, headers={"Coatcheck-Key": "b"}) as answer:
                text = (await answer.text()).replace(file_id, "ID")
                kept = {
                    k: v for k, v in answer.headers.items() if k not in ("Date", "X-Request-Id")
                }
                answers.append((answer.status, text, {**kept, "x-request-id": ""}))
    assert answers[:3] == answers[3:]
    assert answers[0][0] == 404
    async with http.get(f"{url}/v1/files", headers={"Coatcheck-Key": "b"}) as listed:
        assert (await listed.json())["data"] == []
    async with http.get(f"{url}/v1/files", headers={"Coatcheck-Key": "a"}) as listed:
        assert [entry["id"] for entry in (await listed.json())["data"]] == [file["id"]]


def openai_code(body: Any) -> str:
    return str(body["error"]["code"])


def anthropic_code(body: Any) -> str:
    assert body["type"] == "error"
    return str(body["error"]["details"]["error_code"])


def gemini_code(body: Any) -> str:
    return str(body["error"]["details"][0]["code"])


@pytest.mark.parametrize(
    ("headers", "shape"),
    [
        ({}, openai_code),
        ({"anthropic-version": "2023-06-01"}, anthropic_code),
        ({"x-goog-api-key": "x"}, gemini_code),
    ],
)
async def test_each_provider_is_refused_in_its_own_shape(
    serve_store: Serve,
    http: ClientSession,
    headers: dict[str, str],
    shape: Callable[[Any], str],
) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url
    for method, path in [("POST", ""), ("GET", ""), ("GET", f"/{UNKNOWN}")]:
        sent = headers | {"Coatcheck-Key": "a:admin"}
        async with http.request(method, f"{url}/v1/files{path}", headers=sent) as answer:
            assert answer.status == 403
            assert shape(await answer.json()) == "scope_missing"


async def test_a_path_that_takes_another_method_says_so_as_the_client_reads_it(
    url: str, http: ClientSession
) -> None:
    async with http.put(f"{url}/v1/files/{UNKNOWN}") as answer:
        assert answer.status == 405
        assert (await answer.json())["error"]["code"] == "method_not_allowed"
