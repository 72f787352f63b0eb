"""Gemini's Files API as its SDK and as forged requests see it, on a real server."""

import base64
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiohttp import ClientSession
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from coatcheck.protocol import Digest, is_file_id
from coatcheck.store import StoreConfig
from coatcheck.web import Principal, Server

# The SDK makes a class of aiohttp's.
pytestmark = pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession")
Serve = Callable[..., Awaitable[Server]]
DATA = os.urandom(300_001)
UNKNOWN = "file-cc" + "a" * 24
ID = "0" * 32
GEMINI = {"x-goog-api-key": "none"}
START = GEMINI | {"X-Goog-Upload-Protocol": "resumable", "X-Goog-Upload-Command": "start"}


def client(url: str, key: str = "none", version: str = "v1") -> genai.Client:
    options = genai_types.HttpOptions(base_url=url, api_version=version)
    return genai.Client(api_key=key, http_options=options)


@pytest.fixture
async def ai(url: str) -> AsyncIterator[Any]:
    """The files of the SDK's own client."""
    async with client(url).aio as made:
        yield made.files


async def start(http: ClientSession, url: str, body: bytes = b"", **headers: str) -> str:
    """Begin an upload; return the URL at which it goes on."""
    async with http.post(
        f"{url}/upload/v1beta/files", data=body, headers=START | headers
    ) as answer:
        assert (answer.status, answer.headers["x-goog-upload-status"]) == (200, "active")
        return answer.headers["x-goog-upload-url"]


async def send(
    http: ClientSession, url: str, command: str, offset: int | None = None, data: bytes = b""
) -> tuple[int, Mapping[str, str], Any]:
    """Go on with an upload, without a key."""
    headers = {"X-Goog-Upload-Command": command}
    if offset is not None:
        headers["X-Goog-Upload-Offset"] = str(offset)
    async with http.post(url, data=data, headers=headers) as answer:
        return answer.status, answer.headers, await answer.json(content_type=None)


def details_of(caught: pytest.ExceptionInfo[genai_errors.ClientError]) -> Any:
    return vars(caught.value)["details"]  # of no type in the SDK


def code_of(body: Any) -> str:
    assert set(body["error"]) == {"code", "message", "status", "details"}
    return str(body["error"]["details"][0]["code"])


async def refused(http: ClientSession, url: str, *sent: Any) -> tuple[int, str]:
    status, headers, body = await send(http, url, *sent)
    assert headers["x-goog-upload-status"] == "final"  # or Google's SDKs send it again
    assert headers["x-should-retry"] == "false"
    return status, code_of(body)


@pytest.mark.parametrize("version", ["v1", "v1beta", "v1alpha"])
async def test_a_file_is_created_described_read_and_deleted(url: str, version: str) -> None:
    async with client(url, version=version).aio as made:
        ai = made.files
        config = genai_types.UploadFileConfig(
            mime_type="application/x-cat", display_name="Q1/Q2: a cät"
        )
        file = await ai.upload(file=io.BytesIO(DATA), config=config)
        assert file.name is not None
        assert is_file_id(file.name.removeprefix("files/"))
        assert (file.display_name, file.mime_type) == ("Q1/Q2: a cät", "application/x-cat")
        assert (file.size_bytes, file.state) == (len(DATA), genai_types.FileState.ACTIVE)
        assert file.source == genai_types.FileSource.UPLOADED
        assert file.sha256_hash is not None
        assert base64.b64decode(file.sha256_hash).decode() == Digest.of(DATA).hex
        assert file.create_time is not None
        assert file.expiration_time is not None
        assert (file.expiration_time - file.create_time).total_seconds() == 48 * 3600
        assert file.uri == f"{url}/v1beta/{file.name}"
        assert await ai.get(name=file.name) == file
        assert (await ai.get(name=file.name.removeprefix("files/"))).name == file.name
        assert await ai.download(file=file) == DATA
        await ai.delete(name=file.name)
        for ask in (ai.get, ai.delete):
            with pytest.raises(genai_errors.ClientError) as caught:
                await ask(name=file.name)
            assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
            assert code_of(details_of(caught)) == "file_not_found"
        with pytest.raises(genai_errors.ClientError):
            await ai.download(file=file)


