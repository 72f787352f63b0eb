"""OpenAI's Uploads as its SDK and as forged requests see it, on a real server."""

import asyncio
import hashlib
import io
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import ClientSession, FormData

from coatcheck.protocol import is_file_id
from coatcheck.store import Quotas, StoreConfig
from coatcheck.web import Principal, Server

Serve = Callable[..., Awaitable[Server]]
PIECES = [os.urandom(size) for size in (400_000, 3, 250_000)]
DATA = b"".join(PIECES)
MD5 = hashlib.md5(DATA, usedforsecurity=False).hexdigest()
BEGUN = {"bytes": 4, "filename": "a", "mime_type": "text/plain", "purpose": "user_data"}
NOBODYS = "upload_cc" + "0" * 32


@pytest.fixture
async def ai(disk_server: Server) -> AsyncIterator[openai.AsyncOpenAI]:
    url = disk_server.address.url
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none") as client:
        yield client


async def begin(ai: openai.AsyncOpenAI, size: int = len(DATA)) -> Any:
    return await ai.uploads.create(
        bytes=size, filename="../big.bin", mime_type="application/x-big", purpose="user_data"
    )


async def call(
    http: ClientSession, url: str, path: str = "", body: Any = None, **headers: str
) -> tuple[int, Any]:
    async with http.post(f"{url}/v1/uploads{path}", json=body, headers=headers) as answer:
        if answer.status >= 400:
            assert answer.headers["x-should-retry"] == "false"
        return answer.status, await answer.json()


def left(folder: Path) -> list[str]:
    return [path.name for path in (folder / "data" / "uploads").iterdir()]


async def test_parts_at_once_become_a_file_in_the_order_given(
    ai: openai.AsyncOpenAI, tmp_path: Path
) -> None:
    upload = await begin(ai)
    assert upload.id.startswith("upload_cc")
    assert (upload.object, upload.bytes, upload.status) == ("upload", len(DATA), "pending")
    assert (upload.filename, upload.purpose, upload.file) == ("big.bin", "user_data", None)
    assert upload.expires_at - upload.created_at == 24 * 3600
    parts = await asyncio.gather(
        *(ai.uploads.parts.create(upload.id, data=piece) for piece in PIECES)
    )
    assert {part.upload_id for part in parts} == {upload.id}
    assert {part.object for part in parts} == {"upload.part"}
    done = await ai.uploads.complete(upload.id, part_ids=[part.id for part in parts], md5=MD5)
    assert (done.id, done.status) == (upload.id, "completed")
    assert (done.created_at, done.expires_at) == (upload.created_at, upload.expires_at)
    assert done.file is not None
    assert is_file_id(done.file.id)
    assert (done.file.bytes, done.file.filename) == (len(DATA), "big.bin")
    content = await ai.files.content(done.file.id)
    assert content.content == DATA
    assert content.response.headers["Coatcheck-Media-Type"] == "application/x-big"
    again = await ai.uploads.complete(upload.id, part_ids=[])
    assert again == done
    assert left(tmp_path) == []


async def test_who_completes_at_once_gets_one_file(ai: openai.AsyncOpenAI) -> None:
    upload = await begin(ai, 3)
    part = await ai.uploads.parts.create(upload.id, data=b"abc")
    outcomes = await asyncio.gather(
        *(ai.uploads.complete(upload.id, part_ids=[part.id]) for _ in range(5)),
        return_exceptions=True,
    )
    done = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert done
    assert all(isinstance(error, openai.APIStatusError) for error in refused), refused
    codes = {getattr(error, "code", None) for error in refused}
    assert codes <= {"upload_locked", "upload_offset_mismatch", "upload_incomplete"}
    last = await ai.uploads.complete(upload.id, part_ids=[])
    (file,) = (await ai.files.list()).data
    assert all(outcome.file == file for outcome in [*done, last])


async def test_the_sdk_cuts_a_file_into_parts_itself(ai: openai.AsyncOpenAI) -> None:
    done = await ai.uploads.upload_file_chunked(
        file=DATA,
        filename="a.bin",
        bytes=len(DATA),
        mime_type="text/plain",
        purpose="vision",
        part_size=100_000,
    )
    assert done.file is not None
    assert (done.file.bytes, done.file.purpose) == (len(DATA), "vision")
    assert (await ai.files.content(done.file.id)).content == DATA


