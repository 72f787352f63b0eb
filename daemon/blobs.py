"""GET and HEAD of a blob from the daemon's own cache, said as the store says it."""

from aiohttp import web

from coatcheck.protocol import (
    BLOB_PATH,
    PIECE_BYTES,
    PROBLEM_TYPE,
    SIGNATURE_PARAMETER,
    Digest,
)
from coatcheck.web import (
    BLOB_CONDITIONS,
    Answer,
    Handler,
    Operation,
    ProblemError,
    Route,
    Selection,
    is_known,
    principal_of,
    refuse,
    select_bytes,
    send_blob,
    tenant_of,
)

from .errors import DaemonError
from .remote_blobs import RemoteBlobs
from .source import Resolved


class BlobHandlers:
    """What the two routes and the page's pictures do."""

    def __init__(self, blobs: RemoteBlobs, store: Handler) -> None:
        """`store` passes a request on to the store, which alone knows whom a signed URL is for."""
        self._blobs = blobs
        self._store = store

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or for HEAD do all that GET does but send it; a use."""
        is_somebody = is_known(request) and not principal_of(request).is_open
        if SIGNATURE_PARAMETER in request.query and not is_somebody:
            return await self._store(request)
        return await self._serve(request, is_use=True)

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """Send a blob for the page to show; looking at it is no use, so it keeps nothing alive."""
        return await self._serve(request, is_use=False)

    async def _serve(self, request: web.Request, *, is_use: bool) -> web.StreamResponse:
        try:
            return await self._send(request, is_use=is_use)
        except DaemonError as error:
            raise ProblemError(error.problem) from error

    async def _send(self, request: web.Request, *, is_use: bool) -> web.StreamResponse:
        tenant = tenant_of(request)
        digest = Digest(request.match_info["digest"])
        held = await self._blobs.describe(tenant, [digest], is_use=is_use)
        if (blob := held.get(digest)) is None:
            raise _not_found(digest)
        selection = select_bytes(request, blob)
        if not isinstance(selection, Selection):
            return selection
        if await self._blobs.prepare(tenant, [Resolved(digest, blob.size, blob.media_type)]):
            raise _not_found(digest)
        reader = await self._blobs.open_at(tenant, digest, selection.start // PIECE_BYTES)
        try:
            return await send_blob(request, blob, selection, reader)
        finally:
            await reader.close()


def blob_routes(blobs: BlobHandlers) -> list[Route]:
    """Return the routes that the cache answers."""
    path = f"{BLOB_PATH}{{digest}}"
    answers = {
        200: Answer("the bytes", "*/*"),
        206: Answer("the ranges asked for", "*/*"),
        304: Answer("the client has them"),
        412: Answer("`precondition_failed`: `If-Match` names another blob", PROBLEM_TYPE),
        416: Answer("`range_not_satisfiable`: no byte of any range is there", PROBLEM_TYPE),
    }
    return [
        Route(
            "GET",
            path,
            blobs.get,
            Operation("Get a blob", "blobs", answers, None, BLOB_CONDITIONS),
            scope="read",
            capability=SIGNATURE_PARAMETER,
        ),
        Route(
            "GET",
            "/admin/blobs/{digest}/picture",
            blobs.picture,
            Operation("Show a blob on the page", "admin", {200: Answer("the bytes", "*/*")}),
            scope="admin",
        ),
    ]


def _not_found(digest: Digest) -> ProblemError:
    return refuse(
        404,
        "blob_not_found",
        "Blob not found",
        f"no such blob: {digest}",
        missing=[{"digest": digest}],
    )
