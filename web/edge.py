"""The outermost edge of every request: who may ask, who asks, and what an error becomes.

One middleware for all of it, because each layer is paid by every turn of a chat.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Middleware

from coatcheck.protocol import Problem, ProtocolError

from .admission import admit
from .body import require_chunked, require_known_expectation
from .connection import Connection, connection_of
from .errors import NO_HEADERS, BrokenAnswerError, ProblemError, WebError
from .keyring import Keyring
from .problems import http_problem, internal_problem, problem_response, protocol_problem
from .route import Handler, ProblemRenderer, Route
from .trust import LoopbackGuard

logger = logging.getLogger("coatcheck.web")

Gate = Callable[[web.Request], None]
"""Turns requests away before anything else is asked, keys too; raises what they are told."""


def make_edge(
    keyring: Keyring,
    table: Mapping[web.AbstractRoute, Route],
    gate: Gate | None = None,
) -> Middleware:
    """Return the middleware that stands around every handler, and around the router's errors.

    A route's scope is asked for before its handler runs; `table` says which route is whose. The
    `gate` stands before both.
    """
    guard = LoopbackGuard()

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        connection = connection_of(request)
        connection.begin(request)
        route = table.get(request.match_info.route)
        try:
            require_chunked(request)
            require_known_expectation(request)
            if gate is not None:
                gate(request)
            if route is None:
                await admit(request, None, keyring, guard)
            else:
                await admit(request, route.scope, keyring, guard, route.capability)
            return await handler(request)
        except asyncio.CancelledError:
            connection.abandon(request, "gone")
            raise
        except Exception as error:  # noqa: BLE001 - the outermost edge of a request: logs and maps
            render = (route and route.render_problem) or _render_details
            return _answer(error, request, connection, render)

    return edge


def _answer(
    error: Exception, request: web.Request, connection: Connection, render: ProblemRenderer
) -> web.StreamResponse:
    if isinstance(error, web.HTTPException) and error.status < 400:
        raise error
    if request.transport is None:
        connection.abandon(request, "gone")
        raise error
    if request.writer.output_size > 0:
        return _break(error, request, connection)
    response = render(request, *_problem(error, connection.request_id))
    if not request.content.is_eof():
        # What is left of the body is not a request.
        response.force_close()
    return response


def _render_details(
    request: web.Request, problem: Problem, headers: Mapping[str, str]
) -> web.Response:
    return problem_response(problem, headers)


def _problem(error: Exception, request_id: str) -> tuple[Problem, Mapping[str, str]]:
    """Return the problem that an error is to the client, and the headers it comes with."""
    match error:
        case ProblemError():
            return error.problem, error.headers
        case ProtocolError():
            return protocol_problem(error), NO_HEADERS
        case web.HTTPException():
            allow = error.headers.get("Allow")
            return http_problem(error), {"Allow": allow} if allow else NO_HEADERS
        case _:
            logger.error("request %s failed", request_id, exc_info=error)
            return internal_problem(request_id), NO_HEADERS


def _break(error: Exception, request: web.Request, connection: Connection) -> web.StreamResponse:
    """End a begun answer so that no client takes it for whole.

    A chunked answer without its last chunk says so itself, and so does one shorter than its
    Content-Length that its handler broke off: what was written still goes out, it may be an error
    event. Any other answer could pass for whole, so the connection is reset.
    """
    is_foreseen = isinstance(error, WebError | ProtocolError)
    logger.log(
        logging.WARNING if is_foreseen else logging.ERROR,
        "answer to request %s broken off: %s",
        connection.request_id,
        error,
        exc_info=None if is_foreseen else error,
    )
    connection.abandon(request, "broken")
    missing = request.writer.length  # None where the answer declared no length
    is_chunked = missing is None and request.version >= HttpVersion11
    if not is_chunked and not (missing and isinstance(error, BrokenAnswerError)):
        connection.reset()
    elif request.transport is not None:
        request.transport.close()
    raise ConnectionResetError("the answer was broken off") from error
