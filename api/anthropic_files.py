"""Anthropic's Files API, in the generations of its SDKs: versions 0.x and 2.x.

1. Both page through lists: the older by the ids of files, the newer by a cursor. An answer has the keys
   of both.
2. Ids that are not ours are Anthropic's. Where there is somebody to pass them on to, they go there.
3. An id that the tenant does not have is answered like one that nobody has, after the same question;
   one that has expired too.
4. What Anthropic says of its own uploads, that they cannot be downloaded, does not hold here.

Source: the `anthropic` package, versions 2 and 0.75: resources/files.py, resources/beta/files.py.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing

from aiohttp import web

from coatcheck.protocol import ANTHROPIC, Problem, clean_filename, is_file_id
from coatcheck.store import BlobNotFoundError, Store, StoredFile, StoredFileNotFoundError
from coatcheck.web import (
    FormFile,
    ProblemError,
    body_chunks,
    in_thread_if,
    is_form,
    json_response,
    provider_refusal,
    read_limit,
    refuse,
    require_identity,
    tenant_of,
)

from .anthropic_models import FileDeleted, FileMetadata, FileMetadataPage
from .download import send_blob
from .elsewhere import Elsewhere
from .file_form import receive_form, require_fitting
from .file_list import collect_files

MIN_LIFETIME_SECONDS = 3600
MAX_LIFETIME_SECONDS = 7_776_000
_LIFETIME = "expires_in_seconds"
_DEFAULT_LIMIT = 20
_MAX_LIMIT = 1000
_MAX_IDS = 100
_PAGE = "page_"
_JSON_BYTES = 256  # of one file in a list
_decimal = re.compile(r"[1-9][0-9]{0,8}", re.ASCII).fullmatch


class AnthropicFiles:
    """The front; see `FilesFront`. A store's errors are translated around it."""

    def __init__(self, store: Store, elsewhere: Elsewhere) -> None:
        self.provider = ANTHROPIC
        """Whose API it is."""
        self._store = store
        self._elsewhere = elsewhere

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Keep a file."""
        if self._elsewhere.takes_all(ANTHROPIC):
            return await self._elsewhere.pass_on(request)
        if not is_form(request.headers.get("Content-Type", "")):
            raise refuse(400, "form_malformed", "No form", "a file comes in a multipart/form-data")
        require_identity(request)
        async with aclosing(body_chunks(request, max_bytes=None)) as body:
            require_fitting(self._store, request)
            form = FormFile(body, request.headers["Content-Type"])
            await form.open()
            _lifetime(form)  # before anything is received in vain
            receipt = await receive_form(self._store, request, form, _lifetime)
        file = await self._store.files.create(
            tenant_of(request),
            receipt.grant.digest,
            filename=clean_filename(form.filename or ""),
            lifetime_seconds=_lifetime(form),
        )
        return _metadata(file)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Send a page of the files that are kept here."""
        if self._elsewhere.takes_all(ANTHROPIC):
            return await self._elsewhere.pass_on(request)
        ids = request.query.getall("ids[]", None) or request.query.getall("ids", [])
        if ids:
            files, has_more, next_page = await self._named(request, ids), False, None
        elif "before_id" in request.query:
            files, has_more = await self._before(request)
            next_page = None
        else:
            files, next_page = await self._after(request)
            has_more = next_page is not None
        size = len(files) * _JSON_BYTES
        body = await in_thread_if(size, lambda: _page(files, next_page, has_more=has_more))
        return web.Response(body=body, content_type="application/json")

    async def retrieve(self, request: web.Request) -> web.StreamResponse:
        """Describe a file."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        return _metadata(await self._find(tenant_of(request), request.match_info["file"]))

    async def content(self, request: web.Request) -> web.StreamResponse:
        """Send a file's bytes, to be saved by its name."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        file = await self._find(tenant_of(request), request.match_info["file"])
        try:
            name = FileMetadata.of(file).filename
            return await send_blob(self._store, request, digest=file.grant.digest, saved_as=name)
        except BlobNotFoundError as error:
            raise StoredFileNotFoundError(file.id) from error

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """End a file; its bytes stay for as long as anything else holds them."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        file_id = request.match_info["file"]
        await self._store.files.remove(tenant_of(request), file_id)
        return json_response(FileDeleted(id=file_id))

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as Anthropic's clients read it."""
        return provider_refusal(request, ANTHROPIC, problem, headers)

    def _is_foreign(self, request: web.Request) -> bool:
        return not is_file_id(request.match_info["file"]) and self._elsewhere.takes(ANTHROPIC)

    async def _find(self, tenant: str, file_id: str) -> StoredFile:
        file = await self._store.files.find(tenant, file_id)
        if file is None:
            raise StoredFileNotFoundError(file_id)
        return file

    async def _named(self, request: web.Request, ids: Sequence[str]) -> Sequence[StoredFile]:
        """Return those of the files that are there."""
        if len(set(ids)) > _MAX_IDS:
            raise refuse(
                400, "too_many_ids", "Too many ids", f"at most {_MAX_IDS} at once", path="ids"
            )
        found = await self._store.files.find_many(tenant_of(request), ids)
        return tuple(found.values())

    async def _after(self, request: web.Request) -> tuple[Sequence[StoredFile], str | None]:
        """Return a page, and the cursor of the next one."""
        tenant, limit = tenant_of(request), _limit(request)
        page = await collect_files(self._store.files, tenant, limit, await self._place(request))
        cursor = page.next_cursor
        return page.items, None if cursor is None else f"{_PAGE}{cursor}"

    async def _before(self, request: web.Request) -> tuple[Sequence[StoredFile], bool]:
        """Return the page that ends before a file, and whether there is one before it."""
        tenant = tenant_of(request)
        place = await self._place_of(tenant, request, "before_id")
        page = await collect_files(
            self._store.files, tenant, _limit(request), place, oldest_first=True
        )
        return page.items[::-1], page.next_cursor is not None

    async def _place(self, request: web.Request) -> str | None:
        """Return where a list goes on, by either way."""
        page = request.query.get("page")
        if page is not None:
            if not page.startswith(_PAGE):
                raise _invalid_cursor("page", "page is next_page of the page before")
            return page.removeprefix(_PAGE)
        if "after_id" not in request.query:
            return None
        return await self._place_of(tenant_of(request), request, "after_id")

    async def _place_of(self, tenant: str, request: web.Request, name: str) -> str:
        file = await self._store.files.find(tenant, request.query[name])
        if file is None:
            raise _invalid_cursor(name, f"{name} names no file in the list")
        return file.cursor


