"""Gemini's Files API, but for uploads (`gemini_uploads.py`).

1. A file is named `files/<id>`, with an id that this server gives. It is kept for 48 hours, as Google
   keeps files, unless it came by another provider's API.
2. Ids that are not ours are Google's. Where there is somebody to pass them on to, they go there.
3. An id that the tenant does not have is answered like one that nobody has, after the same question.
4. What Google says of its own uploads, that they cannot be downloaded, does not hold here.

Source: the `google-genai` package, version 3: files.py.
"""

import re
from collections.abc import Mapping

from aiohttp import web

from coatcheck.protocol import GEMINI, Problem, is_file_id, split_download
from coatcheck.store import BlobNotFoundError, Page, Store, StoredFile, StoredFileNotFoundError
from coatcheck.web import (
    client_origin,
    in_thread_if,
    json_response,
    provider_refusal,
    refuse,
    tenant_of,
)

from .download import send_blob
from .elsewhere import Elsewhere
from .gemini_models import GeminiFile, GeminiFilePage, GeminiGone

_DEFAULT_LIMIT = 10
_MAX_LIMIT = 100
_JSON_BYTES = 512  # of one file in a list
_decimal = re.compile(r"[0-9]{1,9}", re.ASCII).fullmatch


class GeminiFiles:
    """The front; see `FilesFront`. A store's errors are translated around it."""

    def __init__(self, store: Store, elsewhere: Elsewhere) -> None:
        self.provider = GEMINI
        """Whose API it is."""
        self._store = store
        self._elsewhere = elsewhere

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Pass on what makes a file without bytes, or refuse it: they come by the upload paths."""
        if self._elsewhere.takes(GEMINI):
            return await self._elsewhere.pass_on(request)
        raise refuse(
            405,
            "method_not_allowed",
            "Method Not Allowed",
            "a file is made by an upload, which begins at /upload/v1beta/files",
        )

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Send a page of the files that are kept here."""
        if self._elsewhere.takes_all(GEMINI):
            return await self._elsewhere.pass_on(request)
        origin = client_origin(request)
        page = await self._store.files.list(
            tenant_of(request),
            limit=_limit(request),
            after=request.query.get("pageToken") or None,
        )
        body = await in_thread_if(len(page.items) * _JSON_BYTES, lambda: _page(page, origin))
        return web.Response(body=body, content_type="application/json")

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """Describe a file, or send its bytes where the path ends in `:download`."""
        if split_download(request.match_info["file"])[1]:
            return await self.content(request)
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        return json_response(GeminiFile.of(await self._find(request), client_origin(request)))

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Send a file's bytes, to be saved by its name."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        file = await self._find(request)
        try:
            return await send_blob(
                self._store, request, digest=file.grant.digest, saved_as=file.filename or file.id
            )
        except BlobNotFoundError as error:
            raise StoredFileNotFoundError(file.id) from error

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End a file; its bytes stay for as long as anything else holds them."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        await self._store.files.remove(tenant_of(request), _id_of(request))
        return json_response(GeminiGone())

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as Google's clients read it."""
        return provider_refusal(request, GEMINI, problem, headers)

    def _is_foreign(self, request: web.Request) -> bool:
        return not is_file_id(_id_of(request)) and self._elsewhere.takes(GEMINI)

    async def _find(self, request: web.Request) -> StoredFile:
        file_id = _id_of(request)
        file = await self._store.files.find(tenant_of(request), file_id)
        if file is None:
            raise StoredFileNotFoundError(file_id)
        return file


def _id_of(request: web.Request) -> str:
    return split_download(request.match_info["file"])[0]


def _limit(request: web.Request) -> int:
    """Return the page's size; more than there may be is what there may be (google.aip.dev/158)."""
    text = request.query.get("pageSize") or "0"
    if not _decimal(text):
        raise refuse(400, "limit_invalid", "Invalid page size", "pageSize is 1 to 100")
    return min(int(text), _MAX_LIMIT) or _DEFAULT_LIMIT


def _page(page: Page[StoredFile], origin: str) -> bytes:
    answer = GeminiFilePage(
        files=tuple(GeminiFile.of(file, origin) for file in page.items),
        nextPageToken=page.next_cursor,
    )
    return answer.model_dump_json(exclude_none=True).encode()
