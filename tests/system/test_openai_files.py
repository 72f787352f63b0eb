"""OpenAI's Files API through `serve`, and through `daemon` with its store apart.

Our files are kept; what is the provider's own business reaches it byte for byte as it was sent.
"""

import asyncio
import base64
import contextlib
import io
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import openai
import pytest
from aiohttp import ClientSession

from coatcheck.cli.services import SERVICES
from coatcheck.protocol import Digest, is_file_id
from coatcheck.store import Keys

pytestmark = pytest.mark.system

MIB = 1024 * 1024
BOUNDARY = "0123456789abcdef"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def part(name: str, value: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"preamble\r\n" + b"".join(parts) + f"--{BOUNDARY}--\r\nepilogue".encode()


@dataclass
class Site:
    """What clients talk to, the upstream behind it, and where bodies are set aside."""

    url: str
    upstream: Any
    keys: Keys
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Coatcheck-Key": self.key, "Authorization": "Bearer sk-client", **FORM, **more}


@pytest.fixture(params=["serve", "daemon"])
async def site(
    request: pytest.FixtureRequest, serve_here: Any, run_recorder: Any, tmp_path: Path
) -> Site:
    upstream = run_recorder()
    settings: dict[str, Any] = {
        "upstream": [{"name": "up", "dialect": "openai.chat", "base_url": f"{upstream.url}/v1"}]
    }
    environment: dict[str, str] = {}
    if request.param == "daemon":
        api = await serve_here(SERVICES["api"].assemble)
        made = await api.keys.create(tenant=None, scopes={"read", "write", "gateway"})
        environment["COATCHECK_KEY"] = made.key.text
        settings |= {"store": api.url, "cache": tmp_path / "cache"}
    served = await serve_here(SERVICES[request.param].assemble, environment, **settings)
    client = await served.keys.create(tenant="default", scopes={"read", "write", "gateway"})
    return Site(served.url, upstream, served.keys, client.key.text)


@pytest.fixture
async def ai(site: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=f"{site.url}/v1", api_key=site.key) as client:
        yield client


SMALL, LARGE = os.urandom(70_000), os.urandom(5 * MIB)


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 100_000):
        yield body[start : start + 100_000]


async def test_a_providers_file_reaches_it_as_it_was_sent(site: Site, http: ClientSession) -> None:
    headers = site.headers(**{"X-Stainless-Lang": "js"})
    for data, is_first, is_chunked in product((SMALL, LARGE), (True, False), (True, False)):
        fields = [part("purpose", b"batch"), part("file", data, "requests.jsonl")]
        body = form(*(fields if is_first else reversed(fields)))
        sent: Any = chunks(body) if is_chunked else io.BytesIO(body)
        async with http.post(f"{site.url}/v1/files?a=%20b", data=sent, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, b"{}")
        seen = site.upstream.seen.pop()
        assert (seen.method, seen.target) == ("POST", "/v1/files?a=%20b")
        assert seen.body == body
        assert seen.is_chunked == is_chunked
        assert seen.get("content-type") == [FORM["Content-Type"]]
        assert seen.get("authorization") == ["Bearer sk-client"]
        assert seen.get("x-stainless-lang") == ["js"]
        assert not [name for name, value in seen.headers if "cck_" in value or "coatcheck" in name]
    assert site.upstream.seen == []


async def test_every_purpose_but_ours_is_the_providers(site: Site, http: ClientSession) -> None:
    for purpose in ("batch", "fine-tune", "assistants", "evals", "a purpose of tomorrow"):
        body = form(part("file", b"x", "a"), part("purpose", purpose.encode()))
        async with http.post(f"{site.url}/v1/files", data=body, headers=site.headers()) as answer:
            assert answer.status == 200
        async with http.get(
            f"{site.url}/v1/files", params={"purpose": purpose}, headers=site.headers()
        ) as answer:
            assert answer.status == 200
        assert [(seen.method, seen.body) for seen in site.upstream.seen] == [
            ("POST", body),
            ("GET", b""),
        ]
        site.upstream.seen.clear()


async def test_ids_that_are_not_ours_are_the_providers(site: Site, http: ClientSession) -> None:
    calls = [
        ("GET", "/v1/files/file-abc123"),
        ("GET", "/v1/files/file-abc123/content"),
        ("DELETE", "/v1/files/file-abc123"),
    ]
    for method, path in calls:
        async with http.request(method, site.url + path, headers=site.headers()) as answer:
            assert answer.status == 200
    assert [(seen.method, seen.target) for seen in site.upstream.seen] == calls


async def test_paths_below_our_ids_are_no_providers(site: Site, http: ClientSession) -> None:
    ours, upload = "file-cc" + "a" * 24, "upload_cc" + "0" * 32
    paths = (f"files/{ours}/more", f"uploads/{upload}", f"vector_stores/vs_1/files/{ours}")
    for path in paths:
        async with http.get(f"{site.url}/v1/{path}", headers=site.headers()) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (404, "not_found")
    assert site.upstream.seen == []


