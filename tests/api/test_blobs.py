"""Handing in, asking, listing, pinning and letting go, over HTTP."""

import asyncio
import gzip
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import ClientSession, FormData
from PIL import Image

from coatcheck.api import routes
from coatcheck.protocol import Digest, format_digest_field, prompt_root, prompt_step
from coatcheck.store import PromptMessage, Store, StoreConfig
from coatcheck.web import Server, build_app

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]
UNKNOWN = Digest.of(b"nobody has this")


def png(width: int = 3, height: int = 2, colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(out, "PNG")
    return out.getvalue()


def files_of(folder: Path) -> list[bytes]:
    """The contents of everything that could be a blob, committed or not."""
    return [
        path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".db" not in path.name and path.stat().st_size
    ]


async def test_post_answers_with_the_descriptor(url: str, http: ClientSession) -> None:
    data = png()
    digest = Digest.of(data)
    async with http.post(f"{url}/v1/blobs", data=data) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == f"/v1/blobs/{digest}"
        assert await answer.json() == {
            "digest": digest,
            "ref": f"blob:{digest}",
            "size": len(data),
            "media_type": "image/png",
            "width": 3,
            "height": 2,
            "frames": 1,
        }


async def test_any_media_type_may_be_declared(url: str, http: ClientSession) -> None:
    headers = {"Content-Type": "Text/Plain; charset=utf-8"}
    async with http.post(f"{url}/v1/blobs", data=b"hello", headers=headers) as answer:
        assert (answer.status, (await answer.json())["media_type"]) == (201, "text/plain")


async def test_a_form_is_an_upload_too(url: str, http: ClientSession) -> None:
    form = FormData()
    form.add_field("purpose", "vision")
    form.add_field("file", png(), filename="../../etc/passwd", content_type="image/png")
    async with http.post(f"{url}/v1/blobs", data=form) as answer:
        assert (answer.status, (await answer.json())["digest"]) == (201, Digest.of(png()))


async def test_put_takes_what_its_path_promises(url: str, http: ClientSession) -> None:
    data = b"x" * 3_000_000
    target = f"{url}/v1/blobs/{Digest.of(data)}"
    for _ in range(2):
        async with http.put(target, data=io.BytesIO(data)) as answer:
            assert (answer.status, (await answer.json())["size"]) == (201, len(data))


async def test_put_of_other_bytes_keeps_nothing(
    disk_server: Server, http: ClientSession, tmp_path: Path
) -> None:
    url = disk_server.address.url
    data = b"something else entirely"
    async with http.put(f"{url}/v1/blobs/{UNKNOWN}", data=data) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (422, "digest_mismatch")
        assert (problem["expected"], problem["actual"]) == (UNKNOWN, Digest.of(data))
        assert answer.headers["x-should-retry"] == "false"
    for digest in (UNKNOWN, Digest.of(data)):
        async with http.head(f"{url}/v1/blobs/{digest}") as answer:
            assert answer.status == 404
    assert not any(data in content for content in files_of(tmp_path))


async def test_a_known_blob_with_wrong_bytes_is_still_a_mismatch(
    url: str, http: ClientSession
) -> None:
    async with http.post(f"{url}/v1/blobs", data=b"known") as answer:
        target = f"{url}{answer.headers['Location']}"
    async with http.put(target, data=b"other") as answer:
        assert answer.status == 422
    async with http.get(target) as answer:
        assert await answer.read() == b"known"


@pytest.mark.parametrize("name", ["Repr-Digest", "Content-Digest"])
async def test_digest_fields_are_checked(url: str, http: ClientSession, name: str) -> None:
    right, wrong = (format_digest_field(Digest.of(data)) for data in (b"abc", b"abd"))
    target = f"{url}/v1/blobs"
    async with http.post(target, data=b"abc", headers={name: right}) as answer:
        assert answer.status == 201
    async with http.post(target, data=b"abc", headers={name: wrong}) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            422,
            "digest_mismatch",
        )
    digest = Digest.of(b"abc")
    async with http.put(f"{target}/{digest}", data=b"abc", headers={name: wrong}) as answer:
        assert answer.status == 422
    async with http.post(target, data=b"abc", headers={name: "garbage"}) as answer:
        assert answer.status == 400


