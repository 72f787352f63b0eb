"""OpenAI's Uploads: a file in parts, at once and in any order, put in order when it is completed.

1. What belongs to an upload is in the store, in rows and files: whichever process is asked, and after
   whatever crash, it is there. It expires `upload_seconds` after its beginning.
2. Completing again gives the same file: its id is noted with the upload.
3. Uploads for a provider's own purposes, and ids that are not ours, go elsewhere as in `openai_files.py`.

Source: the `openai` package, version 3: resources/uploads, types/upload*.py.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from coatcheck.protocol import (
    OPENAI,
    Json,
    Problem,
    clean_filename,
    decode_json,
    is_kept_purpose,
    part_id_of,
    read_part_id,
    read_upload_id,
    upload_id_of,
)
from coatcheck.store import (
    NewUpload,
    SectionNotFoundError,
    Store,
    StoredFile,
    StoreError,
    Upload,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTooLongError,
)
from coatcheck.web import (
    FormFile,
    as_model,
    body_chunks,
    declared_type,
    end_user_of,
    json_response,
    least_upload_bytes,
    provider_of,
    provider_refusal,
    read_body,
    read_model,
    refuse,
    require_identity,
    tenant_of,
)

from .config import ApiConfig
from .elsewhere import Elsewhere
from .file_terms import purpose_missing, purpose_unsupported
from .openai_models import FileObject, UploadCompletion, UploadObject, UploadPart, UploadRequest


class _Notes(BaseModel):
    """What is noted with an upload, in its metadata."""

    model_config = ConfigDict(frozen=True)

    filename: str
    purpose: str
    lifetime_seconds: int | None
    file_id: str | None = None
    """Of the file that it became."""


class OpenAIUploads:
    """One method for each route; a store's errors are translated around them."""

    def __init__(self, store: Store, config: ApiConfig, elsewhere: Elsewhere) -> None:
        self._store = store
        self._config = config
        self._elsewhere = elsewhere

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Begin an upload, or pass it on."""
        if self._elsewhere.takes_all(OPENAI):
            return await self._elsewhere.pass_on(request)
        require_identity(request)
        body = await read_body(request, self._config.max_json_bytes)
        value = decode_json(body)
        purpose = purpose_of(value)
        if not purpose:
            raise purpose_missing()
        if not is_kept_purpose(purpose):
            if self._elsewhere.takes(OPENAI):
                return await self._elsewhere.pass_on(request, _once(body))
            raise purpose_unsupported(purpose)
        asked = as_model(value, UploadRequest)
        expiry = asked.expires_after
        notes = _Notes(
            filename=clean_filename(asked.filename) or "file",
            purpose=purpose,
            lifetime_seconds=None if expiry is None else expiry.seconds,
        )
        upload = await self._store.uploads.create(
            NewUpload(
                tenant=tenant_of(request),
                length=asked.bytes,
                media_type=declared_type(asked.mime_type),
                metadata=notes.model_dump_json(),
                end_user=end_user_of(request),
            )
        )
        return json_response(self._described(upload, notes, "pending"))

    async def add(self, request: web.Request) -> web.StreamResponse:
        """Take a part."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        require_identity(request)
        upload, _ = await self._find(request)
        if least_upload_bytes(request) > (upload.length or 0):  # before it is asked for
            raise UploadTooLongError(upload.length or 0)
        async with aclosing(body_chunks(request, max_bytes=None)) as body:
            form = FormFile(body, request.headers.get("Content-Type", ""), file_field="data")
            await form.open()
            async with aclosing(form.content()) as content:
                section = await self._store.sections.add(upload.tenant, upload.id, content)
        return json_response(
            UploadPart(
                id=part_id_of(section.section_name),
                created_at=int(section.created_at),
                upload_id=upload_id_of(upload.id),
            )
        )

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """Put the parts in order, and make a file of them; give the same file when it is one."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        asked = await read_model(request, UploadCompletion, self._config.max_json_bytes)
        upload, notes = await self._find(request)
        if not upload.is_finished:
            try:
                await self._join(upload, asked)
            except StoreError:
                upload, notes = await self._find(request)
                if not upload.is_finished:  # else somebody else has completed it meanwhile
                    raise
        file = await self._file(upload, notes)
        await self._store.sections.remove(upload.tenant, upload.id)
        answer = self._described(upload, notes, "completed")
        return json_response(answer.model_copy(update={"file": FileObject.of(file)}))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        """Call an upload off, and forget it with all of its parts."""
        if self._is_foreign(request):
            return await self._elsewhere.pass_on(request)
        upload, notes = await self._find(request)
        if upload.is_finished:
            raise UploadFinishedError
        await self._store.uploads.terminate(upload.tenant, upload.id)
        await self._store.sections.remove(upload.tenant, upload.id)
        return json_response(self._described(upload, notes, "cancelled"))

    def render_problem(
        self, request: web.Request, problem: Problem, headers: Mapping[str, str]
    ) -> web.Response:
        """Return an error as the client that asks reads it."""
        return provider_refusal(request, provider_of(request), problem, headers)

    def _is_foreign(self, request: web.Request) -> bool:
        is_ours = read_upload_id(request.match_info["upload"]) is not None
        return not is_ours and self._elsewhere.takes(OPENAI)

    async def _find(self, request: web.Request) -> tuple[Upload, _Notes]:
        name = read_upload_id(request.match_info["upload"])
        found = None if name is None else await self._store.uploads.stat(tenant_of(request), name)
        if found is None:
            raise UploadNotFoundError
        return found, _read_notes(found)

    async def _join(self, upload: Upload, asked: UploadCompletion) -> None:
        names: list[str] = []
        for part_id in asked.part_ids:
            name = read_part_id(part_id)
            if name is None:
                raise SectionNotFoundError(part_id[:64])
            names.append(name)
        md5 = hashlib.md5(usedforsecurity=False)
        await self._store.sections.join(
            upload.tenant,
            upload.id,
            names,
            md5.update if asked.md5 is not None else None,
        )
        if asked.md5 is not None and md5.hexdigest() != asked.md5.lower():
            raise refuse(
                400,
                "md5_mismatch",
                "MD5 mismatch",
                "the parts together have another MD5 than was said; they stay",
                path="md5",
                actual=md5.hexdigest(),
            )

    async def _file(self, upload: Upload, notes: _Notes) -> StoredFile:
        """Make a file of an upload whose bytes are all there, or return the one that it became."""
        receipt = await self._store.uploads.finish(upload.tenant, upload.id)
        if notes.file_id is not None:
            return await self._known(upload.tenant, notes.file_id)
        file = await self._store.files.create(
            upload.tenant,
            receipt.grant.digest,
            filename=notes.filename,
            purpose=notes.purpose,
            lifetime_seconds=notes.lifetime_seconds,
        )
        noted = notes.model_copy(update={"file_id": file.id})
        if await self._store.sections.note(upload, noted.model_dump_json()):
            return file
        # Somebody else has completed it meanwhile, and told of another file.
        await self._store.files.remove(upload.tenant, file.id)
        again = await self._store.uploads.stat(upload.tenant, upload.id)
        if again is None:
            raise UploadNotFoundError
        return await self._known(upload.tenant, _read_notes(again).file_id or "")

    async def _known(self, tenant: str, file_id: str) -> StoredFile:
        known = await self._store.files.find(tenant, file_id)
        if known is None:  # it was ended, or has expired
            raise UploadFinishedError
        return known

    def _described(
        self,
        upload: Upload,
        notes: _Notes,
        status: Literal["pending", "completed", "cancelled"],
    ) -> UploadObject:
        lasts = self._store.config.upload_seconds
        return UploadObject(
            id=upload_id_of(upload.id),
            bytes=upload.length or 0,
            created_at=int(upload.created_at),
            expires_at=int(upload.created_at + lasts),
            filename=notes.filename,
            purpose=notes.purpose,
            status=status,
        )


def _read_notes(upload: Upload) -> _Notes:
    """Return what is noted with an upload.

    Raises:
        UploadNotFoundError: it is none of these; tus has made it.
    """
    try:
        return _Notes.model_validate_json(upload.metadata or "")
    except ValidationError as error:
        raise UploadNotFoundError from error


def purpose_of(value: Json) -> str | None:
    """Return what the body of a creation says it is for; None: nothing, or no text."""
    purpose = value.get("purpose") if isinstance(value, dict) else None
    return purpose if isinstance(purpose, str) else None


async def _once(body: bytes) -> AsyncGenerator[bytes]:
    yield body
