"""Problems as responses (RFC 9457): the one form in which a native route says no."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType

from aiohttp import web

from coatcheck.protocol import PROBLEM_TYPE, Problem, ProtocolError, encode_json, holds_key

from .errors import NO_HEADERS

HTTP_MALFORMED = Problem(
    400, "http_malformed", "Malformed request", "the bytes received are not an HTTP/1.1 request"
)
HEADER_TIMEOUT = Problem(
    408,
    "header_timeout",
    "Request header too slow",
    "the request's header did not arrive within the deadline",
)
TOO_MANY_CONNECTIONS = Problem(
    503,
    "too_many_connections",
    "Too many connections",
    "the server holds as many connections as it may; try again",
    retryable=True,
)


def problem_headers(problem: Problem) -> dict[str, str]:
    """Return the headers of every answer that is a problem."""
    return {
        "Content-Type": PROBLEM_TYPE,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **retry_headers(problem),
    }


def retry_headers(problem: Problem) -> dict[str, str]:
    """Return what says whether, and when, a resend can help, in whatever shape a problem has.

    `x-should-retry: false` stops the official SDKs from resending 408, 409, 429 and 5xx when a
    resend cannot help.
    """
    if not problem.retryable:
        return {"x-should-retry": "false"}
    seconds = problem.retry_after_seconds
    return {} if seconds is None else {"Retry-After": str(seconds)}


def problem_response(problem: Problem, headers: Mapping[str, str] = NO_HEADERS) -> web.Response:
    """Return the response that carries a problem; `headers` are added."""
    return web.Response(
        status=problem.status,
        body=encode_json(problem.to_json()),
        headers={**problem_headers(problem), **headers},
    )


def problem_bytes(problem: Problem) -> bytes:
    """Return a whole HTTP/1.1 answer, for connections that no request handler has."""
    body = encode_json(problem.to_json())
    head = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        *(f"{name}: {value}" for name, value in problem_headers(problem).items()),
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def protocol_problem(error: ProtocolError) -> Problem:
    """Return the problem for something malformed that travelled: 400 with the error's code.

    Errors show what they found; a key of ours, put there by mistake, is not repeated.
    """
    path = getattr(error, "path", "")
    extensions = {"path": str(path)} if path else {}
    detail = "a key stands where none belongs" if holds_key(str(error)) else str(error)
    return Problem(400, error.code, "Malformed request", detail, MappingProxyType(extensions))


def http_problem(error: web.HTTPException) -> Problem:
    """Return the problem for an error of the router: `not_found`, `method_not_allowed`."""
    status = HTTPStatus(error.status)
    details = {404: "no route has this path", 405: "this path does not take this method"}
    code = status.phrase.lower().replace(" ", "_").replace("-", "_")
    return Problem(error.status, code, status.phrase, details.get(error.status, ""))


def internal_problem(request_id: str) -> Problem:
    """Return the problem for an error nobody foresaw; the log has it under this id."""
    return Problem(
        500,
        "internal_error",
        "Internal error",
        "the server failed; its log has the details under this request id",
        MappingProxyType({"request_id": request_id}),
    )
