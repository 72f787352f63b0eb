"""OpenAI's Files API. What is a provider's own business goes elsewhere, untouched.

1. A file comes in by the store's one verified way, as a stream; of a form that turns out wrong nothing
   is kept. Its fields may stand before the file or behind it.
2. Files for other purposes than `KEPT_PURPOSES`, and ids that are not ours, are a provider's. Where
   there is somebody to pass them on to, a form is read up to its purpose, set aside, and passed on
   as the bytes that came.
3. An id that the tenant does not have is answered like one that nobody has, after the same question.

Source: the `openai` package, version 3: resources/files.py.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from aiohttp import web

from coatcheck.protocol import (
    OPENAI,
    Problem,
    clean_filename,
    is_file_id,
    is_kept_purpose,
)
from coatcheck.store import (
    BlobNotFoundError,
    Page,
    Store,
    StoredFile,
    StoredFileNotFoundError,
)
from coatcheck.web import (
    FormFile,
    RewindableBody,
    body_chunks,
    in_thread_if,
    is_form,
    json_response,
    provider_refusal,
    read_limit,
    read_purpose,
    refuse,
    require_identity,
    tenant_of,
)

from .download import send_blob
from .elsewhere import Elsewhere
from .file_form import receive_form, require_fitting
from .file_list import collect_files
from .file_terms import check_terms, purpose_unsupported, read_terms
from .openai_models import DeletedFile, FileObject, FilePage

_MAX_LIMIT = 10_000  # and what it is without one
_JSON_BYTES = 256  # of one file in a list


class OpenAIFiles:
    """The front; see `FilesFront`. A store's errors are translated around it."""

    def __init__(self, store: Store, elsewhere: Elsewhere) -> None:
        self.provider = OPENAI
        """Whose API it is."""
        self._store = store
        self._elsewhere = elsewhere

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Keep a file, or pass it on."""
        if self._elsewhere.takes_all(OPENAI):
            return await self._elsewhere.pass_on(request)
        content_type = request.headers.get("Content-Type", "")
        if not is_form(content_type):
            if self._elsewhere.takes(OPENAI):
                return await self._elsewhere.pass_on(request)
            raise refuse(400, "form_malformed", "No form", "a file comes in a multipart/form-data")
        require_identity(request)
        if not self._elsewhere.takes(OPENAI):
            return await self._keep(request, body_chunks(request, max_bytes=None))
        body = RewindableBody(request, self._store.bodies, self._store.config.max_blob_bytes)
        try:
            purpose = await read_purpose(body, content_type)
            if purpose and not is_kept_purpose(purpose):
                return await self._elsewhere.pass_on(request, body.rewound())
            return await self._keep(request, body.rewound())
        finally:
            await body.close()

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Send a page of the files that are kept here, or pass on who asks for others."""
        purpose = request.query.get("purpose")
        if self._elsewhere.takes_all(OPENAI):
            return await self._elsewhere.pass_on(request)
        if purpose is not None and not is_kept_purpose(purpose):
            if self._elsewhere.takes(OPENAI):
                return await self._elsewhere.pass_on(request)
            raise purpose_unsupported(purpose)
        tenant = tenant_of(request)
        limit = read_limit(request, _MAX_LIMIT, _MAX_LIMIT)
        is_ascending = _is_ascending(request)
        after = await self._place(tenant, request.query.get("after"))
        page = await collect_files(
            self._store.files, tenant, limit, after, purpose=purpose, oldest_first=is_ascending
        )
        body = await in_thread_if(len(page.items) * _JSON_BYTES, lambda: _page(page))
        return web.Response(body=body, content_type="application/json")

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """Describe a file."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        return json_response(FileObject.of(await self._find(request)))

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Send a file's bytes, to be saved by its name."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        file = await self._find(request)
        try:
            name = FileObject.of(file).filename
            return await send_blob(self._store, request, digest=file.grant.digest, saved_as=name)
        except BlobNotFoundError as error:
            raise StoredFileNotFoundError(file.id) from error

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End a file; its bytes stay for as long as anything else holds them."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        file_id = request.match_info["file"]
        await self._store.files.remove(tenant_of(request), file_id)
        return json_response(DeletedFile(id=file_id))

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as OpenAI's clients read it."""
        return provider_refusal(request, OPENAI, problem, headers)

    def _is_foreign(self, request: web.Request) -> bool:
        return not is_file_id(request.match_info["file"]) and self._elsewhere.takes(OPENAI)

    async def _find(self, request: web.Request) -> StoredFile:
        file_id = request.match_info["file"]
        file = await self._store.files.find(tenant_of(request), file_id)
        if file is None:
            raise StoredFileNotFoundError(file_id)
        return file

    async def _place(self, tenant: str, after: str | None) -> str | None:
        """Return where a list goes on behind a file."""
        if after is None:
            return None
        file = await self._store.files.find(tenant, after)
        if file is None:
            raise refuse(
                400,
                "cursor_invalid",
                "Invalid cursor",
                "after is the id of a file in the list, which is not there any more",
                path="after",
            )
        return file.cursor

    async def _keep(self, request: web.Request, body: AsyncGenerator[bytes]) -> web.StreamResponse:
        tenant = tenant_of(request)
        async with aclosing(body):
            require_fitting(self._store, request)
            form = FormFile(body, request.headers["Content-Type"])
            await form.open()
            check_terms(form)  # before anything is received in vain
            receipt = await receive_form(self._store, request, form, read_terms)
        terms = read_terms(form)
        file = await self._store.files.create(
            tenant,
            receipt.grant.digest,
            filename=clean_filename(form.filename or ""),
            purpose=terms.purpose,
            lifetime_seconds=terms.lifetime_seconds,
        )
        return json_response(FileObject.of(file))


def _is_ascending(request: web.Request) -> bool:
    order = request.query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise refuse(400, "order_invalid", "Invalid order", "order is asc or desc", path="order")
    return order == "asc"


def _page(page: Page[StoredFile]) -> bytes:
    data = tuple(FileObject.of(file) for file in page.items)
    answer = FilePage(
        data=data,
        has_more=page.next_cursor is not None,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
    )
    return answer.model_dump_json(exclude_none=True).encode()
