"""The server: listens, holds connections to their deadlines, drains and stops."""

import asyncio
import contextlib
import math
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from .app import KEYRING
from .connection import Connection, Refusal
from .connections import Connections, Traffic
from .errors import AddressError, NotLoopbackError, NotStartedError
from .limits import Limits
from .problems import TOO_MANY_CONNECTIONS, problem_bytes
from .trust import is_loopback_host

_CHECKS_PER_DEADLINE = 4
_LONGEST_CHECK_SECONDS = 1.0
_QUEUE = 512  # clients that the kernel holds for a loop that is busy


@dataclass(frozen=True, slots=True)
class BoundAddress:
    """Where a server listens; `port` is the real one when 0 was asked for."""

    host: str
    port: int

    @property
    def url(self) -> str:
        """The base URL of this address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


class Server:
    """Runs one application on one address. Start it once, stop it once or more.

    A client that goes away cancels its handler. Deadlines are kept to a quarter of the shortest
    of them, and at least to the second.
    """

    def __init__(
        self,
        app: web.Application,
        limits: Limits | None = None,
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._limits = limits or Limits()
        self._keyring = app[KEYRING]
        self._connections = Connections(self._limits, random)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=self._limits.cancel_seconds
        )
        self._listener: asyncio.Server | None = None
        self._address: BoundAddress | None = None
        self._check: asyncio.TimerHandle | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._drained_by = math.inf  # by the loop's clock
        self._draining: asyncio.Timeout | None = None

    @property
    def address(self) -> BoundAddress:
        """Where the server listens, or listened.

        Raises:
            NotStartedError: it was never started.
        """
        if self._address is None:
            raise NotStartedError("the server has not been started")
        return self._address

    @property
    def traffic(self) -> Traffic:
        """What all connections carried, counted at the sockets."""
        return self._connections.traffic

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> BoundAddress:
        """Listen, and return where.

        Raises:
            NotLoopbackError: there are no keys, and `host` is no loopback name.
            AddressError: the address is taken, or cannot be listened on.
        """
        if not is_loopback_host(host) and self._keyring.is_open:
            raise NotLoopbackError(f"without keys only loopback is served, not {host!r}")
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        try:
            self._listener = await loop.create_server(
                self._make_protocol, host, port, backlog=_accepted_at_once(self._limits)
            )
        except OSError as error:
            await self._runner.cleanup()
            raise AddressError(f"cannot listen on {host}:{port}: {error}") from error
        _lengthen_queue(self._listener)
        self._plan_check(loop)
        bound_host, bound_port = self._listener.sockets[0].getsockname()[:2]
        self._address = BoundAddress(bound_host, bound_port)
        return self._address

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Stop listening, let running requests end, cancel what is left; leaves no task behind.

        Idle connections are closed at once. May be called again, also while the first call drains:
        whoever waits the shortest decides, and every call returns when the server has stopped. A
        cancelled call does not end the stopping. Without `start` there is nothing to stop.
        """
        if self._listener is None:
            return
        self._bound_drain(drain_seconds)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._listener))
        await asyncio.shield(self._stopping)

    def _bound_drain(self, seconds: float) -> None:
        self._drained_by = min(self._drained_by, asyncio.get_running_loop().time() + seconds)
        if self._draining is not None and not self._draining.expired():
            self._draining.reschedule(self._drained_by)

    async def _stop(self, listener: asyncio.Server) -> None:
        listener.close()
        if (manager := self._runner.server) is not None:
            await asyncio.sleep(0)  # requests just received begin
            manager.pre_shutdown()
        await self._drain()
        await self._runner.cleanup()
        if self._check is not None:
            self._check.cancel()
        for connection in self._connections.live:
            connection.abort()
        await listener.wait_closed()
        await asyncio.sleep(0)  # what was aborted is told so

    async def _drain(self) -> None:
        tasks = [task for task in (item.task for item in self._connections.live) if task]
        if not tasks:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._drained_by) as self._draining:
                await asyncio.wait(tasks)
        self._draining = None
        late = [task for task in tasks if not task.done()]
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=self._limits.cancel_seconds)

    def _make_protocol(self) -> asyncio.Protocol:
        manager = self._runner.server
        if manager is None or self._connections.is_full:
            return Refusal(problem_bytes(TOO_MANY_CONNECTIONS))
        return Connection(manager, self._connections, asyncio.get_running_loop())

    def _plan_check(self, loop: asyncio.AbstractEventLoop) -> None:
        shortest = min(self._limits.header_seconds, self._limits.write_seconds)
        pause = min(shortest / _CHECKS_PER_DEADLINE, _LONGEST_CHECK_SECONDS)

        def check() -> None:
            self._connections.check(loop.time())
            self._check = loop.call_later(pause, check)

        self._check = loop.call_later(pause, check)


def _accepted_at_once(limits: Limits) -> int:
    """Bound the clients that asyncio accepts before it learns that there are too many connections.

    A part of the limit, so that there are descriptors for them.
    """
    return max(8, limits.max_connections // 4)


def _lengthen_queue(listener: asyncio.Server) -> None:
    """Let more clients wait than are accepted at once; asyncio has one number for both."""
    for bound in listener.sockets:
        with bound.dup() as same:
            same.listen(_QUEUE)