async def test_our_files_never_reach_the_provider(site: Site, ai: openai.AsyncOpenAI) -> None:
    for data in (SMALL, LARGE):
        file = await ai.files.create(file=("cat.bin", data), purpose="user_data")
        assert is_file_id(file.id)
        assert (await ai.files.content(file.id)).content == data
        assert (await ai.files.retrieve(file.id)).filename == "cat.bin"
        assert [found.id async for found in ai.files.list(limit=1)] == [file.id]
        assert [found.id async for found in ai.files.list(purpose="user_data")] == [file.id]
        await ai.files.delete(file.id)
        with pytest.raises(openai.NotFoundError) as caught:
            await ai.files.retrieve(file.id)
        assert caught.value.code == "file_not_found"
    assert site.upstream.seen == []


async def test_a_large_file_of_ours_before_its_purpose_is_kept(
    site: Site, http: ClientSession
) -> None:
    body = form(part("file", LARGE, "cat.bin"), part("purpose", b"vision"))
    async with http.post(
        f"{site.url}/v1/files", data=io.BytesIO(body), headers=site.headers()
    ) as answer:
        file = await answer.json()
        assert (answer.status, file["bytes"], file["purpose"]) == (200, len(LARGE), "vision")
    target = f"{site.url}/v1/files/{file['id']}/content"
    async with http.get(target, headers=site.headers()) as answer:
        assert await answer.read() == LARGE
    assert site.upstream.seen == []


async def test_what_is_set_aside_is_freed(site: Site, http: ClientSession, tmp_path: Path) -> None:
    def unnamed() -> list[str]:
        """Return the files without a name that are open here."""
        found: list[str] = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found.append(str(link.readlink()))
        return [path for path in found if str(tmp_path) in path and "(deleted)" in path]

    async def watching(body: bytes) -> AsyncIterator[bytes]:
        async for chunk in chunks(body[:-1]):
            yield chunk
        async with asyncio.timeout(10):
            while not unnamed():  # noqa: ASYNC110 - what is awaited is of the kernel
                await asyncio.sleep(0)
        yield body[-1:]

    body = form(part("file", LARGE, "a"), part("purpose", b"batch"))
    async with http.post(
        f"{site.url}/v1/files", data=watching(body), headers=site.headers()
    ) as answer:
        assert answer.status == 200
    assert unnamed() == []


async def test_passing_on_takes_a_key_for_the_gateway(site: Site, http: ClientSession) -> None:
    made = await site.keys.create(tenant="default", scopes={"read", "write"})
    headers = site.headers(**{"Coatcheck-Key": made.key.text})
    body = form(part("file", LARGE, "a"), part("purpose", b"batch"))
    async with http.post(f"{site.url}/v1/files", data=io.BytesIO(body), headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (403, "scope_missing")
    async with http.get(f"{site.url}/v1/files/file-abc", headers=headers) as answer:
        assert answer.status == 403
    body = form(part("file", SMALL, "a"), part("purpose", b"user_data"))
    async with http.post(f"{site.url}/v1/files", data=io.BytesIO(body), headers=headers) as answer:
        assert answer.status == 200
    assert site.upstream.seen == []


async def test_a_form_that_cannot_be_read_goes_nowhere(site: Site, http: ClientSession) -> None:
    bodies = {
        "purpose_missing": form(part("file", SMALL, "a")),
        "form_without_file": form(part("purpose", b"batch")),
        "form_malformed": form(part("purpose", b"batch"), part("file", SMALL, "a"))[:100],
        "form_field_repeated": form(*[part("purpose", b"batch")] * 2, part("file", SMALL, "a")),
    }
    for code, body in bodies.items():
        async with http.post(f"{site.url}/v1/files", data=body, headers=site.headers()) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (400, code)
            assert answer.headers["x-should-retry"] == "false"
    assert site.upstream.seen == []


async def test_other_bodies_than_forms_are_the_providers(site: Site, http: ClientSession) -> None:
    headers = site.headers(**{"Content-Type": "application/json"})
    async with http.post(f"{site.url}/v1/files", data=b"{}", headers=headers) as answer:
        assert answer.status == 200
    assert [seen.body for seen in site.upstream.seen] == [b"{}"]


Fixture = Callable[..., Any]


@pytest.mark.parametrize("mode", ["pass", "observe"])
async def test_where_turns_just_pass_so_do_files(
    serve_here: Any, run_recorder: Any, http: ClientSession, mode: str
) -> None:
    upstream = run_recorder()
    settings = {"name": "up", "base_url": f"{upstream.url}/v1", "mode": mode}
    served = await serve_here(SERVICES["serve"].assemble, upstream=[settings])
    made = await served.keys.create(tenant="default", scopes={"read", "write", "gateway"})
    headers = {"Coatcheck-Key": made.key.text, **FORM}
    body = form(part("purpose", b"user_data"), part("file", SMALL, "a"))
    async with http.post(
        f"{served.url}/v1/files", data=io.BytesIO(body), headers=headers
    ) as answer:
        assert answer.status == 200
    async with http.get(f"{served.url}/v1/files", headers=headers) as answer:
        assert answer.status == 200
    assert [seen.method for seen in upstream.seen] == ["POST", "GET"]
    assert upstream.seen[0].body == body


def test_an_id_of_a_file_stands_in_turns(serve: Fixture) -> None:
    with openai.OpenAI(base_url=f"{serve().url}/v1", api_key="none", max_retries=0) as ai:
        file = ai.files.create(file=("pixel.png", PIXEL), purpose="vision")
        question: Any = [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {"type": "input_image", "file_id": file.id, "detail": "auto"},
                ],
            }
        ]
        assert "PNG 1x1" in ai.responses.create(model="any", input=question).output_text
        question = [{"role": "user", "content": [{"type": "file", "file": {"file_id": file.id}}]}]
        said = ai.chat.completions.create(model="any", messages=question)
        assert Digest.of(PIXEL) in (said.choices[0].message.content or "")
        ai.files.delete(file.id)
        with pytest.raises(openai.NotFoundError):
            ai.chat.completions.create(model="any", messages=question)