async def test_lists_go_page_by_page(ai: Any, url: str, http: ClientSession) -> None:
    config = genai_types.UploadFileConfig(mime_type="text/plain")
    made = [(await ai.upload(file=io.BytesIO(b"%d" % n), config=config)).name for n in range(7)]
    for size in (3, 100, 1000):
        pages = await ai.list(config={"page_size": size})
        assert [file.name async for file in pages] == made[::-1]
    async with http.get(f"{url}/v1/files?pageSize=3", headers=GEMINI) as answer:
        first = await answer.json()
    assert ([f["name"] for f in first["files"]], set(first)) == (
        made[:3:-1],
        {"files", "nextPageToken"},
    )
    assert isinstance(first["files"][0]["sizeBytes"], str)
    async with http.get(f"{url}/v1beta/files") as answer:
        assert set(await answer.json()) == {"files"}
    for query in ("pageSize=-1", "pageSize=x", "pageToken=zzz"):
        async with http.get(f"{url}/v1beta/files?{query}") as answer:
            assert answer.status == 400
            assert code_of(await answer.json()) in ("limit_invalid", "cursor_invalid")


async def test_an_empty_list_is_one(ai: Any) -> None:
    assert [file async for file in await ai.list()] == []


async def test_a_file_that_has_expired_is_as_if_it_had_never_been(serve_store: Serve) -> None:
    now = 1_000_000.5
    server = await serve_store(StoreConfig(data_folder=None), clock=lambda: now)
    async with client(server.address.url).aio as made:
        file = await made.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"})
        assert file.name is not None
        now += 48 * 3600 - 1
        assert (await made.files.get(name=file.name)).name == file.name
        now += 1
        for ask in (made.files.get, made.files.delete):
            with pytest.raises(genai_errors.ClientError) as caught:
                await ask(name=file.name)
            assert caught.value.code == 404
        assert [found async for found in await made.files.list()] == []


async def test_a_name_that_the_client_chooses_is_refused(ai: Any) -> None:
    with pytest.raises(genai_errors.ClientError) as caught:
        await ai.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain", "name": "cat"})
    assert (caught.value.code, code_of(details_of(caught))) == (400, "file_name_chosen")


async def test_an_upload_in_pieces_is_asked_about_and_finished(
    url: str, http: ClientSession
) -> None:
    upload = await start(http, url, b'{"file":{"displayName":"cat","mimeType":"image/x-cat"}}')
    assert upload.startswith(f"{url}/upload/v1beta/files?upload_id=")
    status, headers, body = await send(http, upload, "upload", 0, DATA[:1000])
    assert (status, headers["x-goog-upload-status"], body) == (200, "active", None)
    status, headers, _ = await send(http, upload, "query")
    assert (status, headers["x-goog-upload-status"]) == (200, "active")
    assert headers["x-goog-upload-size-received"] == "1000"
    await send(http, upload, "upload", 1000, DATA[1000:])
    status, headers, body = await send(http, upload, "finalize")
    assert (status, headers["x-goog-upload-status"]) == (200, "final")
    file = body["file"]
    assert (file["displayName"], file["mimeType"]) == ("cat", "image/x-cat")
    assert file["sizeBytes"] == str(len(DATA))
    async with http.get(file["downloadUri"]) as answer:
        assert await answer.read() == DATA
        assert answer.headers["Content-Disposition"] == 'attachment; filename="cat"'
    status, headers, _ = await send(http, upload, "query")
    assert headers["x-goog-upload-status"] == "final"
    # Again: the answer may have been lost. It is one file.
    repeated: list[Any] = [("finalize",), ("upload, finalize", 1000, DATA[1000:])]
    for again in repeated:
        status, headers, body = await send(http, upload, *again)
        assert (status, body) == (200, {"file": file})
    async with http.get(f"{url}/v1beta/files") as answer:
        assert len((await answer.json())["files"]) == 1
    # But not when it was ended.
    async with http.delete(f"{url}/v1beta/{file['name']}") as answer:
        assert (answer.status, await answer.json()) == (200, {})
    assert await refused(http, upload, "finalize") == (400, "upload_finished")
    async with http.get(f"{url}/v1beta/files") as answer:
        assert await answer.json() == {"files": []}
    assert await refused(http, upload, "upload", 1000, b"x") == (409, "upload_offset_mismatch")
    assert await refused(http, upload, "upload, finalize", 7, b"x") == (
        409,
        "upload_offset_mismatch",
    )
    assert await refused(http, upload, "cancel") == (400, "upload_finished")


