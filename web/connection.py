"""One client's connection: what it carried, and the deadlines it is held to.

aiohttp bounds a header's size, but neither the time that a header takes nor the time that a reader
takes. A connection remembers dates instead of holding timers: since when a header is awaited, when
the reader last took something. `check` compares them with the clock a few times a second, so a
request pays for none of it.

A client that closes its sending half after a whole request is gone: its handler is cancelled. One
that closes it inside a body is answered (RFC 9112 section 8).
"""

import asyncio
import socket
import struct

from aiohttp import StreamReader, web

from .connections import Connections
from .errors import refuse
from .problems import (
    HEADER_TIMEOUT,
    HTTP_MALFORMED,
    internal_problem,
    problem_bytes,
    problem_response,
)
from .request_log import Entry, is_enabled, shown_path, write_entry
from .server_name import SERVER_NAME
from .transport import CountedTransport

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # linger for zero seconds: see socket(7)


class Connection(web.RequestHandler):
    """aiohttp's protocol for one connection, with byte counts and deadlines.

    `bytes_in` and `bytes_out` count at the socket, headers and framing included.
    """

    __slots__ = (
        "_awaited_since",
        "_body",
        "_connections",
        "_counted",
        "_flushed",
        "_flushed_at",
        "_half_closed",
        "_logged_in",
        "_logged_out",
        "_request",
        "_started_at",
        "bytes_in",
        "request_id",
    )

    def __init__(
        self, manager: web.Server, connections: Connections, loop: asyncio.AbstractEventLoop
    ) -> None:
        limits = connections.limits
        super().__init__(
            manager,
            loop=loop,
            keepalive_timeout=limits.keepalive_seconds,
            lingering_time=limits.linger_seconds,
            max_line_size=limits.max_header_bytes,
            max_field_size=limits.max_header_bytes,
            max_headers=limits.max_headers,
            auto_decompress=False,  # a gzip bomb stays as small as it was sent
        )
        self._connections = connections
        self._counted: CountedTransport | None = None
        self._request: web.BaseRequest | None = None
        self._body: StreamReader | None = None
        self._half_closed = False
        self._awaited_since: float | None = loop.time()
        self._started_at = 0.0
        self._flushed = 0
        self._flushed_at = loop.time()
        self._logged_in = 0
        self._logged_out = 0
        self.bytes_in = 0
        self.request_id = ""

    @property
    def bytes_out(self) -> int:
        """Bytes handed to the socket's buffer."""
        return self._counted.bytes_out if self._counted else 0

    @property
    def connections(self) -> Connections:
        """The server's connections, of which this is one."""
        return self._connections

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task that handles a request; None between requests."""
        return self._request.task if self._request is not None else None

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._counted = CountedTransport(transport)
        self._connections.opened(self)
        super().connection_made(self._counted)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.closed(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self.bytes_in += len(data)
        if data and self._request is None and self._awaited_since is None and self._is_between():
            self._awaited_since = self._loop.time()
        super().data_received(data)

    # aiohttp declares None; asyncio lets a protocol keep its sending half open by True.
    def eof_received(self) -> bool | None:  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self._half_closed = True
        if self._request is None:
            # A request may be here, whole or in part, and not begun: `begin` or `check` ends it.
            return self.bytes_in > self._logged_in
        return self._cut_body(self._request)

    # What the edge and aiohttp call around each request.

    def begin(self, request: web.BaseRequest) -> None:
        """Note that a request's header is here and its handler runs."""
        self._request = request
        self._body = request.content
        self._awaited_since = None
        self._started_at = self._loop.time()
        self.request_id = self._connections.next_request_id()
        if self._half_closed and not self._cut_body(request) and self._counted:
            self._counted.close()

    def abandon(self, request: web.BaseRequest, outcome: str) -> None:
        """Note that a request ends without a whole answer: the client is `gone`, or `broken`."""
        self._finish(request, outcome)

    def log_access(
        self, request: web.BaseRequest, response: web.StreamResponse, time: float | None
    ) -> None:
        """Note that the answer is written; aiohttp calls it after each one."""
        self._finish(request, response.status)
        if request.content.exception() is not None and not request.content.is_eof():
            # A broken body ends here: aiohttp would read on, fail, and log its failure.
            request.content.feed_eof()
            self.close()
        elif self._connections.is_retiring and request.content.is_eof():
            self.close()  # the answer had begun before, and promised that the connection stays

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP request, without echoing it, and close."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it cannot become another one")
        problem = HTTP_MALFORMED if status == 400 else internal_problem(self.request_id)
        response = problem_response(problem, {"Server": SERVER_NAME})  # no signal is sent for it
        response.force_close()
        return response

    # What the server's clock calls.

    def check(self, now: float) -> None:
        """Close the connection when a deadline has passed; `now` is the loop's clock."""
        if self._request is None:
            self._check_header(now)
        if self._counted is not None:
            self._check_reader(self._counted, now)

    def close_idle(self) -> None:
        """Close the connection unless a request runs.

        Where one runs, nothing is done: aiohttp would take no more of its body.
        """
        if self._request is None:
            self.close()

    def reset(self) -> None:
        """Drop the connection so that the client is told of a failure, not of an end."""
        if self._counted is None:
            return
        peer = self._counted.get_extra_info("socket")
        if peer is not None:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._counted.abort()

    def abort(self) -> None:
        """Drop the connection, and what its reader has not taken."""
        if self._counted is not None:
            self._counted.abort()

    def _is_between(self) -> bool:
        """True when what arrives now is not the dropped rest of the last request's body."""
        return self._body is None or self._body.is_eof()

    def _check_header(self, now: float) -> None:
        limits = self._connections.limits
        if self._half_closed:
            self.force_close()
        elif self._awaited_since is not None and now - self._awaited_since >= limits.header_seconds:
            if self.bytes_in > self._logged_in and self.transport is not None:
                self.transport.write(problem_bytes(HEADER_TIMEOUT))
            self.force_close()

    def _check_reader(self, counted: CountedTransport, now: float) -> None:
        limits = self._connections.limits
        waiting = counted.get_write_buffer_size()
        flushed = counted.bytes_out - waiting
        if not waiting or flushed - self._flushed >= limits.write_min_bytes:
            self._flushed = flushed
            self._flushed_at = now
        elif now - self._flushed_at >= limits.write_seconds:
            counted.abort()

    def _cut_body(self, request: web.BaseRequest) -> bool:
        """Tell the body's reader that no more will come; False when the body was whole."""
        if request.content.is_eof():
            return False
        request.content.set_exception(
            refuse(
                400,
                "body_incomplete",
                "Incomplete body",
                "the connection ended before the body did",
            )
        )
        return True

    def _finish(self, request: web.BaseRequest, outcome: int | str) -> None:
        known = request is self._request
        seconds = self._loop.time() - self._started_at if known else 0.0
        if (meter := self._connections.meter) is not None:
            meter.finished(request if known else None, outcome, seconds)
        if is_enabled():
            write_entry(
                Entry(
                    request_id=self.request_id if known else self._connections.next_request_id(),
                    method=request.method if known else "-",
                    path=shown_path(request.rel_url.raw_path) if known else "-",
                    outcome=outcome,
                    bytes_in=self.bytes_in - self._logged_in,
                    bytes_out=self.bytes_out - self._logged_out,
                    milliseconds=1000 * seconds,
                )
            )
        self._logged_in = self.bytes_in
        self._logged_out = self.bytes_out
        self._request = None


class Refusal(asyncio.Protocol):
    """The protocol of a connection that is over the limit: one answer, and closed."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._answer)
        transport.close()


def connection_of(request: web.BaseRequest) -> Connection:
    """Return the connection that a request came on; a `Server` must have received it."""
    assert isinstance(request.protocol, Connection)
    return request.protocol
