"""A provider with a Files API, in three dialects: strict as the real ones, and it says what it saw.

An answer's text is the JSON list of the digests of the images that the model was shown, in order. Files
belong to the key that uploaded them and expire by the test's clock. `crossed` counts how often the bytes
of each digest came, by the way they came.
"""

import base64
import hashlib
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from coatcheck.protocol import Digest

from ..remote import Clock

Refuse = Callable[[web.Request], Awaitable[web.StreamResponse | None]]
_DATA_URL = re.compile(r"data:([a-z]+/[a-z0-9.+-]+);base64,([A-Za-z0-9+/]*={0,2})")
_IMAGES = {"image/png", "image/jpeg", "image/gif", "image/webp"}


class RefusedError(Exception):
    """What the provider answers in place of a model's text."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(body)
        self.status = status
        self.body = body


@dataclass
class File:
    """A file that somebody uploaded."""

    owner: str
    data: bytes
    media_type: str
    filename: str
    purpose: str
    expires_at: float
    state: str = "ACTIVE"


@dataclass
class Provider:
    """State and handlers; `serve` makes the application."""

    clock: Clock
    files: dict[str, File] = field(default_factory=dict[str, File])
    crossed: Counter[tuple[str, Digest]] = field(default_factory=Counter[tuple[str, Digest]])
    paths: list[str] = field(default_factory=list[str])
    bodies: list[bytes] = field(default_factory=list[bytes])
    removed: list[str] = field(default_factory=list[str])
    before: Refuse | None = None
    """May answer in the provider's place."""
    first_state: str = "ACTIVE"
    made: int = 0

    def app(self) -> web.Application:
        """Return the application, for every dialect."""
        app = web.Application(client_max_size=1 << 26)
        routes: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
            ("POST", "/v1/files", self._post_file),
            ("GET", "/v1/files/{id}", self._file),
            ("DELETE", "/v1/files/{id}", self._file),
            ("POST", "/v1/responses", self._responses),
            ("POST", "/v1/messages", self._messages),
            ("POST", "/upload/v1beta/files", self._gemini_upload),
            ("GET", "/v1beta/files/{id}", self._gemini_file),
            ("DELETE", "/v1beta/files/{id}", self._gemini_file),
            ("POST", "/v1beta/models/{call}", self._gemini),
        ]
        for method, path, handler in routes:
            app.router.add_route(method, path, self._guarded(handler))
        return app

    def uploads(self) -> Counter[Digest]:
        """Return how often each digest was uploaded."""
        return Counter({digest: n for (way, digest), n in self.crossed.items() if way == "file"})

    def inline(self) -> Counter[Digest]:
        """Return how often each digest came inline."""
        return Counter({digest: n for (way, digest), n in self.crossed.items() if way == "inline"})

    def drop(self, data: bytes) -> None:
        """Lose the files that hold these bytes."""
        for name in [name for name, file in self.files.items() if file.data == data]:
            del self.files[name]

    def _guarded(
        self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            self.paths.append(f"{request.method} {request.path}")
            if self.before and (answer := await self.before(request)) is not None:
                return answer
            try:
                return await handler(request)
            except RefusedError as error:
                return web.json_response(error.body, status=error.status)

        return handle

    def _keep(
        self, owner: str, data: bytes, kind: str, name: str, purpose: str, left: float
    ) -> str:
        self.made += 1
        file_id = f"file_{self.made:024d}" if purpose == "claude" else f"file-{self.made:022d}"
        file_id = f"g{self.made:011d}" if purpose == "gemini" else file_id
        self.crossed["file", Digest.of(data)] += 1
        self.files[file_id] = File(
            owner, data, kind, name, purpose, self.clock() + left, self.first_state
        )
        return file_id

    def _live(self, file_id: str, owner: str) -> File | None:
        file = self.files.get(file_id)
        return file if file and file.owner == owner and file.expires_at > self.clock() else None

    def _show(self, data: bytes) -> str:
        digest = Digest.of(data)
        self.crossed["inline", digest] += 1
        return digest

    # OpenAI and Anthropic

    async def _post_file(self, request: web.Request) -> web.StreamResponse:
        is_claude = "anthropic-version" in request.headers
        if is_claude:
            _check_beta(request)
        form: dict[str, str] = {}
        data, kind, name = b"", "", ""
        fields = await request.post()
        for key, value in fields.items():
            if isinstance(value, web.FileField):
                data, kind, name = value.file.read(), value.content_type, value.filename
            else:
                form[key] = str(value)
        if is_claude:
            left = int(form.pop("expires_in_seconds"))
            assert 3600 <= left <= 7_776_000
            assert not form
            file_id = self._keep(_key(request), data, kind, name, "claude", left)
            expires = datetime.fromtimestamp(self.clock() + left, UTC).isoformat()
            return web.json_response(
                {
                    "id": file_id,
                    "type": "file",
                    "filename": name,
                    "mime_type": kind,
                    "size_bytes": len(data),
                    "expires_at": expires.replace("+00:00", "Z"),
                }
            )
        assert form.pop("expires_after[anchor]") == "created_at"
        left = int(form.pop("expires_after[seconds]"))
        purpose = form.pop("purpose")
        assert 3600 <= left <= 2_592_000
        assert purpose in ("vision", "user_data")
        assert not form
        file_id = self._keep(_key(request), data, kind, name, purpose, left)
        return web.json_response(
            {
                "id": file_id,
                "object": "file",
                "bytes": len(data),
                "purpose": purpose,
                "expires_at": int(self.clock() + left),
            }
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        is_claude = "anthropic-version" in request.headers
        if is_claude:
            _check_beta(request)
        if self._live(file_id, _key(request)) is None:
            raise _no_claude_file(file_id) if is_claude else _no_openai_file(404, file_id)
        if request.method == "DELETE":
            del self.files[file_id]
            self.removed.append(file_id)
        return web.json_response({"id": file_id})

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        shown: list[str] = []
        for item in body["input"]:
            for part in _listed(item["content"]):
                if part["type"] in ("input_image", "input_file"):
                    shown.append(self._openai_part(part, _key(request)))
        text = {"type": "output_text", "text": json.dumps(shown)}
        return web.json_response({"output": [{"type": "message", "content": [text]}]})

    def _openai_part(self, part: dict[str, Any], owner: str) -> str:
        url_key = "image_url" if part["type"] == "input_image" else "file_data"
        given = [key for key in ("file_id", url_key) if part.get(key) is not None]
        if len(given) != 1 or ("file_id" in given and "filename" in part):
            raise RefusedError(400, _openai_error("Mutually exclusive parameters", "input"))
        if given == [url_key]:
            return self._show(_decoded(part[url_key]))
        file_id = part["file_id"]
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", file_id):
            raise RefusedError(400, _openai_error("Expected an ID that contains letters", "input"))
        file = self._live(file_id, owner)
        if file is None:
            raise _no_openai_file(400, file_id)
        if part["type"] == "input_image" and file.media_type not in _IMAGES:
            raise RefusedError(400, _openai_error(f"{file_id} is no image", "input"))
        return Digest.of(file.data)

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        shown: list[str] = []
        for message in body["messages"]:
            for block in _listed(message["content"]):
                if block["type"] in ("image", "document"):
                    shown.append(self._source(block["source"], request))
        text = {"type": "text", "text": json.dumps(shown)}
        return web.json_response({"type": "message", "content": [text]})

    def _source(self, source: dict[str, Any], request: web.Request) -> str:
        if source["type"] == "base64":
            assert source.keys() == {"type", "media_type", "data"}
            return self._show(base64.b64decode(source["data"], validate=True))
        assert source.keys() == {"type", "file_id"}, source
        _check_beta(request)
        file = self._live(source["file_id"], _key(request))
        if file is None:
            raise _no_claude_file(source["file_id"], is_expired=source["file_id"] in self.files)
        return Digest.of(file.data)

    # Gemini

    async def _gemini_upload(self, request: web.Request) -> web.StreamResponse:
        headers = request.headers
        if headers["X-Goog-Upload-Command"] == "start":
            assert headers["X-Goog-Upload-Protocol"] == "resumable"
            self.made += 1
            size = int(headers["X-Goog-Upload-Header-Content-Length"])
            kind = headers["X-Goog-Upload-Header-Content-Type"]
            url = (
                f"https://elsewhere.example/upload/v1beta/files?upload_id={self.made}.{size}.{kind}"
            )
            return web.json_response({}, headers={"X-Goog-Upload-URL": url})
        assert headers["X-Goog-Upload-Command"] == "upload, finalize"
        assert headers["X-Goog-Upload-Offset"] == "0"
        data = await request.read()
        _, promised, kind = request.query["upload_id"].split(".", 2)
        assert len(data) == int(promised)
        file_id = self._keep(_key(request), data, kind, "", "gemini", 48 * 3600)
        answer = {"file": self._gemini_view(request, file_id)}
        return web.json_response(answer, headers={"X-Goog-Upload-Status": "final"})

    def _gemini_view(self, request: web.Request, file_id: str) -> dict[str, Any]:
        file = self.files[file_id]
        sha = hashlib.sha256(file.data).hexdigest()
        expires = datetime.fromtimestamp(file.expires_at, UTC).isoformat().replace("+00:00", "Z")
        return {
            "name": f"files/{file_id}",
            "uri": f"https://g.example/v1beta/files/{file_id}",
            "mimeType": file.media_type,
            "sizeBytes": str(len(file.data)),
            "sha256Hash": base64.b64encode(sha.encode()).decode(),
            "state": file.state,
            "expirationTime": expires,
        }

    async def _gemini_file(self, request: web.Request) -> web.StreamResponse:
        file_id = request.match_info["id"]
        if self._live(file_id, _key(request)) is None:
            raise _no_gemini_file(file_id)
        view = self._gemini_view(request, file_id)
        if request.method == "DELETE":
            del self.files[file_id]
            self.removed.append(file_id)
            return web.json_response({})
        self.files[file_id].state = "ACTIVE"  # the next look finds it so
        return web.json_response(view)

    async def _gemini(self, request: web.Request) -> web.StreamResponse:
        body = await self._read(request)
        shown: list[str] = []
        for part in _gemini_parts(body):
            inline, file = part.get("inlineData"), part.get("fileData")
            if inline:
                shown.append(self._show(base64.b64decode(inline["data"], validate=True)))
            elif file:
                shown.append(self._gemini_shown(file, _key(request)))
        content = {"role": "model", "parts": [{"text": json.dumps(shown)}]}
        return web.json_response({"candidates": [{"content": content}]})

    def _gemini_shown(self, part: dict[str, Any], owner: str) -> str:
        match = re.fullmatch(r"https://g\.example/v1beta/files/([a-z0-9]{1,40})", part["fileUri"])
        assert match, part
        file = self._live(match[1], owner)
        if file is None:
            raise _no_gemini_file(match[1])
        if file.state != "ACTIVE":
            raise RefusedError(
                400,
                _gemini_error(
                    400,
                    f"The File {match[1]} is not in an ACTIVE state and usage is not allowed.",
                    "FAILED_PRECONDITION",
                ),
            )
        assert part["mimeType"] == file.media_type
        return Digest.of(file.data)

    async def _read(self, request: web.Request) -> Any:
        raw = await request.read()
        self.bodies.append(raw)
        return json.loads(raw)


def _listed(content: Any) -> list[Any]:
    """Return the parts of a content; text has none."""
    return [] if isinstance(content, str) else [*content]


def _key(request: web.Request) -> str:
    headers = request.headers
    key = headers.get("x-goog-api-key") or headers.get("x-api-key")
    return key or headers.get("Authorization", "").removeprefix("Bearer ")


def _check_beta(request: web.Request) -> None:
    betas = [part.strip() for part in request.headers.get("anthropic-beta", "").split(",")]
    is_old = request.headers["anthropic-version"] < "2026-10-21"
    if is_old and "files-api-2025-04-14" not in betas:
        raise RefusedError(
            400, _claude_error("invalid_request_error", "unknown field: source.file")
        )


def _decoded(url: str) -> bytes:
    match = _DATA_URL.fullmatch(url)
    if match is None:
        raise RefusedError(400, _openai_error(f"Invalid URL {url[:60]}", "input"))
    return base64.b64decode(match[2], validate=True)


def _openai_error(message: str, param: str | None) -> Any:
    error = {"message": message, "type": "invalid_request_error", "param": param, "code": None}
    return {"error": error}


def _no_openai_file(status: int, file_id: str) -> RefusedError:
    return RefusedError(status, _openai_error(f"No such File object: {file_id}", "id"))


def _claude_error(kind: str, message: str, **details: str) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message, "details": details}}


def _no_claude_file(file_id: str, *, is_expired: bool = False) -> RefusedError:
    if is_expired:
        body = _claude_error("not_found_error", "The file has expired", error_code="file_expired")
        return RefusedError(404, body)
    return RefusedError(404, _claude_error("not_found_error", f"File not found: {file_id}"))


def _gemini_error(status: int, message: str, name: str) -> Any:
    return {"error": {"code": status, "message": message, "status": name}}


def _no_gemini_file(file_id: str) -> RefusedError:
    message = f"You do not have permission to access the File {file_id} or it may not exist."
    return RefusedError(403, _gemini_error(403, message, "PERMISSION_DENIED"))


def _gemini_parts(body: Any) -> Iterator[dict[str, Any]]:
    for content in body["contents"]:
        yield from content["parts"]