async def test_a_file_that_was_ended_does_not_come_back(url: str, http: ClientSession) -> None:
    upload = await start(http, url)
    _, _, body = await send(http, upload, "upload, finalize", 0, DATA)
    file_url = f"{url}/v1beta/{body['file']['name']}"
    async with http.delete(file_url) as answer:
        assert answer.status == 200
    assert await refused(http, upload, "finalize") == (400, "upload_finished")
    again = await refused(http, upload, "upload, finalize", 0, DATA)
    assert again == (400, "upload_finished")
    async with http.get(file_url) as answer:
        assert answer.status == 404


async def test_what_an_upload_gets_wrong_is_refused_and_it_goes_on(
    url: str, http: ClientSession
) -> None:
    upload = await start(http, url, b"", **{"X-Goog-Upload-Header-Content-Length": "1000"})
    await send(http, upload, "upload", 0, DATA[:10])
    mismatch = (409, "upload_offset_mismatch")
    assert await refused(http, upload, "upload", 0, DATA[:10]) == mismatch
    assert await refused(http, upload, "upload", 11, DATA[:10]) == mismatch
    assert await refused(http, upload, "upload, finalize", 10**17, DATA[:10]) == mismatch
    _, headers, _ = await send(http, upload, "upload", 9, DATA[:10])
    assert headers["x-goog-upload-size-received"] == "10"
    for offset in ("-1", "01", "1e3", "", "٣"):
        sent = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": offset}
        async with http.post(upload, data=b"x", headers=sent) as answer:
            assert (answer.status, code_of(await answer.json())) == (400, "upload_offset_invalid")
    assert await refused(http, upload, "upload", 10, DATA[:991]) == (413, "upload_too_long")
    assert await refused(http, upload, "upload, finalize", 10, b"x") == (409, "upload_incomplete")
    for command in ("", "start", "upload, query", "finalize, finalize", "upload, finalize, cancel"):
        assert await refused(http, upload, command, 11) == (400, "upload_command_invalid")
    status, headers, body = await send(http, upload, "upload, finalize", 11, DATA[:989])
    assert (status, body["file"]["sizeBytes"]) == (200, "1000")


async def test_an_upload_that_is_cancelled_is_gone(url: str, http: ClientSession) -> None:
    upload = await start(http, url)
    await send(http, upload, "upload", 0, b"x")
    status, headers, _ = await send(http, upload, "cancel")
    assert (status, headers["x-goog-upload-status"]) == (200, "cancelled")
    for command in ("query", "cancel", "finalize", "upload"):
        assert await refused(http, upload, command, 1) == (404, "upload_not_found")


async def test_what_begins_no_upload_is_refused(url: str, http: ClientSession) -> None:
    cases: list[tuple[dict[str, str], bytes, int, str]] = [
        ({"X-Goog-Upload-Protocol": "other"}, b"", 400, "upload_protocol_unsupported"),
        ({"X-Goog-Upload-Protocol": ""}, b"", 400, "upload_protocol_unsupported"),
        ({"X-Goog-Upload-Command": "upload, finalize"}, b"", 400, "upload_command_invalid"),
        ({"X-Goog-Upload-Header-Content-Length": "0"}, b"", 400, "body_empty"),
        ({"X-Goog-Upload-Header-Content-Length": "x"}, b"", 400, "upload_length_invalid"),
        ({"X-Goog-Upload-Header-Content-Length": "9" * 18}, b"", 413, "blob_too_large"),
        ({"X-Goog-Upload-Header-Content-Type": "cat"}, b"", 400, "media_type_invalid"),
        ({}, b"[]", 400, "request_malformed"),
        ({}, b'{"file":[]}', 400, "request_malformed"),
        ({}, b'{"file":{"displayName":1}}', 400, "request_malformed"),
        ({}, b'{"file":{"displayName":"%s"}}' % (b"x" * 513), 400, "request_malformed"),
        ({}, b'{"file":{"displayName":"\\ud800"}}', 400, "request_malformed"),
        ({}, b"{", 400, "json_invalid"),
        ({}, b" " * 65_537, 413, "body_too_large"),
        ({"Content-Encoding": "gzip"}, b"{}", 415, "content_encoding_unsupported"),
        ({"X-Forwarded-Host": "a b"}, b"", 400, "host_invalid"),
    ]
    for headers, body, status, code in cases:
        target = f"{url}/upload/v1/files"
        async with http.post(target, data=body, headers=START | headers) as answer:
            assert (answer.status, code_of(await answer.json())) == (status, code)
            assert answer.headers["x-goog-upload-status"] == "final"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ('"a\\u0000\\nb"', "ab"),
        ('""', None),
        ("null", None),
        ('"../x"', "../x"),
    ],
)
async def test_display_names_are_kept_as_far_as_they_are_text(
    url: str, http: ClientSession, name: str, kept: str | None
) -> None:
    upload = await start(http, url, b'{"file":{"display_name":%s}}' % name.encode())
    _, _, body = await send(http, upload, "upload, finalize", 0, b"x")
    assert body["file"].get("displayName") == kept
    async with http.get(f"{url}/v1/files/{body['file']['name'][6:]}") as answer:
        assert "/" not in (await answer.json())["filename"]


