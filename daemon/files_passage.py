"""The Files APIs at a daemon apart from its store: our files to the store, a provider's to its upstream.

What comes goes on as it is, either way. The rules are those of `serve`, whose store and upstreams are
in one process: an id of ours is the store's; OpenAI's files and lists for other purposes than
`KEPT_PURPOSES` are the provider's, and of a form whose purpose stands behind its file the bytes are
set aside until that is read. Where a provider has no upstream, the store answers for all of it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping

from aiohttp import web

from coatcheck.protocol import (
    GEMINI,
    GEMINI_VERSIONS,
    MAX_START_BYTES,
    OPENAI,
    UPLOAD_ID,
    JsonError,
    Problem,
    Scope,
    decode_json,
    has_chosen_name,
    is_file_id,
    is_kept_purpose,
    is_start,
    is_upload_id,
    read_upload_id,
    split_download,
)
from coatcheck.store import BodySpools, StoreError
from coatcheck.web import (
    Handler,
    ProblemError,
    RewindableBody,
    Route,
    is_form,
    provider_of,
    provider_refusal,
    read_body,
    read_purpose,
    require_identity,
    tenant_of,
    upload_refusal,
)

from .errors import NotSetAsideError
from .passage import Passage
from .store_passage import StorePassage

_FILES = "/v1/files"
_FILE = f"{_FILES}/{{file}}"
_UPLOADS = "/v1/uploads"
_MAX_JSON_BYTES = 256 * 1024  # what the store reads of such a body
# Below these Gemini's API has its files too, and nobody else's.
_GEMINIS = tuple(f"/{version}/files" for version in GEMINI_VERSIONS if version != "v1")

FileReleased = Callable[[str, str], Awaitable[None]]


class FilesPassage:
    """Passes requests about files on. Owns nothing; `released` is told of each DELETE of ours."""

    def __init__(
        self,
        store: StorePassage,
        providers: Passage,
        bodies: BodySpools,
        max_blob_bytes: int,
        released: FileReleased,
    ) -> None:
        """Forms with files of at most `max_blob_bytes` are set aside."""
        self._store = store
        self._providers = providers
        self._bodies = bodies
        self._max_blob_bytes = max_blob_bytes
        self._released = released

    def routes(self) -> list[Route]:
        """Return the routes, with the scopes that the store's have."""
        table: list[tuple[str, str, Handler, Scope]] = [
            ("POST", _FILES, self.create, "write"),
            ("GET", _FILES, self.list, "read"),
            ("GET", _FILE, self.get, "read"),
            ("GET", f"{_FILE}/content", self.get, "read"),
            ("DELETE", _FILE, self.delete, "write"),
            ("POST", _UPLOADS, self.begin_upload, "write"),
            *(
                ("POST", f"{_UPLOADS}/{{upload}}/{end}", self.go_on, "write")
                for end in ("parts", "complete", "cancel")
            ),
        ]
        for path in _GEMINIS:
            table += [
                ("POST", path, self.create, "write"),
                ("GET", path, self.list, "read"),
                ("GET", f"{path}/{{file}}", self.get, "read"),
                ("DELETE", f"{path}/{{file}}", self.delete, "write"),
            ]
        routes = [
            Route(method, path, handler, render_problem=render_problem, scope=scope)
            for method, path, handler, scope in table
        ]
        return [*routes, *self._gemini_uploads()]

    def _gemini_uploads(self) -> list[Route]:
        return [
            Route(
                "POST",
                f"/upload/{version}/files",
                self.gemini_upload,
                render_problem=upload_refusal,
                scope="write",
                capability=UPLOAD_ID,
            )
            for version in GEMINI_VERSIONS
        ]

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Pass a new file on, when it is known what it is for."""
        if self._is_all_theirs(request):
            return await self._providers.pass_on(request)
        content_type = request.headers.get("Content-Type", "")
        provider = provider_of(request)
        if provider is GEMINI and self._providers.takes(GEMINI):
            return await self._providers.pass_on(request)  # a file without bytes
        if provider is not OPENAI or not self._providers.takes(OPENAI):
            return await self._to_store(request)
        if not is_form(content_type):
            return await self._providers.pass_on(request)
        require_identity(request)
        body = RewindableBody(request, self._bodies, self._max_blob_bytes)
        try:
            purpose = await read_purpose(body, content_type)
            if purpose and not is_kept_purpose(purpose):
                return await self._providers.pass_on(request, body.rewound())
            return await self._to_store(request, body.rewound())
        except StoreError as error:
            raise ProblemError(NotSetAsideError(str(error)).problem) from error
        finally:
            await body.close()

    async def gemini_upload(self, request: web.Request) -> web.StreamResponse:
        """Pass on an upload by Gemini's protocol, or what begins one."""
        upload_id = request.query.get(UPLOAD_ID)
        if not self._providers.takes(GEMINI) or (upload_id is not None and is_upload_id(upload_id)):
            return await self._to_store(request)
        if upload_id is not None or self._providers.takes_all(GEMINI):
            return await self._providers.pass_on(request)
        if not is_start(request.headers):  # its bytes come with it
            return await self._to_store(request)
        body = await read_body(request, MAX_START_BYTES)
        if has_chosen_name(body):
            return await self._providers.pass_on(request, _once(body))
        return await self._to_store(request, _once(body))

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Pass on who asks for a list."""
        provider, purpose = provider_of(request), request.query.get("purpose")
        is_theirs = provider is OPENAI and purpose is not None and not is_kept_purpose(purpose)
        if self._is_all_theirs(request) or (is_theirs and self._providers.takes(provider)):
            return await self._providers.pass_on(request)
        return await self._to_store(request)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Pass on who asks about one file."""
        if self._is_foreign(request):
            return await self._providers.pass_on(request)
        return await self._to_store(request)

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Pass on the end of a file, and forget what it named."""
        if self._is_foreign(request):
            return await self._providers.pass_on(request)
        tenant, file_id = tenant_of(request), request.match_info["file"]
        try:
            return await self._to_store(request)
        finally:  # the store may have acted, whatever was heard of it
            if is_file_id(file_id):
                await self._released(tenant, file_id)

    async def begin_upload(self, request: web.Request) -> web.StreamResponse:
        """Pass the beginning of an upload on, by what it is for."""
        if self._providers.takes_all(OPENAI):
            return await self._providers.pass_on(request)
        if not self._providers.takes(OPENAI):
            return await self._to_store(request)
        require_identity(request)
        body = await read_body(request, _MAX_JSON_BYTES)
        purpose = _purpose_of(body)
        if purpose and not is_kept_purpose(purpose):
            return await self._providers.pass_on(request, _once(body))
        return await self._to_store(request, _once(body))

    async def go_on(self, request: web.Request) -> web.StreamResponse:
        """Pass on what is for an upload that has begun."""
        is_ours = read_upload_id(request.match_info["upload"]) is not None
        if not is_ours and self._providers.takes(OPENAI):
            return await self._providers.pass_on(request)
        return await self._to_store(request)

    async def _to_store(
        self, request: web.Request, body: AsyncGenerator[bytes] | None = None
    ) -> web.StreamResponse:
        # The client's key for Gemini stays here, and with it what says who is meant.
        marks = [("x-goog-api-key", "-")] if provider_of(request) is GEMINI else []
        return await self._store.serve(request, body, marks)

    def _is_foreign(self, request: web.Request) -> bool:
        provider = provider_of(request)
        segment = request.match_info["file"]
        is_ours = is_file_id(split_download(segment)[0] if provider is GEMINI else segment)
        return not is_ours and self._providers.takes(provider)

    def _is_all_theirs(self, request: web.Request) -> bool:
        return self._providers.takes_all(provider_of(request))


def render_problem(
    request: web.Request, problem: Problem, headers: Mapping[str, str]
) -> web.Response:
    """Return an error as the client that asks reads it."""
    return provider_refusal(request, provider_of(request), problem, headers)


def _purpose_of(body: bytes) -> str | None:
    """Return what an upload is for; None: it does not say, or cannot be read, as the store will say."""
    try:
        value = decode_json(body)
    except JsonError:
        return None
    purpose = value.get("purpose") if isinstance(value, dict) else None
    return purpose if isinstance(purpose, str) else None


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