async def test_an_upload_called_off_is_forgotten(ai: openai.AsyncOpenAI, tmp_path: Path) -> None:
    upload = await begin(ai)
    await ai.uploads.parts.create(upload.id, data=PIECES[0])
    gone = await ai.uploads.cancel(upload.id)
    assert (gone.id, gone.status, gone.file) == (upload.id, "cancelled", None)
    assert left(tmp_path) == []
    for again in (
        ai.uploads.cancel(upload.id),
        ai.uploads.parts.create(upload.id, data=b"x"),
        ai.uploads.complete(upload.id, part_ids=[]),
    ):
        with pytest.raises(openai.NotFoundError) as caught:
            await again
        assert caught.value.code == "upload_not_found"


async def test_what_cannot_be_completed_can_be_completed_again(ai: openai.AsyncOpenAI) -> None:
    upload = await begin(ai)
    ids = [(await ai.uploads.parts.create(upload.id, data=piece)).id for piece in PIECES]
    wrong: list[tuple[list[str], str | None, str]] = [
        (ids[:2], None, "size_mismatch"),
        ([], None, "size_mismatch"),
        ([*ids, "part_cc" + "0" * 32], None, "upload_part_unknown"),
        ([*ids, "part_theirs"], None, "upload_part_unknown"),
        (ids, "0" * 32, "md5_mismatch"),
        (ids[::-1], MD5, "md5_mismatch"),
        (ids, "no md5", "md5_mismatch"),
    ]
    for part_ids, md5, code in wrong:
        with pytest.raises(openai.BadRequestError) as caught:
            await ai.uploads.complete(
                upload.id, part_ids=part_ids, md5=openai.omit if md5 is None else md5
            )
        assert caught.value.code == code
        assert caught.value.response.headers["x-should-retry"] == "false"
    done = await ai.uploads.complete(upload.id, part_ids=ids, md5=MD5.upper())
    assert done.file is not None
    assert (await ai.files.content(done.file.id)).content == DATA
    for late in (ai.uploads.parts.create(upload.id, data=b"x"), ai.uploads.cancel(upload.id)):
        with pytest.raises(openai.BadRequestError) as caught:
            await late
        assert caught.value.code == "upload_finished"
    await ai.files.delete(done.file.id)
    with pytest.raises(openai.BadRequestError):
        await ai.uploads.complete(upload.id, part_ids=ids)


WRONG: list[tuple[dict[str, Any], int, str, str | None]] = [
    ({"purpose": "batch"}, 400, "purpose_unsupported", "purpose"),
    ({"purpose": ""}, 400, "purpose_missing", "purpose"),
    ({"purpose": 7}, 400, "purpose_missing", "purpose"),
    ({"bytes": 0}, 400, "request_malformed", "bytes"),
    ({"bytes": "4"}, 400, "request_malformed", "bytes"),
    ({"bytes": 2**60}, 413, "blob_too_large", None),
    ({"filename": None}, 400, "request_malformed", "filename"),
    ({"mime_type": "nothing"}, 400, "media_type_invalid", None),
    (
        {"expires_after": {"anchor": "created_at", "seconds": 3599}},
        400,
        "request_malformed",
        "expires_after.seconds",
    ),
    (
        {"expires_after": {"anchor": "now", "seconds": 3600}},
        400,
        "request_malformed",
        "expires_after.anchor",
    ),
]


async def test_an_upload_that_says_something_wrong_is_none(url: str, http: ClientSession) -> None:
    for change, status, code, param in WRONG:
        found, body = await call(http, url, body=BEGUN | change)
        error = body["error"]
        assert (found, error["code"], error["param"]) == (status, code, param)
        assert error["type"] == "invalid_request_error"


async def test_a_file_of_an_upload_expires_from_its_creation_on(
    serve_store: Serve, http: ClientSession
) -> None:
    now = 1_000_000.0
    server = await serve_store(StoreConfig(data_folder=None), clock=lambda: now)
    url = server.address.url
    expiry = {"expires_after": {"anchor": "created_at", "seconds": 3600}}
    _, upload = await call(http, url, body=BEGUN | expiry)
    now += 100
    part = await send(http, url, upload["id"], b"abcd")
    _, done = await call(http, url, f"/{upload['id']}/complete", {"part_ids": [part["id"]]})
    assert done["file"]["expires_at"] == 1_003_700


