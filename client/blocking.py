"""Drives exchanges with blocking sockets.

Plain calls on urllib3, so it works in threads, under gevent, and beside a running event loop.
"""

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import urllib3
from urllib3.exceptions import HTTPError, TimeoutError
from urllib3.response import BaseHTTPResponse

from .endpoint import Endpoint
from .errors import (
    ClientClosedError,
    ConnectionFailedError,
    InvalidAnswerError,
    TimedOutError,
)
from .exchange import MAX_ANSWER_BYTES, Exchange, Join, Outgoing, Reply, Request, Sink, Step

S = TypeVar("S")
T = TypeVar("T")

READ_BYTES = 256 * 1024
# A send may take `connect_seconds`; this much also passes a link of 64 kbit/s in that time.
WRITE_BYTES = 64 * 1024
POOLED_CONNECTIONS = 32  # more threads at once connect anew


class BlockingBody:
    """The body of an answer that is still arriving. Belongs to one thread."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response

    def read(self) -> bytes:
        """Wait for the next bytes; empty at the end.

        Raises:
            TimedOutError: none came in time.
            ConnectionFailedError: the connection broke.
        """
        return _translated(lambda: self._response.read1(READ_BYTES))

    def close(self) -> None:
        """Let go: the connection is kept when the body was read to its end, else closed."""
        self._response.close()
        self._response.release_conn()


class BlockingDriver:
    """Owns the connections to one endpoint. Safe for threads; closed twice is closed."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._pool = urllib3.connection_from_url(
            endpoint.base_url,
            maxsize=POOLED_CONNECTIONS,
            timeout=urllib3.Timeout(connect=endpoint.connect_seconds, read=endpoint.idle_seconds),
        )
        self._is_closed = False

    def run(self, exchange: Exchange[T]) -> T:
        """Carry out an exchange and return its result.

        Raises:
            what the exchange raises.
        """
        return carry_out(exchange, self._perform)

    def open(self, exchange: Exchange[T]) -> tuple[T, BlockingBody]:
        """Carry out an exchange that leaves an answer open; the caller closes the body."""
        opened: list[BlockingBody] = []
        try:
            result = carry_out(exchange, lambda step: self._perform(step, opened))
        except BaseException:
            for body in opened:
                body.close()
            raise
        return result, opened[-1]

    def close(self) -> None:
        """Close the idle connections; those in use are closed when they become idle."""
        self._is_closed = True
        self._pool.close()

    def _perform(self, step: Step, opened: list[BlockingBody] | None = None) -> object:
        if isinstance(step, Join):
            return step.until.result()
        if not isinstance(step, Request):
            return step.run()
        if self._is_closed:
            raise ClientClosedError("the client is closed")
        body = BlockingBody(response := self._send(step))
        reply = Reply(response.status, {name.lower(): v for name, v in response.headers.items()})
        if step.keep_open and opened is not None and reply.is_success:
            opened.append(body)
            return reply
        try:
            if step.sink is not None and reply.is_success:
                _pour(body, step.sink, reply)
                return reply
            return Reply(reply.status, reply.headers, _read_all(body))
        finally:
            body.close()

    def _send(self, request: Request) -> BaseHTTPResponse:
        headers = {
            name: _as_sent(value) for name, value in self._endpoint.headers(request.headers).items()
        }
        if request.body is not None:
            size = len(request.body) if isinstance(request.body, bytes) else request.body.size
            headers["Content-Length"] = str(size)
        return _translated(
            lambda: self._pool.urlopen(
                request.method,
                request.path,
                body=None if request.body is None else _pieces(request.body),
                headers=headers,
                retries=False,
                redirect=False,
                preload_content=False,
            )
        )


def carry_out(exchange: Generator[S, object, T], perform: Callable[[S], object]) -> T:
    """Carry out an exchange by what performs a step; return its result."""
    try:
        step = next(exchange)
        while True:
            try:
                outcome = perform(step)
            except BaseException as error:  # noqa: BLE001 - passed on, not swallowed
                step = exchange.throw(error)
            else:
                step = exchange.send(outcome)
    except StopIteration as stop:
        result: T = stop.value
        return result


def _as_sent(value: str) -> str:
    """Return a header's value so that UTF-8 goes out: the library sends each character as a byte."""
    return value.encode().decode("latin-1")


def _pieces(body: bytes | Outgoing) -> Iterator[bytes]:
    """Cut a body small enough for the time that one send may take."""
    if isinstance(body, bytes):
        yield from _slices(body)
        return
    while piece := body.read_piece():
        for part in _slices(piece):
            yield part
            body.sent(len(part))


def _slices(data: bytes) -> Generator[bytes]:
    for start in range(0, len(data), WRITE_BYTES):
        yield data[start : start + WRITE_BYTES]


def _pour(body: BlockingBody, sink: Sink, reply: Reply) -> None:
    sink.begin(reply.number("content-length"))
    while data := body.read():
        sink.write(data)
        sink.received(len(data))


def _read_all(body: BlockingBody) -> bytes:
    pieces: list[bytes] = []
    left = MAX_ANSWER_BYTES
    while data := body.read():
        pieces.append(data)
        left -= len(data)
        if left < 0:
            raise InvalidAnswerError(f"an answer of over {MAX_ANSWER_BYTES} bytes")
    return b"".join(pieces)


def _translated(call: Callable[[], T]) -> T:
    try:
        return call()
    except TimeoutError as error:
        raise TimedOutError(f"no answer in time: {error}") from error
    except (HTTPError, OSError) as error:
        raise ConnectionFailedError(f"the connection failed: {error}") from error
