"""How a GET or HEAD of a blob begins: what it gets, and under which headers."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from aiohttp import web

from .conditions import NotModified, PreconditionFailed, Selection, Unsatisfiable, decide
from .errors import refuse
from .presentation import BlobFacts, blob_headers, validators
from .route import Parameter

BLOB_CONDITIONS = (
    Parameter("Range", "one range of bytes", "header"),
    Parameter("If-Range", "the entity tag that the range belongs to", "header"),
    Parameter("If-None-Match", "entity tags that the client has", "header"),
    Parameter("If-Match", "entity tags that the client wants", "header"),
)
"""The headers that `select_bytes` heeds, for documents."""


def select_bytes(request: web.Request, facts: BlobFacts) -> Selection | web.Response:
    """Return which bytes a request gets, or the whole answer where it gets none: 304.

    Raises:
        ProblemError: 412 `precondition_failed`; 416 `range_not_satisfiable`.
    """
    match decide(request.headers, facts.digest, facts.size):
        case Selection() as selection:
            return selection
        case NotModified():
            return web.Response(status=304, headers=validators(facts))
        case PreconditionFailed():
            raise refuse(412, "precondition_failed", "Precondition failed")
        case Unsatisfiable():
            error = refuse(416, "range_not_satisfiable", "Range not satisfiable", size=facts.size)
            error.headers = {"Content-Range": f"bytes */{facts.size}"}
            raise error


async def send_blob(
    request: web.Request,
    facts: BlobFacts,
    selection: Selection,
    chunks: AsyncGenerator[memoryview],
) -> web.StreamResponse:
    """Answer with these bytes of the blob, 200 or 206; HEAD without taking any of `chunks`.

    A chunk is used until the next one is asked for. Raises what they raise, which breaks the
    answer off; closes them.
    """
    async with aclosing(chunks):
        response = _begin(facts, selection)
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in chunks:
                await response.write(chunk)
        await response.write_eof()
    return response


def _begin(facts: BlobFacts, selection: Selection) -> web.StreamResponse:
    response = web.StreamResponse(headers=blob_headers(facts))
    response.content_length = selection.stop - selection.start
    if selection.is_part:
        response.set_status(206)
        last = selection.stop - 1
        response.headers["Content-Range"] = f"bytes {selection.start}-{last}/{facts.size}"
    return response
