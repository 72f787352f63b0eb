"""Anthropic's and Gemini's Files APIs through `serve`, and through `daemon` with its store apart."""

import asyncio
import base64
import hashlib
import io
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import anthropic
import pytest
from aiohttp import ClientError, ClientSession
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from coatcheck.cli.services import SERVICES
from coatcheck.protocol import Digest, is_file_id
from coatcheck.store import Keys

Fixture = Callable[..., Any]
pytestmark = [
    pytest.mark.system,
    # Google's SDK makes a class of aiohttp's.
    pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession"),
]

MIB = 1024 * 1024
CHUNK = 8 * MIB  # of Google's SDK
SIZE = 50_000_000
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG = genai_types.UploadFileConfig(mime_type="image/png")
DIGEST = Digest.of(PIXEL)


@dataclass
class Site:
    """What clients talk to, and the upstream behind it."""

    url: str
    upstream: Any
    keys: Keys
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Coatcheck-Key": self.key, **more}

    def anthropic(self, **options: Any) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=self.key, **options)

    def gemini(self, key: str | None = None) -> Any:
        options = genai_types.HttpOptions(base_url=self.url)
        return genai.Client(api_key=key or self.key, http_options=options).aio


@pytest.fixture(params=["serve", "daemon"])
async def site(
    request: pytest.FixtureRequest, serve_here: Any, run_recorder: Any, tmp_path: Any
) -> Site:
    upstream = run_recorder()
    settings: dict[str, Any] = {
        "upstream": [
            {"name": name, "dialect": dialect, "base_url": upstream.url}
            for name, dialect in (("a", "anthropic.messages"), ("g", "gemini.generate"))
        ]
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


def said(message: Any) -> str:
    return "".join(block.text for block in message.content)


@pytest.mark.parametrize("is_beta", [False, True])
async def test_a_file_of_anthropics_client_is_kept_and_shown(site: Site, *, is_beta: bool) -> None:
    async with site.anthropic() as ai:
        files: Any = ai.beta.files if is_beta else ai.files
        file = await files.upload(file=("pixel.png", PIXEL, "image/png"))
        assert is_file_id(file.id)
        assert [found.id async for found in files.list(limit=1)] == [file.id]
        assert (await files.retrieve_metadata(file.id)).mime_type == "image/png"
        assert await (await files.download(file.id)).read() == PIXEL
        image: Any = {"type": "image", "source": {"type": "file", "file_id": file.id}}
        asked: Any = {
            "model": "echo",
            "max_tokens": 99,
            "messages": [{"role": "user", "content": [image]}],
        }
        messages: Any = ai.beta.messages if is_beta else ai.messages
        betas = {"betas": ["files-api-2025-04-14"]} if is_beta else {}
        assert DIGEST in said(await messages.create(**asked, **betas))
        await files.delete(file.id)
        with pytest.raises(anthropic.NotFoundError):
            await files.retrieve_metadata(file.id)
        with pytest.raises(anthropic.NotFoundError) as caught:
            await messages.create(**asked, **betas)
        assert file.id in str(caught.value.body)
    assert site.upstream.seen == []


async def test_a_file_of_geminis_client_is_kept_and_shown(site: Site, http: ClientSession) -> None:
    async with site.gemini() as ai:
        file = await ai.files.upload(file=io.BytesIO(PIXEL), config=PNG)
        assert file.uri.startswith(f"{site.url}/v1beta/files/file-cc")
        assert [found.name async for found in await ai.files.list()] == [file.name]
        assert await ai.files.download(file=file) == PIXEL
        shown = await ai.models.generate_content(model="echo", contents=[file, "What?"])
        assert DIGEST in shown.text
        for uri in (file.uri, file.name, file.name.removeprefix("files/")):
            part = genai_types.Part.from_uri(file_uri=uri, mime_type="image/png")
            shown = await ai.models.generate_content(model="echo", contents=[part])
            assert DIGEST in shown.text
            for outer, inner in (("fileData", "fileUri"), ("file_data", "file_uri")):
                body = {"contents": [{"parts": [{outer: {inner: uri}}]}]}
                target = f"{site.url}/v1beta/models/echo:generateContent"
                async with http.post(target, json=body, headers=site.headers()) as answer:
                    assert DIGEST in await answer.text()
        await ai.files.delete(name=file.name)
        with pytest.raises(genai_errors.ClientError) as caught:
            await ai.models.generate_content(model="echo", contents=[file])
        assert caught.value.code == 404
    assert site.upstream.seen == []


async def test_a_file_of_one_api_is_one_of_all(site: Site) -> None:
    async with site.anthropic() as claude, site.gemini() as gemini:
        file = await claude.files.upload(file=("pixel.png", PIXEL, "image/png"))
        other = await gemini.files.get(name=file.id)
        assert (other.display_name, other.mime_type) == ("pixel.png", "image/png")
        shown = await gemini.models.generate_content(model="echo", contents=[other])
        assert DIGEST in shown.text
        await gemini.files.delete(name=other.name)
        with pytest.raises(anthropic.NotFoundError):
            await claude.files.retrieve_metadata(file.id)


async def test_what_is_none_of_ours_is_the_providers(site: Site, http: ClientSession) -> None:
    old = site.headers(**{"anthropic-version": "2023-06-01", "x-api-key": "sk-client"})
    google = site.headers(**{"x-goog-api-key": "AIza-client"})
    calls = [
        ("GET", "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w?beta=true", old),
        ("GET", "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w/content", old),
        ("DELETE", "/v1/files/file_011CNha8iCJcU1wXNR6q4V8w", old),
        ("GET", "/v1/files/azucr4abxgje", google),
        ("GET", "/v1beta/files/azucr4abxgje", google),
        ("GET", "/v1beta/files/azucr4abxgje:download?alt=media", google),
        ("DELETE", "/v1alpha/files/azucr4abxgje", google),
        ("POST", "/v1beta/files", google),
        ("POST", "/v1/files", google),
        ("POST", "/v1beta/files:register", google),
        ("POST", "/upload/v1beta/files?upload_id=ABgVH88x&upload_protocol=resumable", google),
    ]
    for method, path, headers in calls:
        async with http.request(method, site.url + path, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (200, b"{}")
    assert [(seen.method, seen.target) for seen in site.upstream.seen] == [
        call[:2] for call in calls
    ]
    for seen in site.upstream.seen:
        assert seen.get("x-api-key") + seen.get("x-goog-api-key") in (
            ["sk-client"],
            ["AIza-client"],
        )
        assert not [name for name, value in seen.headers if "cck_" in value or "coatcheck" in name]


async def test_a_file_that_its_client_names_is_the_providers(
    site: Site, http: ClientSession
) -> None:
    headers = site.headers(
        **{
            "x-goog-api-key": "AIza-client",
            "X-Goog-Upload-Protocol": "resumable",
            "X-Goog-Upload-Command": "start",
        }
    )
    body = b'{"file": {"name": "files/my-cat"}}'
    site.upstream.answer = b"HTTP/1.1 200 OK\r\nX-Goog-Upload-URL: https://google.example/u\r\nContent-Length: 0\r\n\r\n"
    async with http.post(f"{site.url}/upload/v1beta/files", data=body, headers=headers) as answer:
        assert answer.headers["x-goog-upload-url"] == "https://google.example/u"
    (seen,) = site.upstream.seen
    assert (seen.body, seen.get("x-goog-upload-command")) == (body, ["start"])
    writer = await site.keys.create(tenant="default", scopes={"write"})
    headers["Coatcheck-Key"] = writer.key.text
    async with http.post(f"{site.url}/upload/v1beta/files", data=body, headers=headers) as answer:
        assert answer.status == 403
        assert answer.headers["x-goog-upload-status"] == "final"


async def test_errors_are_typed_and_sent_once(site: Site, http: ClientSession) -> None:
    reader = await site.keys.create(tenant="default", scopes={"read"})
    async with site.gemini(reader.key.text) as ai:
        with pytest.raises(genai_errors.ClientError) as caught:
            await ai.files.upload(file=io.BytesIO(PIXEL), config=PNG)
        assert (caught.value.code, caught.value.status) == (403, "PERMISSION_DENIED")
    async with site.gemini() as ai:
        with pytest.raises(genai_errors.ClientError) as caught:
            await ai.files.upload(file=io.BytesIO(b""), config=PNG)
        assert (caught.value.code, caught.value.status) == (400, "INVALID_ARGUMENT")
    # At an upload that is gone, where the SDK has no key to show, and would try thrice.
    upload = f"{site.url}/upload/v1beta/files?upload_id={'0' * 32}"
    options = genai_types.HttpOptions(base_url=site.url)
    api: Any = vars(genai.Client(api_key="none", http_options=options))["_api_client"]
    with pytest.raises(genai_errors.ClientError) as caught:
        async with asyncio.timeout(5):  # three times take it 7 seconds
            await api.async_upload_file(io.BytesIO(PIXEL), upload, len(PIXEL))
    await api.aclose()
    assert (caught.value.code, caught.value.status) == (404, "NOT_FOUND")
    async with site.anthropic() as claude:
        with pytest.raises(anthropic.BadRequestError) as refused:
            await claude.files.upload(file=("a", b"x"), expires_in_seconds=1)
        assert refused.value.response.headers["x-should-retry"] == "false"
    assert site.upstream.seen == []


def test_geminis_client_uploads_in_pieces_and_reads_them_back(
    serve: Fixture, tmp_path: Any
) -> None:
    data = random.Random(12).randbytes(2 * CHUNK + 1)
    path = tmp_path / "large.png"
    path.write_bytes(data)
    options = genai_types.HttpOptions(base_url=serve().url)
    with genai.Client(api_key="none", http_options=options) as ai:
        file = ai.files.upload(file=path)
        assert (file.size_bytes, file.display_name) == (len(data), "large.png")
        assert file.sha256_hash is not None
        assert base64.b64decode(file.sha256_hash).decode() == hashlib.sha256(data).hexdigest()
        assert ai.files.download(file=file) == data


async def test_an_upload_goes_on_after_the_server_was_killed(
    serve: Fixture, http: ClientSession
) -> None:
    data = random.Random(13).randbytes(SIZE)
    served = serve()
    begin = {
        "X-Goog-Upload-Protocol": "resumable",
        "X-Goog-Upload-Command": "start",
        "X-Goog-Upload-Header-Content-Length": str(SIZE),
    }
    async with http.post(f"{served.url}/upload/v1beta/files", headers=begin) as answer:
        upload = answer.headers["x-goog-upload-url"]
    offset, file = 0, None
    for cut in (20_000_000, 41_000_000, None):
        while offset < SIZE and (cut is None or offset + CHUNK <= cut):
            offset, file = await send(http, upload, data, offset)
        if cut is not None:
            await break_off(http, upload, data[offset:cut], offset)
            served.process.kill()
            served.process.wait()
            old, served = served.url, serve(data=served.folder)
            upload = upload.replace(old, served.url)
            offset = await received(http, upload)
            assert offset <= cut
    assert file is not None
    assert (
        file["sha256Hash"] == base64.b64encode(hashlib.sha256(data).hexdigest().encode()).decode()
    )
    async with http.get(file["downloadUri"]) as answer:
        assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(data).digest()


async def send(http: ClientSession, upload: str, data: bytes, offset: int) -> tuple[int, Any]:
    """Send the next piece; return where it ends, and the file when it was the last."""
    piece = data[offset : offset + CHUNK]
    is_last = offset + len(piece) == len(data)
    headers = {
        "X-Goog-Upload-Command": "upload, finalize" if is_last else "upload",
        "X-Goog-Upload-Offset": str(offset),
    }
    async with http.post(upload, data=io.BytesIO(piece), headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["x-goog-upload-status"] == ("final" if is_last else "active")
        found = await answer.json(content_type=None)
        return offset + len(piece), found["file"] if found else None


async def break_off(http: ClientSession, upload: str, piece: bytes, offset: int) -> None:
    """Send the beginning of a piece, and no more."""

    async def body() -> AsyncIterator[bytes]:
        yield piece
        raise ConnectionError

    headers = {"X-Goog-Upload-Command": "upload", "X-Goog-Upload-Offset": str(offset)}
    with pytest.raises(ClientError):
        async with http.post(upload, data=body(), headers=headers):
            pass


async def received(http: ClientSession, upload: str) -> int:
    headers = {"X-Goog-Upload-Command": "query"}
    async with http.post(upload, headers=headers) as answer:
        assert (answer.status, answer.headers["x-goog-upload-status"]) == (200, "active")
        return int(answer.headers["x-goog-upload-size-received"])
