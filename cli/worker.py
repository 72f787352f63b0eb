"""One of a server's worker processes: `python -m coatcheck.cli.worker DESCRIPTOR`.

The descriptor is of the socket on which the supervisor says what to serve, and when to end. A worker
whose supervisor is gone drains and ends: nobody else would.
"""

import asyncio
import contextlib
import gc
import logging
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from coatcheck import web
from coatcheck.daemon import CacheError
from coatcheck.store import SharedFolder, StoreError

from .control import FAILED, LINE_BYTES, READY, Order
from .ending import Ending
from .errors import CliError
from .log import log_to_stderr
from .service import serving
from .services import SERVICES
from .settings import Settings
from .settings_sources import environment
from .surroundings import Surroundings

_log = logging.getLogger("coatcheck")


def main(arguments: Sequence[str]) -> int:
    """Serve until told to end; return the exit code."""
    gc.freeze()  # as `launch` does
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it means the supervisor
    return asyncio.run(_work(socket.socket(fileno=int(arguments[0]))))


async def _work(control: socket.socket) -> int:
    reader, writer = await asyncio.open_unix_connection(sock=control, limit=LINE_BYTES)
    ending = Ending()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.stop)  # a service manager sends it to everybody
    try:
        line = await reader.readline()
        if not line:
            return 0  # the supervisor has changed its mind
        await _serve(Order.model_validate_json(line), reader, writer, ending)
    except (CliError, CacheError, StoreError, web.WebError) as error:
        writer.write(f"{FAILED}{' '.join(str(error).split())}\n".encode())
        return 1
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return 0


async def _serve(
    order: Order, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ending: Ending
) -> None:
    settings = Settings.model_validate(dict(order.settings))
    log_to_stderr(settings.log_level, worker=order.name)
    siblings = web.Siblings(order.doors, order.name)
    async with AsyncExitStack() as stack:
        shared = order.shared_folder and SharedFolder.inherit(order.shared_folder)
        if shared:
            stack.callback(shared.close)
        assembly = await SERVICES[order.service].assemble(
            settings, Surroundings(environment(), siblings, shared), stack
        )
        await stack.enter_async_context(_heeding(reader, ending, order.doors))
        await stack.enter_async_context(_answering(siblings, assembly.faces))
        balance = web.Balance(*order.balance)
        stack.callback(balance.close)
        sockets = [socket.socket(fileno=number) for number in order.listeners]
        await stack.enter_async_context(
            serving(assembly, sockets, settings, ending, balance=balance)
        )
        writer.write(f"{READY}\n".encode())
        await ending.stopped()


@asynccontextmanager
async def _answering(siblings: web.Siblings, faces: Sequence[web.Face]) -> AsyncGenerator[None]:
    """Serve what the other workers ask this one for."""
    assert siblings.door is not None
    door, made = await asyncio.to_thread(web.listen_unix, siblings.door, mode=0o600)
    server = web.Server(web.build_app([route for face in faces for route in face.private]))
    await server.serve([door])
    try:
        yield
    finally:
        await server.stop(0)
        made.remove()


@asynccontextmanager
async def _heeding(
    reader: asyncio.StreamReader, ending: Ending, doors: Path
) -> AsyncGenerator[None]:
    """Do what the supervisor says; when it is gone, end, and leave nothing of its behind."""
    heeding = asyncio.create_task(_heed(reader, ending))
    try:
        yield
    finally:
        is_orphan = heeding.done()
        heeding.cancel()
        await asyncio.wait([heeding])
        if is_orphan:
            with contextlib.suppress(OSError):  # not empty: another worker still ends
                await asyncio.to_thread(doors.rmdir)


async def _heed(reader: asyncio.StreamReader, ending: Ending) -> None:
    try:
        while word := (await reader.readline()).decode().strip():
            match word:
                case "retire":
                    ending.retire()
                case "stop":
                    ending.stop()
                case _:
                    ending.hurry()
        _log.warning("the supervisor is gone")
    except ConnectionError as error:  # and had not read all that was said to it
        _log.warning("the supervisor is gone: %s", error)
    finally:
        ending.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
