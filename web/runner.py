"""The server: accepts, holds connections to their deadlines, retires or drains, and stops."""

import asyncio
import contextlib
import math
import secrets
import socket
from collections.abc import Callable, Sequence

from aiohttp import hdrs, web

from .acceptor import Acceptor
from .app import KEYRING
from .balance import Balance
from .connection import Connection, Refusal
from .connections import Connections, RequestMeter, Traffic
from .errors import NotLoopbackError, NotStartedError
from .limits import Limits
from .listening import BoundAddress, listen
from .problems import TOO_MANY_CONNECTIONS, problem_bytes
from .trust import is_loopback_host

_CHECKS_PER_DEADLINE = 4
_LONGEST_CHECK_SECONDS = 1.0


class Server:
    """Runs one application. Start it once, by `start` or `serve`; stop it once or more.

    A client that goes away cancels its handler. Deadlines are kept to a quarter of the shortest
    of them, and at least to the second.
    """

    def __init__(
        self,
        app: web.Application,
        limits: Limits | None = None,
        *,
        meter: RequestMeter | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._limits = limits or Limits()
        self._keyring = app[KEYRING]
        self._connections = Connections(self._limits, random, meter)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, shutdown_timeout=self._limits.cancel_seconds
        )
        app.on_response_prepare.append(self._part)
        self._acceptor: Acceptor | None = None
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
        listening = await listen(host, port)
        await self.serve(listening.sockets)
        self._address = listening.address
        return self._address

    async def serve(
        self, sockets: Sequence[socket.socket], *, balance: Balance | None = None
    ) -> None:
        """Accept on sockets that listen, and close them at the stop.

        With a `balance`, which stays the caller's, other processes accept on them too.
        """
        await self._runner.setup()
        self._acceptor = Acceptor(
            sockets,
            self._make_protocol,
            at_once=_accepted_at_once(self._limits),
            live=lambda: self._connections.count,
            balance=balance,
        )
        self._connections.on_closed = self._acceptor.report
        self._acceptor.start()
        self._plan_check(asyncio.get_running_loop())

    async def retire(self, seconds: float) -> None:
        """Accept no more, and see to it that clients go on elsewhere; call `stop` then.

        A connection that was accepted still gets an answer, with which it ends. Returns when none
        is left, or after `seconds`.
        """
        if self._acceptor is None:
            return
        await self._acceptor.stop()
        self._connections.is_retiring = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._connections.emptied()

    async def stop(self, drain_seconds: float = 10.0) -> None:
        """Stop listening, let running requests end, cancel what is left; leaves no task behind.

        Idle connections are closed at once. May be called again, also while the first call drains:
        whoever waits the shortest decides, and every call returns when the server has stopped. A
        cancelled call does not end the stopping. Without `start` there is nothing to stop.
        """
        if self._acceptor is None:
            return
        self._bound_drain(drain_seconds)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(self._acceptor))
        await asyncio.shield(self._stopping)

    def _bound_drain(self, seconds: float) -> None:
        self._drained_by = min(self._drained_by, asyncio.get_running_loop().time() + seconds)
        if self._draining is not None and not self._draining.expired():
            self._draining.reschedule(self._drained_by)

    async def _stop(self, acceptor: Acceptor) -> None:
        await acceptor.stop()
        self._connections.is_retiring = True
        await asyncio.sleep(0)  # requests just received begin
        for connection in self._connections.live:
            connection.close_idle()
        await self._drain()
        await self._runner.cleanup()
        if self._check is not None:
            self._check.cancel()
        for connection in self._connections.live:
            connection.abort()
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

    async def _part(self, request: web.BaseRequest, response: web.StreamResponse) -> None:
        """Let a connection end with its answer, and say so."""
        if self._connections.is_retiring:
            response.force_close()
            response.headers[hdrs.CONNECTION] = "close"

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
