"""One process: what an assembly opened, run until a signal ends it.

Opened in order and closed in reverse: requests end first, then the daemon, then the store.
"""

import asyncio
import logging
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from importlib.metadata import version

from coatcheck import web

from .assembly import Assemble
from .descriptors import fit_connections
from .settings import Settings, environment
from .surroundings import Surroundings

_log = logging.getLogger("coatcheck")


async def run(assemble: Assemble, settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain; `announce` is told the base URL once.

    A second signal ends the drain: requests that still run are cancelled.

    Raises:
        WebError: the address cannot be listened on.
        what `assemble` raises.
    """
    stopped, hurried = asyncio.Event(), asyncio.Event()

    def heed() -> None:
        (hurried if stopped.is_set() else stopped).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, heed)
    async with AsyncExitStack() as stack:
        if not web.is_loopback_host(settings.host):  # before a data folder is made for nothing
            raise web.NotLoopbackError(
                f"without keys only loopback is served, not {settings.host!r}"
            )
        assembly = await assemble(settings, Surroundings(environment()), stack)
        routes = web.join_faces(assembly.faces, title="Coatcheck", version=version("coatcheck"))
        wanted = web.Limits().max_connections
        limits = web.Limits(max_connections=fit_connections(wanted))
        if limits.max_connections < wanted:
            _log.warning("the limit of open files carries %d connections", limits.max_connections)
        server = web.Server(web.build_app(routes, keyring=assembly.keyring), limits)
        stack.push_async_callback(_stop, server, settings.drain_seconds, hurried)
        address = await server.start(settings.host, settings.port)
        announce(address.url)
        await stopped.wait()
        _log.info("stopping")


async def _stop(server: web.Server, drain_seconds: float, hurried: asyncio.Event) -> None:
    async def hurry() -> None:
        await hurried.wait()
        _log.info("stopping at once")
        await server.stop(0)

    hurrying = asyncio.create_task(hurry())
    try:
        await server.stop(drain_seconds)
    finally:
        hurrying.cancel()