async def test_an_empty_body_is_refused(url: str, http: ClientSession) -> None:
    for send in (
        http.post(f"{url}/v1/blobs", data=b""),
        http.put(f"{url}/v1/blobs/{Digest.of(b'')}", data=b""),
    ):
        async with send as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (400, "body_empty")


async def test_a_blob_over_the_bound_is_refused(serve_store: Serve, http: ClientSession) -> None:
    server = await serve_store(StoreConfig(data_folder=None, max_blob_bytes=100_000))

    async def chunked() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 10_000

    form = FormData()
    form.add_field("file", b"x" * 100_001, filename="a")
    for data in (b"x" * 100_001, chunked(), form):
        async with http.post(f"{server.address.url}/v1/blobs", data=data) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (413, "blob_too_large")
            assert problem["max_bytes"] == 100_000
    async with http.post(f"{server.address.url}/v1/blobs", data=b"x" * 100_000) as answer:
        assert answer.status == 201


async def test_a_declared_length_over_the_bound_is_refused_unread(
    serve_store: Serve, talk: Talk
) -> None:
    server = await serve_store(StoreConfig(data_folder=None, max_blob_bytes=1000))
    answer = await talk(
        server,
        b"POST /v1/blobs HTTP/1.0\r\nHost: localhost\r\nContent-Length: 1001\r\n"
        b"Expect: 100-continue\r\n\r\n" + b"x" * 1001,
    )
    assert answer[8:13] == b" 413 "


