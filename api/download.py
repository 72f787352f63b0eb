"""GET and HEAD of a blob: verified pieces, streamed."""

from aiohttp.web import Request, StreamResponse

from coatcheck import web
from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, Store


async def send_blob(
    store: Store,
    request: Request,
    *,
    tenant: str | None = None,
    digest: Digest | None = None,
    renew: bool = True,
    saved_as: str | None = None,
) -> StreamResponse:
    """Answer a GET or HEAD of the blob with this digest, or of the one that the path names.

    For the request's own tenant, where no other is given. Counts as a use where `renew` is true. With `saved_as` it is a file to be saved by this name.

    HEAD does all that GET does but send the bytes: it serves ranges too, and a damaged first piece
    is not found for both. A piece that turns out to be damaged later breaks the answer off.

    Raises:
        ProblemError: 412 `precondition_failed`; 416 `range_not_satisfiable`.
        StoreError: as `Store.open_blob`.
    """
    tenant = tenant or web.tenant_of(request)
    digest = digest or Digest(request.match_info["digest"])
    grant = await store.stat(tenant, digest)
    if grant is None:
        raise BlobNotFoundError(digest)
    selection = web.select_bytes(request, grant)
    if not isinstance(selection, web.Selection):
        return selection
    start = selection.start
    async with await store.open_blob(tenant, digest, start=start, renew=renew) as reader:
        return await web.send_blob(request, reader.grant, selection, reader, saved_as=saved_as)
