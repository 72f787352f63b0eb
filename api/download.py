"""GET and HEAD of a blob: verified pieces, streamed."""

from contextlib import aclosing

from aiohttp import web

from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, BlobReader, Store
from coatcheck.web import Selection, begin_blob, select_bytes, tenant_of


async def send_blob(
    store: Store, request: web.Request, *, renew: bool = True
) -> web.StreamResponse:
    """Answer a GET or HEAD; counts as a use where `renew` is true.

    HEAD does all that GET does but send the bytes: it serves ranges too, and a damaged first piece
    is not found for both. A piece that turns out to be damaged later breaks the answer off.

    Raises:
        ProblemError: 412 `precondition_failed`; 416 `range_not_satisfiable`.
        StoreError: as `Store.open_blob`.
    """
    tenant = tenant_of(request)
    digest = Digest(request.match_info["digest"])
    grant = await store.stat(tenant, digest)
    if grant is None:
        raise BlobNotFoundError(digest)
    selection = select_bytes(request, grant)
    if not isinstance(selection, Selection):
        return selection
    start = selection.start
    async with await store.open_blob(tenant, digest, start=start, renew=renew) as reader:
        return await _send(reader, selection, request)


async def _send(
    reader: BlobReader, selection: Selection, request: web.Request
) -> web.StreamResponse:
    response = begin_blob(reader.grant, selection)
    await response.prepare(request)
    if request.method != "HEAD":
        async with aclosing(reader.chunks(selection.start, selection.stop)) as chunks:
            async for chunk in chunks:
                await response.write(chunk)
    await response.write_eof()
    return response
