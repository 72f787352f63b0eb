"""Gemini's resumable uploads, on the store's (`store/uploads.py`), which are safe from every restart.

1. An upload goes on at the URL that its start answers, by its id. Google's SDKs send no key there, so
   the id stands for one, as it does at Google: it is random, lives as long as the upload, and opens
   nothing but that. A key that is sent all the same has to be of the same tenant.
2. What is refused says `final`: to Google's SDKs that is an error, which they raise. Anything else they
   send again, or take for a success. Only what another try can help is without it. The upload goes on
   all the same: `query` says where.
3. An upload becomes one file, however often it is finalized, because its answer may be lost. One that
   was ended since does not come back.

Source: the `google-genai` package, version 3: files.py, _api_client.py.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from coatcheck.protocol import (
    FILE_ID_BYTES,
    GEMINI,
    MAX_START_BYTES,
    UPLOAD_FINAL,
    UPLOAD_ID,
    UPLOAD_RECEIVED,
    UPLOAD_STATUS,
    clean_filename,
    clean_title,
    decode_json,
    file_id_of,
    has_chosen_name,
    is_upload_id,
)
from coatcheck.store import (
    NewUpload,
    Store,
    StoredFile,
    Upload,
    UploadFinishedError,
    UploadNotFoundError,
    UploadOffsetError,
)
from coatcheck.web import (
    as_model,
    body_chunks,
    client_origin,
    declared_type,
    end_user_of,
    is_known,
    json_response,
    read_body,
    refuse,
    require_identity,
    tenant_of,
)

from .elsewhere import Elsewhere
from .gemini_fields import (
    CONTROL_URL,
    FILE_NAME,
    TYPE,
    URL,
    Command,
    read_command,
    read_length,
    read_offset,
    require_start,
)
from .gemini_models import GeminiFile, GeminiFileAnswer, GeminiStart, NewGeminiFile

LIFETIME_SECONDS = 48 * 3600
"""How long Google keeps a file."""
_ACTIVE, _CANCELLED = "active", "cancelled"


class _Mark(BaseModel):
    """What an upload remembers of its start, and by which it is known for one of Gemini's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gemini_file: str
    """What the file is called; empty where nobody said."""
    is_made: bool = False
    """Whether the upload has become its file."""