async def test_an_upload_expires(serve_store: Serve, http: ClientSession) -> None:
    now = 1_000_000.0
    config = StoreConfig(data_folder=None, upload_seconds=60)
    url = (await serve_store(config, clock=lambda: now)).address.url
    _, upload = await call(http, url, body=BEGUN)
    assert upload["expires_at"] == now + 60
    part = await send(http, url, upload["id"], b"abcd")
    now += 61
    status, _ = await call(http, url, f"/{upload['id']}/complete", {"part_ids": [part["id"]]})
    assert status == 404


async def send(http: ClientSession, url: str, upload_id: str, data: bytes, **headers: str) -> Any:
    form = FormData()
    form.add_field("data", io.BytesIO(data), filename="upload")
    async with http.post(
        f"{url}/v1/uploads/{upload_id}/parts", data=form, headers=headers
    ) as answer:
        return await answer.json()


async def test_a_part_that_is_none_leaves_nothing(
    disk_server: Server, http: ClientSession, tmp_path: Path
) -> None:
    url = disk_server.address.url
    _, upload = await call(http, url, body=BEGUN)
    target = f"{url}/v1/uploads/{upload['id']}/parts"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    head = b'--b\r\nContent-Disposition: form-data; name="data"\r\n\r\n'
    forms = {
        b"--b--\r\n": (400, "form_without_file"),
        head + b"abc": (400, "form_malformed"),
        head + b"\r\n--b--\r\n": (400, "body_empty"),
        head + b"abcde\r\n--b--\r\n": (413, "upload_too_long"),
        head + b"a\r\n" + head + b"b\r\n--b--\r\n": (400, "form_with_files"),
    }
    for body, expected in forms.items():
        async with http.post(target, data=body, headers=headers) as answer:
            error = (await answer.json())["error"]
            assert (answer.status, error["code"]) == expected
    async with http.post(target, json={}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "form_malformed")
    assert left(tmp_path) == []


class Keys:
    """Knows a key for each tenant: its own name."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        return Principal(secret, frozenset(["read", "write"])) if secret else None


async def test_another_tenants_upload_is_answered_like_one_that_nobody_has(
    serve_store: Serve, http: ClientSession
) -> None:
    url = (await serve_store(StoreConfig(data_folder=None), keyring=Keys())).address.url
    _, upload = await call(http, url, body=BEGUN, **{"Coatcheck-Key": "a"})
    part = await send(http, url, upload["id"], b"abcd", **{"Coatcheck-Key": "a"})
    answers: list[Any] = []
    for upload_id in (upload["id"], NOBODYS, "upload_theirs"):
        answers.append(await send(http, url, upload_id, b"abcd", **{"Coatcheck-Key": "b"}))
        for path in ("/complete", "/cancel"):
            asked = {"part_ids": [part["id"]]}
            answers.append(
                await call(http, url, f"/{upload_id}{path}", asked, **{"Coatcheck-Key": "b"})
            )
    assert answers[:3] == answers[3:6] == answers[6:]
    assert answers[0]["error"]["code"] == "upload_not_found"


async def test_what_an_upload_says_it_brings_counts_from_its_beginning(
    serve_store: Serve, http: ClientSession
) -> None:
    config = StoreConfig(data_folder=None, quotas=Quotas(default_bytes=6))
    url = (await serve_store(config)).address.url
    _, upload = await call(http, url, body=BEGUN)
    status, refused = await call(http, url, body=BEGUN)
    assert (status, refused["error"]["code"]) == (429, "quota_exceeded")
    part = await send(http, url, upload["id"], b"abcd")
    asked = {"part_ids": [part["id"]]}
    assert (await call(http, url, f"/{upload['id']}/complete", asked))[0] == 200


async def test_an_upload_of_tus_is_none_of_openais(url: str, http: ClientSession) -> None:
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "4"}
    async with http.post(f"{url}/v1/tus", headers=tus) as answer:
        name = answer.headers["Location"].rpartition("/")[2]
    status, _ = await call(http, url, f"/upload_cc{name}/cancel")
    assert status == 404
