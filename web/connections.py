"""All connections of one server: what they carried together, and who is looked at next."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol

from aiohttp import web

from .limits import Limits


@dataclass(frozen=True, slots=True)
class Traffic:
    """What a server's sockets carried since it started, headers included; `live` are open now."""

    bytes_in: int
    bytes_out: int
    connections: int
    live: int


class Tracked(Protocol):
    """What the set of connections knows of one."""

    @property
    def bytes_in(self) -> int: ...
    @property
    def bytes_out(self) -> int: ...
    @property
    def task(self) -> "asyncio.Task[None] | None": ...
    def check(self, now: float) -> None: ...
    def close_idle(self) -> None: ...
    def abort(self) -> None: ...


class RequestMeter(Protocol):
    """Measures requests. It returns at once and does not raise."""

    def finished(self, request: web.BaseRequest | None, outcome: int | str, seconds: float) -> None:
        """Count a request that ended: by a status, `gone` or `broken`; None was no request."""
        ...


class Connections:
    """The owner of a server's counts. It holds connections only while they are open."""

    def __init__(
        self,
        limits: Limits,
        random: Callable[[int], bytes],
        meter: RequestMeter | None = None,
    ) -> None:
        self.limits = limits
        self.meter = meter
        self._prefix = random(4).hex()
        self._ids = count(1)
        self._live: set[Tracked] = set()
        self._opened = 0
        self._closed_in = 0
        self._closed_out = 0
        self._empty = asyncio.Event()
        self.on_closed: Callable[[], None] | None = None
        """Called after each connection's end."""
        self.is_retiring = False
        """Whether connections end with their next answer."""

    def next_request_id(self) -> str:
        """Return a name for a request, unlike any of another process."""
        return f"{self._prefix}-{next(self._ids)}"

    @property
    def count(self) -> int:
        """How many connections are open."""
        return len(self._live)

    @property
    def is_full(self) -> bool:
        """True when one more would be over `max_connections`."""
        return len(self._live) >= self.limits.max_connections

    def opened(self, connection: Tracked) -> None:
        """Count a connection in."""
        self._opened += 1
        self._live.add(connection)
        self._empty.clear()

    def closed(self, connection: Tracked) -> None:
        """Count a connection out; may be called twice."""
        if connection in self._live:
            self._live.discard(connection)
            self._closed_in += connection.bytes_in
            self._closed_out += connection.bytes_out
            if self.on_closed:
                self.on_closed()
        if not self._live:
            self._empty.set()

    async def emptied(self) -> None:
        """Wait until no connection is open."""
        if self._live:
            await self._empty.wait()

    def check(self, now: float) -> None:
        """Hold every connection to its deadlines; `now` is the loop's clock."""
        for connection in tuple(self._live):
            connection.check(now)

    @property
    def live(self) -> tuple[Tracked, ...]:
        """The open connections."""
        return tuple(self._live)

    @property
    def traffic(self) -> Traffic:
        """Everything carried so far, by closed and open connections."""
        return Traffic(
            bytes_in=self._closed_in + sum(item.bytes_in for item in self._live),
            bytes_out=self._closed_out + sum(item.bytes_out for item in self._live),
            connections=self._opened,
            live=len(self._live),
        )
