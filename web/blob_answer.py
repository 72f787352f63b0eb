"""How a GET or HEAD of a blob begins: what it gets, and under which headers."""

from aiohttp import web

from .conditions import NotModified, PreconditionFailed, Selection, Unsatisfiable, decide
from .errors import refuse
from .presentation import BlobFacts, blob_headers, validators


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


def begin_blob(facts: BlobFacts, selection: Selection) -> web.StreamResponse:
    """Return the response for these bytes of the blob, 200 or 206; its body is still to come."""
    response = web.StreamResponse(headers=blob_headers(facts))
    response.content_length = selection.stop - selection.start
    if selection.is_part:
        response.set_status(206)
        last = selection.stop - 1
        response.headers["Content-Range"] = f"bytes {selection.start}-{last}/{facts.size}"
    return response
