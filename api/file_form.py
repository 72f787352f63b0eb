"""A file that comes in a form: received by the store's one verified way, as a stream."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

from aiohttp import web

from coatcheck.store import BlobTooLargeError, Receipt, Store
from coatcheck.web import FormFile, declared_type, end_user_of, least_upload_bytes, tenant_of


def require_fitting(store: Store, request: web.Request) -> None:
    """Refuse a form whose file is too large by its head alone, before it is asked for.

    Raises:
        BlobTooLargeError: it is.
    """
    if least_upload_bytes(request) > store.max_blob_bytes:
        raise BlobTooLargeError(store.max_blob_bytes)


async def receive_form(
    store: Store,
    request: web.Request,
    form: FormFile,
    check: Callable[[FormFile], object],
    media_type: str | None = None,
) -> Receipt:
    """Receive the file of a form that is open; of one that turns out wrong nothing is kept.

    `check` looks at the whole form before that. The file's type is what its own part declares, or else
    `media_type`.

    Raises:
        ProblemError: the form is none, or `check` refuses it.
        StoreError: as `Store.receive`.
    """
    declared = form.headers.get("content-type") or media_type
    async with aclosing(_content(form, check)) as content:
        return await store.receive(
            tenant_of(request),
            content,
            declared_type=declared_type(declared) if declared else None,
            end_user=end_user_of(request),
        )


async def _content(form: FormFile, check: Callable[[FormFile], object]) -> AsyncGenerator[bytes]:
    """Yield the file; its end comes only when the rest of the form is as it should be."""
    async with aclosing(form.content()) as content:
        async for chunk in content:
            yield chunk
    check(form)
