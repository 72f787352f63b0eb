"""Gemini's uploads in one request: the bytes as they are (`raw`), or behind what is said of them
(`multipart`, RFC 2387).

Source: Google's discovery document of the API, `media.upload`: protocols `simple` and `resumable`.
"""

from contextlib import aclosing

from aiohttp import web

from coatcheck.store import Store, StoredFile
from coatcheck.web import (
    RelatedFile,
    body_chunks,
    declared_type,
    end_user_of,
    require_identity,
    tenant_of,
)

from .file_form import receive_form
from .gemini_fields import FILE_NAME, TYPE
from .gemini_start import LIFETIME_SECONDS, name_of, read_start


async def receive_raw(store: Store, request: web.Request) -> StoredFile:
    """Keep a body as a file.

    Raises:
        ProblemError: 415, it is compressed; see `body_chunks` for the rest.
        StoreError: as `Store.receive` and `Files.create`.
    """
    require_identity(request)
    tenant = tenant_of(request)
    media_type = request.headers.get(TYPE) or request.headers.get("Content-Type")
    async with aclosing(body_chunks(request, max_bytes=None)) as body:
        receipt = await store.receive(
            tenant,
            body,
            declared_type=declared_type(media_type) if media_type else None,
            end_user=end_user_of(request),
        )
    return await store.files.create(
        tenant,
        receipt.grant.digest,
        filename=name_of(read_start(b""), request.headers.get(FILE_NAME)),
        lifetime_seconds=LIFETIME_SECONDS,
    )


async def receive_multipart(store: Store, request: web.Request) -> StoredFile:
    """Keep the second part of a body as a file, of which the first one says what it is.

    Raises:
        ProblemError: 400, the body is none of these, or its first part is wrong.
        StoreError: as `Store.receive` and `Files.create`.
    """
    require_identity(request)
    async with aclosing(body_chunks(request, max_bytes=None)) as body:
        form = RelatedFile(body, request.headers.get("Content-Type", ""))
        await form.open()
        said = read_start(form.description)
        receipt = await receive_form(store, request, form, lambda _: None, said.mime_type)
    return await store.files.create(
        tenant_of(request),
        receipt.grant.digest,
        filename=name_of(said, request.headers.get(FILE_NAME)),
        lifetime_seconds=LIFETIME_SECONDS,
    )
