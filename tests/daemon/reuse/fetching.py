"""Providers that fetch, and engines that read files: they do what is documented of them, for real.

A part's address is fetched over HTTP, or opened; its content type, size and picture are checked; what is
wrong is refused in the provider's own words, before anything is answered. The answer names the digests of
what was read, in order.
"""

import base64
import io
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import web as aioweb
from PIL import Image, UnidentifiedImageError
from yarl import URL

from coatcheck.protocol import Digest, Json

_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf"})
_FORMATS = {"PNG": "image/png", "JPEG": "image/jpeg", "GIF": "image/gif", "WEBP": "image/webp"}


class UnreadableError(Exception):
    """What stands in a part cannot be read; `address` is what the provider calls it."""

    def __init__(self, reason: str, address: str = "") -> None:
        super().__init__(reason)
        self.address = address


@dataclass
class FetchingProvider:
    """One provider: how it is spoken to, what it takes, what it has seen."""

    dialect: str
    max_bytes: int = 5_000_000
    names_address: bool = True
    """Whether its errors say which address they are about."""
    root: Path | None = None
    """Below which files may be read; None: none."""
    is_deaf: bool = False
    """Whether it reaches nobody."""
    seen: list[Json] = field(default_factory=list[Json])
    sizes: list[int] = field(default_factory=list[int])
    answered: int = 0
    fetched: list[str] = field(default_factory=list[str])
    bytes_fetched: int = 0
    held: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """What it resolves by itself, by refs."""
    mounted: tuple[Path, Path] | None = None
    """A folder as it is called in addresses, and where it is."""
    hook: "Respond | None" = None
    """What answers first."""

    async def respond(self, request: aioweb.Request) -> aioweb.StreamResponse:
        """Read all parts, then answer."""
        raw = await request.read()
        body = await request.json()
        self.seen.append(body)
        self.sizes.append(len(raw))
        try:
            async with aiohttp.ClientSession(auto_decompress=False) as http:
                digests = [
                    Digest.of(await self._read(http, where, declared))
                    for where, declared in parts(self.dialect, body)
                ]
        except UnreadableError as error:
            return self._refuse(error)
        self.answered += 1
        return aioweb.json_response({"read": digests})

    async def _read(self, http: aiohttp.ClientSession, where: str, declared: str | None) -> bytes:
        shown: str | None
        if where.startswith("data:"):
            head, _, text = where[5:].partition(",")
            data, shown = base64.b64decode(text, validate=True), head.partition(";")[0]
        elif where in self.held:
            data, shown = self.held[where], declared
        elif where.startswith("file://"):
            data, shown = self._open(where), declared
        else:
            data, shown = await self._fetch(http, where)
        return self._checked(data, shown, declared, where)

    async def _fetch(self, http: aiohttp.ClientSession, where: str) -> tuple[bytes, str]:
        self.fetched.append(where)
        if self.is_deaf:
            raise UnreadableError("Timeout while downloading", where)
        try:
            async with http.get(URL(where, encoded=True), allow_redirects=False) as answer:
                if answer.status != 200:
                    raise UnreadableError(f"Upstream status code: {answer.status}", where)
                if (answer.content_length or 0) > self.max_bytes:
                    raise UnreadableError("the file is too large to download", where)
                data = await answer.read()
                self.bytes_fetched += len(data)
                return data, answer.content_type
        except aiohttp.ClientError as error:
            raise UnreadableError(f"cannot connect: {type(error).__name__}", where) from error

    def _open(self, where: str) -> bytes:
        path = Path(unquote(urlsplit(where).path))
        if self.root is None:
            raise UnreadableError(
                "Cannot load local files without --allowed-local-media-path", where
            )
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise UnreadableError(f"The file path {path} must be a subpath of {self.root}", where)
        if self.mounted:
            path = self.mounted[1] / path.relative_to(self.mounted[0])
        try:
            return path.read_bytes()
        except OSError as error:
            raise UnreadableError(f"{error.strerror}: {path}", where) from error

    def _checked(self, data: bytes, shown: str | None, declared: str | None, where: str) -> bytes:
        name = where if not where.startswith("data:") else ""
        if shown is not None and shown not in _TYPES:
            raise UnreadableError(f"cannot download: unsupported content type {shown}", name)
        if data.startswith(b"%PDF-"):
            return data
        try:
            with Image.open(io.BytesIO(data)) as image:
                image.load()
                kind = _FORMATS.get(image.format or "")
        except (UnidentifiedImageError, OSError, SyntaxError) as error:
            raise UnreadableError("could not process image", name) from error
        if kind is None or (declared is not None and declared != kind):
            raise UnreadableError(f"declared {declared}, is {kind}", name)
        return data

    def _refuse(self, error: UnreadableError) -> aioweb.Response:
        where = f" {error.address}" if self.names_address and error.address else ""
        text = f"{error}{where}"
        match self.dialect:
            case "anthropic.messages":
                text = f"Unable to download the file. Please verify the URL and try again. {text}"
                body: Json = {
                    "type": "error",
                    "error": {"type": "invalid_request_error", "message": text},
                }
            case "gemini.generate":
                text = f"Cannot fetch content from the provided URL. {text}"
                body = {"error": {"code": 400, "message": text, "status": "INVALID_ARGUMENT"}}
            case _:
                body = {
                    "error": {
                        "message": f"Error while downloading.{where} {error}",
                        "type": "invalid_request_error",
                        "param": "url",
                        "code": "invalid_image_url",
                    }
                }
        return aioweb.json_response(body, status=400)