async def test_a_providers_uploads_reach_it_as_they_were_sent(
    site: Site, http: ClientSession
) -> None:
    begun = b'{"bytes": 3, "filename": "a", "mime_type": "text/x", "purpose":  "batch"}'
    added = form(part("data", b"abc", "upload"))
    calls = [
        ("", begun, "application/json"),
        ("/upload_abc/parts", added, FORM["Content-Type"]),
        ("/upload_abc/complete", b'{"part_ids": ["part_a"]}', "application/json"),
        ("/upload_abc/cancel", b"", "application/json"),
    ]
    for path, body, content_type in calls:
        headers = site.headers(**{"Content-Type": content_type})
        target = f"{site.url}/v1/uploads{path}"
        async with http.post(target, data=body, headers=headers) as answer:
            assert answer.status == 200
    assert [(seen.target, seen.body) for seen in site.upstream.seen] == [
        (f"/v1/uploads{path}", body) for path, body, _ in calls
    ]
    assert site.upstream.seen[1].get("content-type") == [FORM["Content-Type"]]


async def test_our_uploads_never_reach_the_provider(site: Site, ai: openai.AsyncOpenAI) -> None:
    done = await ai.uploads.upload_file_chunked(
        file=LARGE,
        filename="a.bin",
        bytes=len(LARGE),
        mime_type="text/plain",
        purpose="user_data",
        part_size=2 * MIB,
    )
    assert done.file is not None
    assert (await ai.files.content(done.file.id)).content == LARGE
    upload = await ai.uploads.create(
        bytes=3, filename="a", mime_type="text/plain", purpose="vision"
    )
    assert (await ai.uploads.cancel(upload.id)).status == "cancelled"
    nothing: Any = ""
    with pytest.raises(openai.BadRequestError) as caught:
        await ai.uploads.create(bytes=3, filename="a", mime_type="text/plain", purpose=nothing)
    assert caught.value.code == "purpose_missing"
    assert site.upstream.seen == []


async def test_a_file_that_is_ended_is_forgotten_at_once(
    site: Site, ai: openai.AsyncOpenAI
) -> None:
    site.upstream.answer = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"
        b'{"choices": []}'
    )
    file = await ai.files.create(file=("pixel.png", PIXEL), purpose="vision")
    parts = [{"type": "file", "file": {"file_id": each}} for each in (file.id, "file-theirs")]
    question: Any = [{"role": "user", "content": parts}]
    await ai.chat.completions.create(model="any", messages=question)
    (seen,) = site.upstream.seen
    assert base64.b64encode(PIXEL) in seen.body
    assert file.id.encode() not in seen.body
    assert b'"file-theirs"' in seen.body
    await ai.files.delete(file.id)
    with pytest.raises(openai.NotFoundError) as caught:
        await ai.chat.completions.create(model="any", messages=question)
    assert caught.value.code == "blob_not_found"


async def test_a_form_that_does_not_say_in_time_what_it_is_for_is_refused(
    serve_here: Any, run_recorder: Any, http: ClientSession
) -> None:
    upstream = run_recorder()
    up = {"name": "up", "base_url": f"{upstream.url}/v1"}
    served = await serve_here(SERVICES["serve"].assemble, upstream=[up], max_blob_bytes=MIB)
    made = await served.keys.create(tenant="default", scopes={"read", "write", "gateway"})
    headers = {"Coatcheck-Key": made.key.text, **FORM}
    url = f"{served.url}/v1/files"
    for purpose in (b"batch", b"vision"):
        late = form(part("file", LARGE, "a"), part("purpose", purpose))
        async with http.post(url, data=io.BytesIO(late), headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (
                413,
                "body_too_large",
            )
            assert answer.headers["x-should-retry"] == "false"
    assert upstream.seen == []
    early = form(part("purpose", b"batch"), part("file", LARGE, "a"))
    async with http.post(url, data=io.BytesIO(early), headers=headers) as answer:
        assert answer.status == 200
    assert upstream.seen.pop().body == early