async def test_the_url_is_at_the_host_that_the_client_asked(url: str, http: ClientSession) -> None:
    assert (await start(http, url, Host="localhost:1")).startswith("http://localhost:1/upload/")
    headers = {"X-Forwarded-Host": "coat.example", "X-Forwarded-Proto": "https"}
    assert (await start(http, url, b"", **headers)).startswith(
        "https://coat.example/upload/v1beta/"
    )


async def test_other_uploads_are_none_of_geminis(url: str, http: ClientSession) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10"}
    async with http.post(f"{url}/v1/tus", headers=headers) as answer:
        upload_id = answer.headers["Location"].rpartition("/")[2]
    for known in (upload_id, ID, "", "x", "0" * 100_0):
        upload = f"{url}/upload/v1/files?upload_id={known}"
        for command in ("query", "upload, finalize", "cancel"):
            assert await refused(http, upload, command, 0, b"x") == (404, "upload_not_found")


class Keys:
    """Knows a key for each tenant, perhaps with a scope."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        tenant, _, scope = (secret or "").removeprefix("cck_").partition(":")
        scopes: Any = frozenset([scope] if scope else ["read", "write"])
        return Principal(tenant, scopes) if tenant else None


async def test_each_tenant_has_its_files_alone(serve_store: Serve) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url
    async with client(url, "cck_a").aio as a, client(url, "cck_b").aio as b:
        # The bytes are sent without a key: that is how the SDK does it.
        file = await a.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"})
        assert file.name is not None
        assert [found.name async for found in await a.files.list()] == [file.name]
        assert [found async for found in await b.files.list()] == []
        told: list[Any] = []
        for name in (file.name, f"files/{UNKNOWN}"):
            for ask in (b.files.get, b.files.delete):
                with pytest.raises(genai_errors.ClientError) as caught:
                    await ask(name=name)
                assert caught.value.code == 404
                told.append(str(details_of(caught)).replace(name[6:], "ID"))
        assert told[:2] == told[2:]
    async with client(url).aio as nobody:
        with pytest.raises(genai_errors.ClientError) as caught:
            await nobody.files.upload(file=io.BytesIO(b"x"), config={"mime_type": "text/plain"})
        assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


async def test_an_uploads_url_stands_for_a_key_and_for_no_other_tenants(
    serve_store: Serve, http: ClientSession
) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url
    upload = await start(http, url, b"", **{"x-goog-api-key": "cck_a"})

    async def query(upload: str, key: str | None) -> tuple[int, str]:
        headers = {"X-Goog-Upload-Command": "query"} | ({"Coatcheck-Key": key} if key else {})
        async with http.post(upload, headers=headers) as answer:
            return answer.status, (await answer.text()) and code_of(await answer.json())

    assert await query(upload, None) == (200, "")
    assert await query(upload, "cck_a") == (200, "")
    not_found = (404, "upload_not_found")
    assert await query(upload, "cck_b") == not_found
    assert await query(upload.replace("upload_id=", "upload_id=0"), None) == not_found
    assert await query(f"{url}/upload/v1/files?upload_id={ID}", None) == not_found
    assert await query(f"{url}/upload/v1/files?upload_id={ID}", "cck_b") == not_found
    assert await query(upload, "cck_a:read") == (403, "scope_missing")
    assert await query(f"{url}/upload/v1/files", None) == (401, "key_missing")
    # Without a key it begins nothing.
    async with http.post(f"{url}/upload/v1/files?upload_id=", headers=START) as answer:
        assert answer.status == 400
    async with http.get(f"{url}/v1beta/files?upload_id={ID}") as answer:
        assert answer.status == 401


async def test_what_makes_a_file_without_bytes_is_refused(url: str, http: ClientSession) -> None:
    for path in ("/v1/files", "/v1beta/files"):
        async with http.post(url + path, json={"file": {}}, headers=GEMINI) as answer:
            assert (answer.status, code_of(await answer.json())) == (405, "method_not_allowed")


async def test_files_of_other_apis_are_listed_too(url: str, http: ClientSession) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=b"}
    body = (
        b'--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nuser_data\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nx\r\n--b--'
    )
    async with http.post(f"{url}/v1/files", data=body, headers=boundary) as answer:
        made = await answer.json()
    async with http.get(f"{url}/v1beta/files/{made['id']}") as answer:
        file = await answer.json()
    assert (file["displayName"], "expirationTime" in file) == ("a.txt", False)


MULTIPART = GEMINI | {
    "X-Goog-Upload-Protocol": "multipart",
    "Content-Type": "multipart/related; boundary=b",
}


def related(*parts: tuple[str, bytes]) -> bytes:
    made = [
        b"--b\r\nContent-Type: %s\r\n\r\n%s\r\n" % (kind.encode(), data) for kind, data in parts
    ]
    return b"".join(made) + b"--b--"


SAID = ("application/json; charset=utf-8", b'{"file":{"display_name":"cat"}}')


async def test_an_upload_may_come_in_one_request(url: str, http: ClientSession) -> None:
    raw = GEMINI | {"Content-Type": "image/x-cat", "X-Goog-Upload-File-Name": "a/cat"}
    older = {"Content-Type": MULTIPART["Content-Type"]}
    body = related(SAID, ("image/x-cat", DATA))
    for query, headers, sent in (
        ("", raw | {"X-Goog-Upload-Protocol": "raw"}, DATA),
        ("?uploadType=media", raw, DATA),
        ("", MULTIPART, body),
        ("?uploadType=multipart", older, body),
    ):
        target = f"{url}/upload/v1beta/files{query}"
        async with http.post(target, data=sent, headers=headers) as answer:
            assert (answer.status, answer.headers["x-goog-upload-status"]) == (200, "final")
            file = (await answer.json())["file"]
        assert (file["displayName"], file["mimeType"]) == ("cat", "image/x-cat")
        assert "expirationTime" in file
        async with http.get(file["downloadUri"]) as answer:
            assert await answer.read() == DATA


async def test_what_comes_at_once_and_is_wrong_leaves_nothing(
    url: str, http: ClientSession
) -> None:
    cases: list[tuple[bytes, dict[str, str], int, str]] = [
        (related(SAID), {}, 400, "form_without_file"),
        (related(), {}, 400, "form_without_file"),
        (related(SAID, ("a/b", DATA), ("a/b", DATA)), {}, 400, "form_with_files"),
        (related(SAID, ("a/b", DATA))[:-20], {}, 400, "form_malformed"),
        (related(SAID, ("a/b", b"")), {}, 400, "body_empty"),
        (related(SAID, ("cat", DATA)), {}, 400, "media_type_invalid"),
        (related(("a/b", b"{"), ("a/b", DATA)), {}, 400, "json_invalid"),
        (related(("a/b", b'{"file":[]}'), ("a/b", DATA)), {}, 400, "request_malformed"),
        (related(("a/b", b" " * 70_000), ("a/b", DATA)), {}, 413, "form_overhead_too_large"),
        (related(("a/b", b'{"file":{"name":"a"}}'), ("a/b", b"x")), {}, 400, "file_name_chosen"),
        (b"x", {"Content-Type": "image/png"}, 400, "form_malformed"),
        (b"x", {"Content-Encoding": "gzip"}, 415, "content_encoding_unsupported"),
        (b"", {"X-Goog-Upload-Protocol": "raw"}, 400, "body_empty"),
    ]
    for body, headers, status, code in cases:
        target = f"{url}/upload/v1/files"
        async with http.post(target, data=body, headers=MULTIPART | headers) as answer:
            assert (answer.status, code_of(await answer.json())) == (status, code)
            assert answer.headers["x-goog-upload-status"] == "final"
    async with http.get(f"{url}/admin/api/stats") as answer:
        assert (await answer.json())["blobs"] == 0
