"""Drives exchanges on an event loop, with aiohttp.

The loop never waits for a file or a hash: work runs in threads, one step at a time for each
exchange.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeVar

import aiohttp

from .endpoint import Endpoint
from .errors import (
    ClientClosedError,
    ConnectionFailedError,
    InvalidAnswerError,
    TimedOutError,
)
from .exchange import MAX_ANSWER_BYTES, Exchange, Join, Outgoing, Reply, Request, Sink, Step
from .unread import unread

S = TypeVar("S")
T = TypeVar("T")

READ_BYTES = 256 * 1024
WRITE_BYTES = 256 * 1024


class AsyncBody:
    """The body of an answer that is still arriving. Belongs to one task."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._error: ConnectionFailedError | None = None

    async def read(self) -> bytes:
        """Wait for the next bytes; empty at the end.

        Raises:
            TimedOutError: none came in time.
            ConnectionFailedError: the connection broke.
        """
        if self._error is None:
            try:
                with _translated():
                    return await self._response.content.read(READ_BYTES)
            except ConnectionFailedError as error:
                self._error = error
                if rest := unread(self._response.content):
                    return rest
        raise self._error

    async def pour(self, sink: Sink) -> None:
        """Read all into a sink, in threads.

        Raises:
            what `read` and the sink raise.
        """
        await in_thread(partial(sink.begin, self._response.content_length))
        while data := await self.read():
            await in_thread(partial(sink.write, data))
            sink.received(len(data))

    def close(self) -> None:
        """Let go: the connection is kept when the body was read to its end, else closed."""
        if self._response.content.at_eof():
            self._response.release()
        else:
            self._response.close()


class AsyncDriver:
    """Owns the connections to one endpoint, from the first request on."""

    def __init__(self, endpoint: Endpoint, *, max_connections: int = 100) -> None:
        """A request waits while `max_connections` are in use; zero: as many as are asked for."""
        self._endpoint = endpoint
        self._max_connections = max_connections
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    async def run(self, exchange: Exchange[T]) -> T:
        """Carry out an exchange and return its result.

        Raises:
            what the exchange raises.
        """
        return await carry_out(exchange, self._perform)

    async def open(self, exchange: Exchange[T]) -> tuple[T, AsyncBody]:
        """Carry out an exchange that leaves an answer open; the caller closes the body."""
        opened: list[AsyncBody] = []
        try:
            result = await carry_out(exchange, lambda step: self._perform(step, opened))
        except BaseException:
            for body in opened:
                body.close()
            raise
        return result, opened[-1]

    async def close(self) -> None:
        """Close all connections, those in use too. May be called twice."""
        self._is_closed = True
        if self._session is not None:
            await self._session.close()

    async def _perform(self, step: Step, opened: list[AsyncBody] | None = None) -> object:
        if isinstance(step, Join):
            return await asyncio.shield(asyncio.wrap_future(step.until))
        if not isinstance(step, Request):
            return await in_thread(step.run)
        response = await self._send(step)
        body = AsyncBody(response)
        reply = Reply(response.status, {name.lower(): v for name, v in response.headers.items()})
        if step.keep_open and opened is not None and reply.is_success:
            opened.append(body)
            return reply
        try:
            if step.sink is not None and reply.is_success:
                await body.pour(step.sink)
                return reply
            return Reply(reply.status, reply.headers, await _read_all(body))
        finally:
            body.close()

    async def _send(self, request: Request) -> aiohttp.ClientResponse:
        headers = self._endpoint.headers(request.headers)
        session = self._opened_session()
        try:
            async with asyncio.timeout(None) as deadline:
                body: _OutgoingBody | None = None
                if request.body is not None:
                    body = _OutgoingBody(request.body, deadline, self._endpoint.idle_seconds)
                    headers["Content-Length"] = str(body.size)
                with _translated(body):
                    return await session.request(
                        request.method,
                        self._endpoint.base_url + request.path,
                        data=body,
                        headers=headers,
                        skip_auto_headers=("Content-Type",),
                        allow_redirects=False,
                    )
        except TimeoutError as error:
            raise TimedOutError("the server did not take the request in time") from error

    def _opened_session(self) -> aiohttp.ClientSession:
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._max_connections),
                timeout=aiohttp.ClientTimeout(
                    total=None,
                    sock_connect=self._endpoint.connect_seconds,
                    sock_read=self._endpoint.idle_seconds,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=READ_BYTES,
            )
        return self._session


async def in_thread(run: Callable[[], T]) -> T:
    """Run a function in a thread and wait for it, also when cancelled meanwhile.

    Nobody closes a file under a thread that still reads it.
    """
    task = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task])
        raise


class _OutgoingBody:
    """A request body as aiohttp takes one. Extends the deadline whenever a piece is wanted."""

    def __init__(
        self, body: bytes | Outgoing, deadline: asyncio.Timeout, idle_seconds: float
    ) -> None:
        self.failure: Exception | None = None
        self.size = len(body) if isinstance(body, bytes) else body.size
        self._body = body
        self._deadline = deadline
        self._idle_seconds = idle_seconds
        self._taken = 0  # of bytes: so far; of a body that is read: the last time

    def __aiter__(self) -> "_OutgoingBody":
        return self

    async def __anext__(self) -> bytes:
        """Hand out the next piece; what prevents it is kept, because aiohttp hides it."""
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)
        try:
            piece = await self._next()
        except Exception as error:
            self.failure = error
            raise
        if not piece:
            raise StopAsyncIteration
        return piece

    async def _next(self) -> bytes:
        if isinstance(self._body, bytes):
            piece = self._body[self._taken : self._taken + WRITE_BYTES]
            self._taken += len(piece)
            return piece
        if self._taken:
            self._body.sent(self._taken)
        piece = await in_thread(self._body.read_piece)
        self._taken = len(piece)
        return piece


async def carry_out(
    exchange: Generator[S, object, T], perform: Callable[[S], Awaitable[object]]
) -> T:
    """Carry out an exchange whose steps are done by `perform`; see the rules of `exchange.py`.

    Raises:
        what the exchange raises.
    """
    try:
        step = next(exchange)
        while True:
            try:
                outcome = await perform(step)
            except BaseException as error:  # noqa: BLE001 - passed on, not swallowed
                step = exchange.throw(error)
            else:
                step = exchange.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result


async def _read_all(body: AsyncBody) -> bytes:
    pieces: list[bytes] = []
    left = MAX_ANSWER_BYTES
    while data := await body.read():
        pieces.append(data)
        left -= len(data)
        if left < 0:
            raise InvalidAnswerError(f"an answer of over {MAX_ANSWER_BYTES} bytes")
    return b"".join(pieces)


@contextmanager
def _translated(outgoing: _OutgoingBody | None = None) -> Generator[None]:
    try:
        yield
    except TimeoutError as error:  # also what aiohttp calls ServerTimeoutError
        raise TimedOutError(f"no answer in time: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        if outgoing is not None and (failure := outgoing.failure) is not None:
            raise failure from failure.__cause__ or error
        raise ConnectionFailedError(f"the connection failed: {error}") from error