class GeminiUploads:
    """Handles the upload paths; a store's errors are translated around it."""

    def __init__(self, store: Store, elsewhere: Elsewhere) -> None:
        self._store = store
        self._elsewhere = elsewhere

    async def post(self, request: web.Request) -> web.StreamResponse:
        """Begin an upload, or go on with the one that the query names."""
        upload_id = request.query.get(UPLOAD_ID)
        if upload_id is None:
            return await self._start(request)
        if not is_upload_id(upload_id) and self._elsewhere.takes(GEMINI):
            return await self._elsewhere.pass_on(request)
        command = read_command(request.headers)
        require_identity(request)
        return await self._continue(request, await self._find(request, upload_id), command)

    async def _start(self, request: web.Request) -> web.StreamResponse:
        tenant = tenant_of(request)
        if self._elsewhere.takes_all(GEMINI):
            return await self._elsewhere.pass_on(request)
        require_start(request.headers)
        require_identity(request)
        body = await read_body(request, MAX_START_BYTES)
        if has_chosen_name(body):
            if self._elsewhere.takes(GEMINI):
                return await self._elsewhere.pass_on(request, _again(body))
            raise _name_chosen()
        file = _read_start(body)
        origin = client_origin(request)
        upload = await self._store.uploads.create(
            NewUpload(
                tenant=tenant,
                length=read_length(request.headers),
                media_type=_media_type(request, file),
                metadata=_Mark(gemini_file=_filename(request, file)).model_dump_json(),
                end_user=end_user_of(request),
            )
        )
        url = f"{origin}{request.path}?{UPLOAD_ID}={upload.id}&upload_protocol=resumable"
        return _answer(_ACTIVE, upload.offset, {URL: url, CONTROL_URL: url})

    async def _continue(
        self, request: web.Request, upload: Upload, command: Command
    ) -> web.StreamResponse:
        if command.queries:
            return _answer(UPLOAD_FINAL if upload.is_finished else _ACTIVE, upload.offset)
        if command.cancels:
            return await self._cancel(upload)
        if command.uploads:
            upload = await self._append(request, upload, command)
        if not command.finalizes:
            return _answer(_ACTIVE, upload.offset)
        file = await self._finish(upload)
        answer = GeminiFileAnswer(file=GeminiFile.of(file, client_origin(request)))
        return json_response(answer, headers=_fields(UPLOAD_FINAL, upload.offset))

    async def _append(self, request: web.Request, upload: Upload, command: Command) -> Upload:
        offset = read_offset(request.headers)
        if upload.is_finished:
            await _drain(request, upload, offset, command)
            return upload
        async with aclosing(body_chunks(request, max_bytes=None)) as chunks:
            return await self._store.uploads.append(
                upload.tenant, upload.id, offset, chunks, size=request.content_length
            )

    async def _finish(self, upload: Upload) -> StoredFile:
        mark = _mark_of(upload)
        if mark.is_made:
            return await self._made(upload)
        receipt = await self._store.uploads.finish(upload.tenant, upload.id)
        file = await self._store.files.create(
            upload.tenant,
            receipt.grant.digest,
            filename=mark.gemini_file or None,
            lifetime_seconds=LIFETIME_SECONDS,
            file_id=_file_id(upload),
        )
        made = mark.model_copy(update={"is_made": True})
        await self._store.sections.note(upload, made.model_dump_json())
        return file

    async def _made(self, upload: Upload) -> StoredFile:
        file = await self._store.files.find(upload.tenant, _file_id(upload))
        if file is None:  # it was ended, or has expired
            raise UploadFinishedError
        return file

    async def _cancel(self, upload: Upload) -> web.StreamResponse:
        if upload.is_finished:
            raise UploadFinishedError
        await self._store.uploads.terminate(upload.tenant, upload.id)
        return _answer(_CANCELLED, upload.offset)

    async def _find(self, request: web.Request, upload_id: str) -> Upload:
        """Return an upload that began here; whoever asks without a key is whose it is."""
        uploads = self._store.uploads
        tenant = tenant_of(request) if is_known(request) else await uploads.owner(upload_id)
        upload = None if tenant is None else await uploads.stat(tenant, upload_id)
        if upload is None or _mark(upload) is None:
            raise UploadNotFoundError
        return upload


def _fields(status: str, offset: int) -> dict[str, str]:
    return {UPLOAD_STATUS: status, UPLOAD_RECEIVED: str(offset), "Cache-Control": "no-store"}


def _answer(status: str, offset: int, fields: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(headers={**_fields(status, offset), **(fields or {})})


async def _drain(request: web.Request, upload: Upload, offset: int, command: Command) -> None:
    """Read the end of an upload that is finished, from a client that lost the answer to it.

    Raises:
        UploadOffsetError: it is not that end.
    """
    size = request.content_length
    if not command.finalizes or size is None or offset + size != upload.offset:
        raise UploadOffsetError(upload.offset)
    async with aclosing(body_chunks(request, max_bytes=size)) as chunks:
        async for _ in chunks:
            pass


def _read_start(body: bytes) -> NewGeminiFile:
    if not body.strip():
        return NewGeminiFile()
    return as_model(decode_json(body), GeminiStart).file or NewGeminiFile()


async def _again(body: bytes) -> AsyncGenerator[bytes]:
    yield body


def _name_chosen() -> Exception:
    return refuse(
        400,
        "file_name_chosen",
        "Name chosen by the client",
        "files have names that this server gives; leave file.name out",
        path="file.name",
    )


def _media_type(request: web.Request, file: NewGeminiFile) -> str | None:
    text = request.headers.get(TYPE) or file.mime_type
    return declared_type(text) if text else None


def _filename(request: web.Request, file: NewGeminiFile) -> str:
    sent = clean_filename(request.headers.get(FILE_NAME, ""))
    return clean_title(file.display_name or "") or sent or ""


def _mark(upload: Upload) -> _Mark | None:
    try:
        return _Mark.model_validate_json(upload.metadata or "")
    except ValidationError:
        return None


def _mark_of(upload: Upload) -> _Mark:
    mark = _mark(upload)
    assert mark is not None  # it was found by it
    return mark


def _file_id(upload: Upload) -> str:
    """Return the id of the file that an upload becomes, as hard to guess as the upload's own."""
    return file_id_of(hashlib.sha256(f"file of {upload.id}".encode()).digest()[:FILE_ID_BYTES])