def _limit(request: web.Request) -> int:
    return read_limit(request, _DEFAULT_LIMIT, _MAX_LIMIT)


def _lifetime(form: FormFile) -> int | None:
    """Return for how long a file is kept; None: until it is deleted.

    Raises:
        ProblemError: 400 `expires_in_seconds_invalid` or `form_field_repeated`.
    """
    text = form.field(_LIFETIME)
    if text is None:
        return None
    if not _decimal(text) or not MIN_LIFETIME_SECONDS <= int(text) <= MAX_LIFETIME_SECONDS:
        raise refuse(
            400,
            "expires_in_seconds_invalid",
            "Invalid expiry",
            f"{_LIFETIME} is {MIN_LIFETIME_SECONDS} to {MAX_LIFETIME_SECONDS}",
            path=_LIFETIME,
        )
    return int(text)


def _invalid_cursor(path: str, detail: str) -> ProblemError:
    return refuse(400, "cursor_invalid", "Invalid cursor", detail, path=path)


def _metadata(file: StoredFile) -> web.Response:
    body = FileMetadata.of(file).model_dump_json().encode()  # null where it does not expire
    return web.Response(body=body, content_type="application/json")


def _page(files: Sequence[StoredFile], next_page: str | None, *, has_more: bool) -> bytes:
    answer = FileMetadataPage(
        data=tuple(FileMetadata.of(file) for file in files),
        has_more=has_more,
        first_id=files[0].id if files else None,
        last_id=files[-1].id if files else None,
        next_page=next_page,
    )
    return answer.model_dump_json().encode()
