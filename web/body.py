"""Request bodies, bounded in bytes and in time.

Every handler reads its body here. aiohttp's own readers know no deadline, and its `post()` does
not count what precedes the first part.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from io import BytesIO

from aiohttp import HttpVersion11, StreamReader, web

from .connection import connection_of
from .errors import ProblemError, refuse
from .limits import Limits

_CONTINUE = "100-continue"


async def read_body(request: web.Request, max_bytes: int) -> bytes:
    """Return the whole body, at most `max_bytes`; see `body_chunks` for what it raises."""
    body = body_at_hand(request, max_bytes)
    if body is not None:
        return body
    whole = BytesIO()  # it grows in place, and gives its bytes away uncopied
    async for chunk in body_chunks(request, max_bytes):
        whole.write(chunk)
    return whole.getvalue()


def body_at_hand(request: web.Request, max_bytes: int) -> bytes | None:
    """Return the whole body where it came with its header: there is nothing to wait for; else None.

    Raises:
        ProblemError: 413 `body_too_large`.
    """
    content = request.content
    if not content.is_eof() or content.exception() is not None:
        return None
    body = content.read_nowait()
    if len(body) > max_bytes:
        raise too_large(max_bytes)
    return body


async def body_chunks(request: web.Request, max_bytes: int | None) -> AsyncGenerator[bytes, None]:
    """Yield the body as it comes, unchanged; call it once a request.

    Without `max_bytes`, whoever takes the chunks bounds them.

    A client that sent `Expect: 100-continue` is told to go on here, with the first chunk asked for and
    not earlier, so that a refused body is never sent (RFC 9110 section 10.1.1).

    Raises:
        ProblemError: 413 `body_too_large`; 408 `body_timeout`, slower than the server's `Limits`
            allow; 400 `body_incomplete`, cut short or shorter than its Content-Length; 400
            `body_malformed`, its chunked framing is broken.
    """
    length = request.content_length
    if max_bytes is not None and (length or 0) > max_bytes:
        raise too_large(max_bytes)
    content = request.content
    if expects_continue(request):
        await _send_continue(request)
    pace = _Pace(connection_of(request).connections.limits)
    # A long body comes in chunks that are large already: joining them is one more copy of it all.
    # The chunks of the chunked coding may be tiny: those are joined.
    read = content.readany if length is None else partial(_first_chunk, content)
    received = 0
    while True:
        chunk = b""
        if length is None and content.exception() is None:
            chunk = content.read_nowait()
        if not chunk:
            if content.at_eof():
                return
            chunk = await _next_chunk(read, pace, received)
        received += len(chunk)
        if max_bytes is not None and received > max_bytes:
            raise too_large(max_bytes)
        if chunk:
            yield chunk


def require_identity(request: web.Request) -> None:
    """Refuse a compressed body: what is stored is what was sent.

    Raises:
        ProblemError: 415 `content_encoding_unsupported`.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise refuse(
            415,
            "content_encoding_unsupported",
            "Unsupported content encoding",
            "send the bytes as they are; this route takes no compressed body",
        )


def require_chunked(request: web.Request) -> None:
    """Refuse a body in another transfer coding than chunked: nothing here would undo it.

    Raises:
        ProblemError: 501 `transfer_coding_unsupported` (RFC 9112 section 6.1).
    """
    codings = request.headers.getall("Transfer-Encoding", ())
    if codings and ",".join(codings).strip().lower() != "chunked":
        raise refuse(
            501,
            "transfer_coding_unsupported",
            "Unsupported transfer coding",
            "the only transfer coding taken is chunked; compress by Content-Encoding",
        )


def require_known_expectation(request: web.Request) -> None:
    """Refuse what nobody here can promise.

    Raises:
        ProblemError: 417 `expectation_failed`, anything but `100-continue` (RFC 9110 section 10.1.1).
    """
    if "Expect" in request.headers and _expectations(request) - {_CONTINUE}:
        raise refuse(
            417,
            "expectation_failed",
            "Expectation failed",
            "the only expectation that can be met is 100-continue",
        )


def expects_continue(request: web.Request) -> bool:
    """True while a client waits to be told whether to send its body."""
    if "Expect" not in request.headers or request.content.at_eof():
        return False
    return _CONTINUE in _expectations(request)


def too_large(max_bytes: int) -> ProblemError:
    """Return the error for a body over its bound."""
    return refuse(
        413,
        "body_too_large",
        "Body too large",
        f"the body is longer than {max_bytes} bytes",
        max_bytes=max_bytes,
    )


class _Pace:
    """How long a body may still be waited for; only time spent waiting counts."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.waited = 0.0

    def patience(self, received: int) -> float:
        """Return the seconds that the next byte may take."""
        limits = self._limits
        earned = limits.body_grace_seconds + received / limits.body_min_bytes_per_second
        return min(limits.body_idle_seconds, earned - self.waited)


async def _first_chunk(content: StreamReader) -> bytes:
    return (await content.readchunk())[0]


async def _next_chunk(read: Callable[[], Awaitable[bytes]], pace: _Pace, received: int) -> bytes:
    clock = asyncio.get_running_loop().time
    began = clock()
    try:
        async with asyncio.timeout(pace.patience(received)):
            return await read()
    except TimeoutError as error:
        raise refuse(
            408, "body_timeout", "Body too slow", "the body stalled, or came too slowly"
        ) from error
    except web.RequestPayloadError as error:
        raise refuse(
            400, "body_malformed", "Malformed body", "the body's framing is not HTTP/1.1"
        ) from error
    finally:
        pace.waited += clock() - began


def _expectations(request: web.Request) -> set[str]:
    """Return what a client expects; one of HTTP/1.0 knows no interim answers, so nothing."""
    if request.version < HttpVersion11:
        return set()
    expected = ",".join(request.headers.getall("Expect")).lower().split(",")
    return {item.strip() for item in expected} - {""}


async def _send_continue(request: web.Request) -> None:
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
