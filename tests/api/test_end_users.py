"""Whom uploads and messages are for: the header on every route that takes it, and file ids."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, FormData

from coatcheck.api import face
from coatcheck.protocol import Digest, Json, encode_json, prompt_digests, prompt_root
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

Talk = Callable[[Server, bytes], Awaitable[bytes]]

CHAT = "openai.chat"
DATA = b"bytes"
DIGEST = Digest.of(DATA)
MESSAGE: Json = {"role": "user", "content": "hello"}
(PROMPT,) = prompt_digests(CHAT, [MESSAGE])
ANN = {"Coatcheck-User": "Ann é"}


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with await Store.open(StoreConfig(data_folder=None)) as opened:
        yield opened


@pytest.fixture
async def server(store: Store) -> AsyncIterator[Server]:
    started = Server(build_app(join_faces([face(store)], title="Coatcheck", version="1")))
    await started.start()
    yield started
    await started.stop(0)


def form() -> FormData:
    made = FormData()
    made.add_field("file", DATA, filename="a.txt")
    return made


@pytest.mark.parametrize("way", ["post", "put", "form"])
async def test_an_upload_is_for_whom_its_header_names(
    store: Store, url: str, http: ClientSession, way: str
) -> None:
    path = f"/v1/blobs/{DIGEST}" if way == "put" else "/v1/blobs"
    method = "PUT" if way == "put" else "POST"
    body = form() if way == "form" else DATA
    async with http.request(method, url + path, data=body, headers=ANN) as answer:
        assert answer.status == 201
    assert (await store.erasure.erase_end_user("default", "Ann")).ended_grants == 0
    assert (await store.erasure.erase_end_user("default", "Ann é")).ended_grants == 1


async def test_a_file_is_for_whom_its_header_names(
    store: Store, url: str, http: ClientSession
) -> None:
    made = form()
    made.add_field("purpose", "user_data")
    async with http.post(f"{url}/v1/files", data=made, headers=ANN) as answer:
        file = await answer.json()
    assert (await store.erasure.erase_end_user("default", "Ann é")).ended_grants == 1
    async with http.get(f"{url}/v1/files/{file['id']}") as answer:
        assert answer.status == 404


async def test_a_files_parts_are_for_whom_its_beginning_names(
    store: Store, url: str, http: ClientSession
) -> None:
    begun = {"bytes": 5, "filename": "a", "mime_type": "text/x", "purpose": "vision"}
    async with http.post(f"{url}/v1/uploads", json=begun, headers=ANN) as answer:
        upload = await answer.json()
    target = f"{url}/v1/uploads/{upload['id']}"
    async with http.post(f"{target}/parts", data=form()) as answer:
        assert answer.status == 200
    assert (await store.erasure.erase_end_user("default", "Ann é")).removed_uploads == 2
    async with http.post(f"{target}/cancel") as answer:
        assert answer.status == 404


async def test_asking_what_is_missing_claims_the_rest(
    store: Store, url: str, http: ClientSession
) -> None:
    async with http.post(f"{url}/v1/blobs", data=DATA, headers=ANN) as answer:
        assert answer.status == 201
    asked = {"digests": [DIGEST]}
    headers = {"Coatcheck-User": "bob"}
    async with http.post(f"{url}/v1/blobs/missing", json=asked, headers=headers) as answer:
        assert (await answer.json())["missing"] == []
    assert (await store.erasure.erase_end_user("default", "Ann é")).kept_grants == 1


async def test_messages_are_for_whom_the_header_names(
    store: Store, url: str, http: ClientSession
) -> None:
    step: Json = {"digest": PROMPT, "text": encode_json(MESSAGE).decode(), "blobs": []}
    body: Json = {"dialect": CHAT, "parent": prompt_root(CHAT), "messages": [step]}
    async with http.put(f"{url}/v1/prompts/{PROMPT}", json=body, headers=ANN) as answer:
        assert answer.status == 204
    assert (await store.erasure.erase_end_user("default", "Ann é")).removed_prompts == 1


@pytest.mark.parametrize(
    "lines",
    [
        b"Coatcheck-User:\r\n",
        b"Coatcheck-User: " + b"a" * 257 + b"\r\n",
        b"Coatcheck-User: \xff\r\n",
        b"Coatcheck-User: a\xc2\x80b\r\n",
        b"Coatcheck-User: a\r\nCoatcheck-User: a\r\n",
    ],
)
async def test_a_malformed_name_is_refused_and_nothing_kept(
    store: Store, server: Server, talk: Talk, lines: bytes
) -> None:
    head = b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
    answer = await talk(server, head + lines + b"Connection: close\r\n\r\n" + DATA)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code":"end_user_invalid"' in answer
    assert await store.stat("default", DIGEST) is None


async def test_a_file_id_resolves_to_its_blob(store: Store, url: str, http: ClientSession) -> None:
    async with http.post(f"{url}/v1/blobs", data=DATA) as answer:
        assert answer.status == 201
    mine = await store.files.create("default", DIGEST)
    twin = await store.files.create("default", DIGEST)
    gone = "file-cc" + "a" * 24
    asked = {"digests": [DIGEST], "file_ids": [mine.id, gone, twin.id, mine.id, "file-else"]}
    async with http.post(f"{url}/v1/resolve", json=asked) as answer:
        told = await answer.json()
    assert [(blob["digest"], blob.get("file_id")) for blob in told["blobs"]] == [
        (DIGEST, None),
        (DIGEST, mine.id),
        (DIGEST, twin.id),
    ]
    assert told["missing"] == [{"file_id": gone}, {"file_id": "file-else"}]


async def test_a_deleted_blob_says_which_files_hold_it(
    store: Store, url: str, http: ClientSession
) -> None:
    async with http.post(f"{url}/v1/blobs", data=DATA) as answer:
        assert answer.status == 201
    file = await store.files.create("default", DIGEST, purpose="vision")
    async with http.delete(f"{url}/v1/blobs/{DIGEST}") as answer:
        assert (await answer.json())["holds"] == [
            {"kind": "file", "name": file.id, "purpose": "vision"}
        ]


async def test_a_resumable_upload_is_for_whom_its_beginning_names(
    store: Store, url: str, http: ClientSession
) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "5", **ANN}
    for body in (DATA, b""):  # whole at once, and only begun
        if body:
            headers["Content-Type"] = "application/offset+octet-stream"
        async with http.post(f"{url}/v1/tus", data=body, headers=headers) as answer:
            assert answer.status == 201
    erased = await store.erasure.erase_end_user("default", "Ann é")
    assert (erased.ended_grants, erased.removed_uploads) == (1, 1)
