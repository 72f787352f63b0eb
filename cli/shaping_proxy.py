"""A TCP proxy on loopback that makes a link like the ones people have.

It carries bytes between clients and one server at a rate a direction, shared by all connections,
delays them by half the round trip a direction, and counts them at the client's socket. With a
body limit it answers 413 in the place where a reverse proxy would. Memory is bounded for each
connection; `close` leaves no task and no socket.

Counts are bytes of the TCP stream: HTTP heads are in them, TCP and IP headers are not.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from .body_limit import BodyLimit
from .errors import RefusedRequestError
from .link import Lane, carry, sleep_until

__all__ = ["LinkShape", "ShapingProxy", "Traffic"]

_LINGER_SECONDS: Final = 30.0
"""nginx's `lingering_time`: how long it reads on after it has refused a body, so that a client
that is still sending gets to read the answer and not a reset (RFC 9112 section 9.6)."""


@dataclass(frozen=True, slots=True)
class LinkShape:
    """What the link is like; the defaults change nothing."""

    uplink_bits_per_second: float | None = None
    """From the client to the server; None is as fast as loopback."""
    downlink_bits_per_second: float | None = None
    round_trip_seconds: float = 0.0
    """Half of it is added in each direction."""
    body_limit_bytes: int | None = None
    """Request bodies over this get 413; None lets all pass."""
    unlimited_prefixes: tuple[str, ...] = ()
    """Paths beginning with one of these are spared the body limit."""


@dataclass(slots=True)
class Traffic:
    """Bytes of one connection or several, counted as they pass."""

    up: int = 0
    down: int = 0


@dataclass(frozen=True, slots=True)
class _Count:
    """The two counts of one connection."""

    at_client: Traffic
    carried: Traffic

    def down(self, size: int) -> None:
        """Count bytes of the server's that were written to the client."""
        self.at_client.down += size
        self.carried.down += size

    def refusal(self, size: int) -> None:
        """Count bytes of the proxy's own that were written to the client."""
        self.at_client.down += size


@dataclass(frozen=True, slots=True)
class _End:
    """One side's stream, both ways."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def close(self) -> None:
        """Break the stream when it still holds bytes nobody took, else end it."""
        if self.writer.transport.get_write_buffer_size():
            self.writer.transport.abort()
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


class ShapingProxy:
    """A shaped link to one server on loopback; use it as an async context manager, once."""

    def __init__(self, server_port: int, shape: LinkShape) -> None:
        """Describe the link; nothing is opened before it is entered."""
        self._server_port = server_port
        self._shape = shape
        self._tasks: set[asyncio.Task[None]] = set()
        self._counts: list[_Count] = []

    async def __aenter__(self) -> Self:
        """Listen on a free loopback port.

        Raises:
            OSError: no port can be had.
        """
        clock = asyncio.get_running_loop().time
        delay_seconds = self._shape.round_trip_seconds / 2
        self._up = Lane(self._shape.uplink_bits_per_second, delay_seconds, clock)
        self._down = Lane(self._shape.downlink_bits_per_second, delay_seconds, clock)
        self._listener = await asyncio.start_server(
            self._accept, "127.0.0.1", 0, limit=self._up.chunk_bytes
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop listening, break the open connections and wait until they are gone."""
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._listener.wait_closed()  # from Python 3.12 on it waits for the connections too

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        port: int = self._listener.sockets[0].getsockname()[1]
        return port

    @property
    def url(self) -> str:
        """The origin to give to HTTP clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def connections(self) -> tuple[Traffic, ...]:
        """What has passed at each client's socket so far, oldest connection first."""
        return tuple(replace(count.at_client) for count in self._counts)

    @property
    def total(self) -> Traffic:
        """What has passed at all clients' sockets so far."""
        return _sum(count.at_client for count in self._counts)

    @property
    def carried(self) -> Traffic:
        """The same without refused requests and their answers: what went on to the server."""
        return _sum(count.carried for count in self._counts)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(_End(reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: _End) -> None:
        count = _Count(Traffic(), Traffic())
        self._counts.append(count)
        try:
            server = await self._connect()
            if server is not None:
                await self._join(client, server, count)
        finally:
            await client.close()

    async def _connect(self) -> _End | None:
        try:
            streams = await asyncio.open_connection(
                "127.0.0.1", self._server_port, limit=self._down.chunk_bytes
            )
        except OSError:
            return None
        return _End(*streams)

    async def _join(self, client: _End, server: _End, count: _Count) -> None:
        refused: list[RefusedRequestError] = []
        try:
            async with asyncio.TaskGroup() as group:
                upward = group.create_task(self._carry_up(client, server, count, refused))
                await self._carry_down(server, client, count)
                upward.cancel()
        except* OSError:
            pass  # one side is gone; ending the other is all that is left to do
        finally:
            await server.close()
        if refused:
            await self._refuse(client, count, refused[0])

    async def _carry_up(
        self, client: _End, server: _End, count: _Count, refused: list[RefusedRequestError]
    ) -> None:
        limit = self._body_limit()

        async def receive() -> bytes | None:
            data = await self._read(client, count)
            try:
                passed = limit.feed(data) if limit and data else data
            except RefusedRequestError as refusal:
                refused.append(refusal)
                return None
            count.carried.up += len(passed or b"")
            return passed

        await carry(receive, self._up, server.writer, lambda _: None)
        if refused:
            server.writer.transport.abort()
        else:
            server.writer.write_eof()

    async def _carry_down(self, server: _End, client: _End, count: _Count) -> None:
        async def receive() -> bytes | None:
            return await server.reader.read(self._down.chunk_bytes) or None

        await carry(receive, self._down, client.writer, count.down)

    async def _refuse(self, client: _End, count: _Count, refusal: RefusedRequestError) -> None:
        answers = iter([refusal.response])

        async def receive() -> bytes | None:
            return next(answers, None)

        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await carry(receive, self._down, client.writer, count.refusal)
                client.writer.write_eof()
                while (data := await self._read(client, count)) is not None:
                    await sleep_until(self._up.reserve(len(data)))
        except* (OSError, TimeoutError):
            pass  # the client did not want the rest of the answer

    async def _read(self, client: _End, count: _Count) -> bytes | None:
        data = await client.reader.read(self._up.chunk_bytes)
        count.at_client.up += len(data)
        return data or None

    def _body_limit(self) -> BodyLimit | None:
        if self._shape.body_limit_bytes is None:
            return None
        return BodyLimit(
            self._shape.body_limit_bytes, exempt_prefixes=self._shape.unlimited_prefixes
        )


def _sum(parts: Iterable[Traffic]) -> Traffic:
    total = Traffic()
    for part in parts:
        total.up += part.up
        total.down += part.down
    return total
