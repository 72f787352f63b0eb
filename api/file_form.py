"""A file that comes in a form: received by the store's one verified way, as a stream."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypeVar

from aiohttp import web

from coatcheck.store import BlobTooLargeError, Receipt, Store
from coatcheck.web import FormFile, declared_type, end_user_of, least_upload_bytes, tenant_of

_Terms = TypeVar("_Terms")


async def receive_file(
    store: Store,
    request: web.Request,
    body: AsyncGenerator[bytes],
    check: Callable[[FormFile], object],
    read: Callable[[FormFile], _Terms],
) -> tuple[FormFile, _Terms, Receipt]:
    """Receive the file of a form; return the form, what it says, and the receipt. Closes `body`.

    `check` sees the fields before the file, and refuses what nothing behind it can mend; `read`
    sees all of them, and refuses before anything is kept.

    Raises:
        ProblemError: the form is none, or `check` or `read` refuses it.
        StoreError: as `Store.receive`.
    """
    async with aclosing(body):
        if least_upload_bytes(request) > store.max_blob_bytes:  # before it is asked for
            raise BlobTooLargeError(store.max_blob_bytes)
        form = FormFile(body, request.headers["Content-Type"])
        await form.open()
        check(form)  # before anything is received in vain
        content_type = form.headers.get("content-type")
        async with aclosing(_content(form, read)) as content:
            receipt = await store.receive(
                tenant_of(request),
                content,
                declared_type=declared_type(content_type) if content_type else None,
                end_user=end_user_of(request),
            )
    return form, read(form), receipt


async def _content(form: FormFile, read: Callable[[FormFile], object]) -> AsyncGenerator[bytes]:
    """Yield the file; its end comes only when the rest of the form is as it should be."""
    async with aclosing(form.content()) as content:
        async for chunk in content:
            yield chunk
    read(form)
