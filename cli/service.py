"""One process: what an assembly opened, served until it is told to end.

Opened in order and closed in reverse: requests end first, then the daemon, then the store.
"""

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version

from coatcheck import web

from .assembly import Assemble, Assembly
from .descriptors import fit_connections
from .ending import Ending
from .settings import Settings
from .settings_sources import environment
from .surroundings import Surroundings

_log = logging.getLogger("coatcheck")

RETIRE_SECONDS = 2.0
"""For how long clients of a retiring process may still use their connections: longer than a busy one
takes to its next request, short of what an idle one would keep a process for."""


async def run(
    assemble: Assemble, settings: Settings, announce: Callable[[Sequence[str]], None]
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is told the addresses once.

    A second signal ends the drain: requests that still run are cancelled. SIGHUP ends it too where it
    logs to a terminal, which is closed then; elsewhere it changes nothing, and the log says so.

    Raises:
        WebError: the address cannot be listened on.
        what `assemble` raises.
    """
    ending = Ending()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.signal)
    # It comes from a terminal that is closed, or from who wants a reload.
    loop.add_signal_handler(signal.SIGHUP, ending.signal if sys.stderr.isatty() else _go_on)
    async with AsyncExitStack() as stack:
        assembly = await assemble(settings, Surroundings(environment()), stack)
        listening = await web.listen(settings.host, settings.port, settings.uds)
        stack.callback(listening.close)
        await stack.enter_async_context(serving(assembly, listening.sockets, settings, ending))
        announce(listening.urls)
        await ending.stopped()


def _go_on() -> None:
    _log.warning("nothing was reloaded: a reload needs --workers")


def require_loopback(host: str, keyring: web.Keyring | None) -> None:
    """Refuse to serve other hosts without keys.

    Raises:
        NotLoopbackError: `host` would.
    """
    if not web.is_loopback_host(host) and (keyring is None or keyring.is_open):
        raise web.NotLoopbackError(
            f"without keys only loopback is served, not {host!r}; make one: coatcheck keys create"
        )


@asynccontextmanager
async def serving(
    assembly: Assembly,
    sockets: Sequence[socket.socket],
    settings: Settings,
    ending: Ending,
    *,
    balance: web.Balance | None = None,
) -> AsyncGenerator[None]:
    """Serve an assembly on sockets, which are closed then; leaving it, drain.

    With a `balance` other processes accept on them too.

    Raises:
        NotLoopbackError: there are no keys, and the sockets are open to other hosts.
    """
    require_loopback(settings.host, assembly.keyring)
    routes = web.join_faces(assembly.faces, title="Coatcheck", version=version("coatcheck"))
    wanted = web.Limits().max_connections
    limits = web.Limits(max_connections=fit_connections(wanted))
    if limits.max_connections < wanted:
        _log.warning("the limit of open files carries %d connections", limits.max_connections)
    http = assembly.metrics.http
    server = web.Server(
        web.build_app(routes, keyring=assembly.keyring, gate=assembly.gate), limits, meter=http
    )

    async def follow() -> None:
        http.carried(server.traffic)

    assembly.metrics.before_reading(follow)
    await server.serve(sockets, balance=balance)
    try:
        with web.LoopLag(http.lagged):
            yield
    finally:
        await _end(server, settings.drain_seconds, ending)


async def _end(server: web.Server, drain_seconds: float, ending: Ending) -> None:
    async def hurry() -> None:
        await ending.hurried()
        _log.info("stopping at once")
        await server.stop(0)

    _log.info("retiring" if ending.is_retired else "stopping")
    hurrying = asyncio.create_task(hurry())
    try:
        if ending.is_retired:
            await server.retire(RETIRE_SECONDS)
        await server.stop(drain_seconds)
    finally:
        hurrying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await hurrying