async def test_gzip_is_refused_not_inflated(url: str, http: ClientSession) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    headers = {"Content-Encoding": "gzip"}
    async with http.post(f"{url}/v1/blobs", data=bomb, headers=headers) as answer:
        assert answer.status == 415


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 30\r\n\r\na body that is cut",
        b"Transfer-Encoding: chunked\r\n\r\n12\r\na body that is cut\r\n",
    ],
)
async def test_a_cut_body_is_incomplete_and_nothing_is_kept(
    disk_server: Server, http: ClientSession, tmp_path: Path, framing: bytes
) -> None:
    reader, writer = await asyncio.open_connection(
        disk_server.address.host, disk_server.address.port
    )
    writer.write(b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\n" + framing)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body_incomplete" in answer
    async with http.get(f"{disk_server.address.url}/v1/blobs") as listed:
        assert (await listed.json())["blobs"] == []
    assert not any(b"a body that is cut" in content for content in files_of(tmp_path))


async def test_a_stalled_upload_times_out(server: Server) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert b"body_timeout" in answer
    writer.close()


async def test_an_upload_whose_client_vanishes_leaves_no_temporary(
    disk_server: Server, http: ClientSession, tmp_path: Path
) -> None:
    _, writer = await asyncio.open_connection(disk_server.address.host, disk_server.address.port)
    writer.write(b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
    writer.write(b"vanish" * 500_000)
    await writer.drain()
    stats = f"{disk_server.address.url}/admin/api/stats"

    async def uploads() -> int:
        async with http.get(stats) as answer:
            return int((await answer.json())["uploads_in_progress"])

    async with asyncio.timeout(10):
        while await uploads() != 1:
            pass
        writer.transport.abort()
        while await uploads():
            pass
    assert not any(b"vanish" in content for content in files_of(tmp_path))


async def test_a_full_disk_refuses_uploads_and_serves_the_rest(
    serve_store: Serve, http: ClientSession, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    server = await serve_store(StoreConfig(data_folder=folder, min_free_bytes=0))
    async with http.post(f"{server.address.url}/v1/blobs", data=b"early") as answer:
        location = answer.headers["Location"]
    full = await serve_store(StoreConfig(data_folder=tmp_path / "full", min_free_bytes=10**18))
    for _ in range(2):
        async with http.post(f"{full.address.url}/v1/blobs", data=b"late") as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (507, "store_full")
            assert answer.headers["x-should-retry"] == "false"
    async with http.get(f"{full.address.url}/readyz") as answer:
        assert answer.status == 200
    async with http.get(f"{server.address.url}{location}") as answer:
        assert await answer.read() == b"early"


@pytest.mark.parametrize(
    "name",
    [
        "sha256:xyz",
        f"sha256:{'A' * 64}",
        f"SHA256:{'a' * 64}",
        f"sha256:{'a' * 63}",
        f"sha256:{'a' * 65}",
        f"sha256:{'a' * 63}%00",
        f"sha256:{'a' * 63}%2F",
        f"sha256:{'a' * 63}%2e",
        "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "%252e%252e",
        f"sha256:{'%D9%A1' * 64}",
        f"sha512:{'a' * 64}",
        f"{'a' * 64}",
        "blob:sha256:" + "a" * 64,
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_malformed_digest_is_named_so(
    server: Server, talk: Talk, method: str, name: str
) -> None:
    answer = await talk(
        server,
        f"{method} /v1/blobs/{name} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Length: 1\r\n\r\nx".encode(),
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"digest_invalid"' in answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/blobs/{}"),
        ("DELETE", "/v1/blobs/{}"),
        ("PUT", "/v1/blobs/{}/pin"),
        ("DELETE", "/v1/blobs/{}/pin"),
    ],
)
async def test_an_unknown_blob_is_not_found(
    url: str, http: ClientSession, method: str, path: str
) -> None:
    async with http.request(method, url + path.format(UNKNOWN)) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (404, "blob_not_found")
        assert problem["missing"] == [{"digest": UNKNOWN}]


async def test_missing_names_what_to_upload_in_order_and_once(
    url: str, http: ClientSession
) -> None:
    async with http.post(f"{url}/v1/blobs", data=b"here") as answer:
        here = (await answer.json())["digest"]
    other = Digest.of(b"other")
    body = {"digests": [UNKNOWN, here, other, UNKNOWN]}
    async with http.post(f"{url}/v1/blobs/missing", json=body) as answer:
        assert answer.status == 200
        said = await answer.json()
    assert said["missing"] == [UNKNOWN, other]
    assert isinstance(said["lease_expires_at"], int)


@pytest.mark.parametrize(
    ("body", "code", "path"),
    [
        (b"", "json_invalid", None),
        (b"[]", "request_malformed", None),
        (b"{}", "request_malformed", "digests"),
        (b'{"digests": "x"}', "request_malformed", "digests"),
        (b'{"digests": [1]}', "request_malformed", "digests.0"),
        (b'{"digests": ["sha256:x"]}', "digest_invalid", "digests.0"),
        (b'{"digests": [], "more": 1}', "request_malformed", "more"),
        (b'{"digests": [' + b",".join([b'"a"'] * 1001) + b"]}", "request_malformed", "digests"),
    ],
)
async def test_a_malformed_question_is_refused_by_path(
    url: str, http: ClientSession, body: bytes, code: str, path: str | None
) -> None:
    async with http.post(f"{url}/v1/blobs/missing", data=body) as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"], problem.get("path")) == (400, code, path)


async def test_a_question_has_a_bound(url: str, http: ClientSession) -> None:
    async with http.post(f"{url}/v1/blobs/missing", data=b" " * 1_000_000) as answer:
        assert answer.status == 413


async def test_a_thousand_digests_are_asked_for_at_once(url: str, http: ClientSession) -> None:
    digests = [Digest.of(str(number).encode()) for number in range(1000)]
    async with http.post(f"{url}/v1/blobs/missing", json={"digests": digests}) as answer:
        assert (await answer.json())["missing"] == digests


async def test_a_list_comes_in_pages(url: str, http: ClientSession) -> None:
    sent: set[str] = set()
    for number in range(5):
        async with http.post(f"{url}/v1/blobs", data=str(number).encode()) as answer:
            sent.add((await answer.json())["digest"])
    found: list[str] = []
    cursor: str | None = None
    sizes: list[int] = []
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        async with http.get(f"{url}/v1/blobs", params=query) as answer:
            page = await answer.json()
        sizes.append(len(page["blobs"]))
        found += [blob["digest"] for blob in page["blobs"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert sizes == [2, 2, 1]
    assert len(found) == 5
    assert set(found) == sent


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("limit=0", "limit_invalid"),
        ("limit=1001", "limit_invalid"),
        ("limit=-1", "limit_invalid"),
        ("limit=x", "limit_invalid"),
        ("limit=%D9%A1", "limit_invalid"),
        ("limit=" + "9" * 5000, "limit_invalid"),
        ("cursor=x", "cursor_invalid"),
        ("cursor=", "cursor_invalid"),
    ],
)
async def test_a_bad_page_is_refused(url: str, http: ClientSession, query: str, code: str) -> None:
    async with http.get(f"{url}/v1/blobs?{query}") as answer:
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["code"]) == (400, code)


async def test_a_pin_keeps_and_an_unpin_lets_go(url: str, http: ClientSession) -> None:
    async with http.post(f"{url}/v1/blobs", data=b"pinned") as answer:
        target = f"{url}{answer.headers['Location']}"
    for _ in range(2):
        async with http.put(f"{target}/pin") as answer:
            assert (answer.status, (await answer.json())["pinned"]) == (200, True)
    for _ in range(2):
        async with http.delete(f"{target}/pin") as answer:
            said = await answer.json()
            assert (answer.status, said["pinned"]) == (200, False)
            assert said["lease_expires_at"] > 0


async def test_delete_lets_go_and_names_what_holds_on(url: str, http: ClientSession) -> None:
    async with http.post(f"{url}/v1/blobs", data=b"short-lived") as answer:
        target = f"{url}{answer.headers['Location']}"
    async with http.delete(target) as answer:
        assert answer.status == 200
        assert await answer.json() == {"digest": Digest.of(b"short-lived"), "holds": []}
    for method in ("GET", "DELETE"):
        async with http.request(method, target) as answer:
            assert answer.status == 404


async def test_delete_of_a_blob_in_a_prompt_names_the_prompt(http: ClientSession) -> None:
    async with await Store.open(StoreConfig(data_folder=None)) as store:
        server = Server(build_app(routes(store)))
        url = (await server.start()).url
        async with http.post(f"{url}/v1/blobs", data=b"seen") as answer:
            digest = Digest((await answer.json())["digest"])
        root = prompt_root("openai.chat")
        step = prompt_step(root, {"role": "user", "content": "look"})
        message = PromptMessage(step, "{}", (digest,))
        await store.prompts.append("default", "openai.chat", root, [message])
        for _ in range(2):
            async with http.delete(f"{url}/v1/blobs/{digest}") as answer:
                (hold,) = (await answer.json())["holds"]
                assert (answer.status, hold["kind"], hold["name"]) == (200, "prompt", step)
                assert hold["expires_at"] > 0
        async with http.get(f"{url}/v1/blobs/{digest}") as answer:
            assert await answer.read() == b"seen"
        await server.stop(drain_seconds=1)


@pytest.mark.parametrize("path", ["/v1/blobs", f"/v1/blobs/{UNKNOWN}", "/v1/blobs/missing"])
async def test_other_methods_are_refused(url: str, http: ClientSession, path: str) -> None:
    async with http.patch(url + path) as answer:
        assert answer.status == 405
        assert "Allow" in answer.headers


async def test_a_body_longer_than_its_length_adds_nothing(
    server: Server, talk: Talk, http: ClientSession
) -> None:
    await talk(
        server,
        b"POST /v1/blobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabcdef\r\n\r\n",
    )
    async with http.get(f"{server.address.url}/v1/blobs") as answer:
        digests = {blob["digest"] for blob in (await answer.json())["blobs"]}
    assert digests <= {Digest.of(b"abc")}


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}])
async def test_strangers_are_refused(
    url: str, http: ClientSession, headers: dict[str, str]
) -> None:
    async with http.post(f"{url}/v1/blobs", data=b"x", headers=headers) as answer:
        assert answer.status == 403
    async with http.get(f"{url}/v1/blobs") as answer:
        assert (await answer.json())["blobs"] == []