Parts = Iterator[tuple[str, str | None]]


def parts(dialect: str, body: Any) -> Parts:
    """Yield address and declared type of each attachment, in order."""
    readers: Mapping[str, Callable[[Any], Parts]] = {
        "openai.chat": _chat,
        "openai.responses": _responses,
        "anthropic.messages": _anthropic,
        "gemini.generate": _gemini,
        "dify.llm": _dify,
    }
    yield from readers[dialect](body)


def _contents(messages: Any) -> Iterator[Any]:
    for message in messages:
        if isinstance(message["content"], list):
            yield from message["content"]


def _chat(body: Any) -> Parts:
    for part in _contents(body["messages"]):
        if part["type"] == "image_url":
            yield part["image_url"]["url"], None
        elif part["type"] == "file":
            yield part["file"]["file_data"], None


def _responses(body: Any) -> Parts:
    for part in _contents(body["input"]):
        if part["type"] == "input_image":
            yield part["image_url"], None
        elif part["type"] == "input_file":
            yield part.get("file_url") or part["file_data"], None


def _anthropic(body: Any) -> Parts:
    for part in _contents(body["messages"]):
        if part["type"] in ("image", "document"):
            source = part["source"]
            if source["type"] == "url":
                yield source["url"], None
            else:
                assert source["type"] == "base64"
                yield f"data:{source['media_type']};base64,{source['data']}", source["media_type"]


def _gemini(body: Any) -> Parts:
    for content in body["contents"]:
        for part in content["parts"]:
            if "fileData" in part:
                yield part["fileData"]["fileUri"], part["fileData"]["mimeType"]
            elif "inlineData" in part:
                data = part["inlineData"]
                yield f"data:{data['mimeType']};base64,{data['data']}", data["mimeType"]


def _dify(body: Any) -> Parts:
    for part in _contents(body["data"]["prompt_messages"]):
        if part["type"] != "text":
            kind = part["mime_type"]
            yield part["url"] or f"data:{kind};base64,{part['base64_data']}", kind


Respond = Callable[[aioweb.Request], Awaitable[aioweb.StreamResponse]]


def picture(colour: str, kind: str = "PNG", side: int = 8) -> bytes:
    """Return a small picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(file, kind)
    return file.getvalue()


PDF = b"%PDF-1.4\n%" + bytes(range(128, 192)) + b"\n%%EOF\n"


@dataclass(frozen=True)
class Spoken:
    """How a turn is written in a dialect, with attachments by their refs."""

    dialect: str
    path: str
    has_documents: bool

    def turn(self, attachments: list[tuple[str, str]], *, text: str = "Look") -> dict[str, Json]:
        """Return a body; `attachments` are ref, or data URL, and type."""
        made: list[Json] = [self._part(ref, kind) for ref, kind in attachments]
        match self.dialect:
            case "openai.responses":
                content: list[Json] = [{"type": "input_text", "text": text}, *made]
                return {"model": "m", "input": [{"role": "user", "content": content}]}
            case "gemini.generate":
                return {"contents": [{"role": "user", "parts": [{"text": text}, *made]}]}
            case "anthropic.messages":
                content = [{"type": "text", "text": text}, *made]
                messages: Json = [{"role": "user", "content": content}]
                return {"model": "m", "max_tokens": 9, "messages": messages}
            case "dify.llm":
                content = [{"type": "text", "data": text}, *made]
                messages = [{"role": "user", "name": None, "content": content}]
                return {"user_id": "u", "data": {"model": "m", "prompt_messages": messages}}
            case _:
                content = [{"type": "text", "text": text}, *made]
                return {"model": "m", "messages": [{"role": "user", "content": content}]}

    def _part(self, ref: str, kind: str) -> Json:
        is_image = kind.startswith("image/")
        match self.dialect:
            case "openai.responses" if is_image:
                return {"type": "input_image", "image_url": ref, "detail": "auto"}
            case "openai.responses":
                return {"type": "input_file", "filename": "a.pdf", "file_data": ref}
            case "gemini.generate" if ref.startswith("data:"):
                return {"inlineData": {"mimeType": kind, "data": ref.partition(",")[2]}}
            case "gemini.generate":
                return {"fileData": {"fileUri": ref, "mimeType": kind}}
            case "anthropic.messages":
                source: Json = {"type": "url", "url": ref}
                if ref.startswith("data:"):
                    data = ref.partition(",")[2]
                    source = {"type": "base64", "media_type": kind, "data": data}
                return {"type": "image" if is_image else "document", "source": source}
            case "dify.llm":
                is_inline = ref.startswith("data:")
                return {
                    "type": "image" if is_image else "document",
                    "format": kind.partition("/")[2],
                    "base64_data": ref.partition(",")[2] if is_inline else "",
                    "url": "" if is_inline else ref,
                    "mime_type": kind,
                }
            case _ if is_image:
                return {"type": "image_url", "image_url": {"url": ref}}
            case _:
                return {"type": "file", "file": {"filename": "a.pdf", "file_data": ref}}


DIALECTS = [
    Spoken("openai.chat", "/v1/chat/completions", has_documents=False),
    Spoken("openai.responses", "/v1/responses", has_documents=True),
    Spoken("anthropic.messages", "/v1/messages", has_documents=True),
    Spoken("gemini.generate", "/v1beta/models/m:generateContent", has_documents=True),
    Spoken("dify.llm", "/plugin/t/dispatch/llm/invoke", has_documents=True),
]
