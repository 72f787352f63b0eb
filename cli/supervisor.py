"""The process above the workers: it holds what they share, and serves nobody itself.

1. The sockets that listen, and the right to the data folder, are its own and inherited. So a worker
   that dies takes only its own requests along, and a reload closes no queue.
2. SIGHUP: new workers with the settings as they are now, then the old ones send their clients on and
   end. Whatever goes wrong before all new ones serve, the old ones stay. Addresses and folders are
   kept.
3. SIGTERM and SIGINT: workers drain, a second one hurries them; exit code 0, nothing left behind.
4. Killed, it leaves workers that notice and end.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from coatcheck import web
from coatcheck.store import SharedFolder

from .control import Order
from .crew import Crew, Worker
from .ending import Ending
from .errors import CliError, WorkerError
from .service import RETIRE_SECONDS
from .services import SERVICES, Service
from .settings import Settings

_log = logging.getLogger("coatcheck")

_KEPT: Final = ("host", "port", "uds", "data", "cache")
"""Settings that a reload leaves as they were."""
_PATIENCE_SECONDS: Final = 20.0
"""What a worker has to end in, on top of what its clients get."""


async def supervise(
    service: str, load: Callable[[], Settings], announce: Callable[[Sequence[str]], None]
) -> None:
    """Serve with the workers that the settings ask for, until SIGTERM or SIGINT.

    `load` reads the settings, again at each reload. `announce` is told the addresses once all
    workers serve.

    Raises:
        SettingsError: what `load` raises the first time.
        StoreError: the data folder is not to be had.
        WebError: an address cannot be listened on.
        WorkerError: a worker cannot serve.
    """
    settings = load()
    async with AsyncExitStack() as stack:
        commons = await _open_commons(SERVICES[service], settings, stack)
        supervisor = Supervisor(service, settings, load, commons)
        await supervisor.run(lambda: announce(commons.listening.urls))


@dataclass(frozen=True, slots=True)
class Commons:
    """What all workers have in common."""

    listening: web.Listening
    balance: int
    """The descriptor of the memory in which they see each other's load."""
    folder: SharedFolder | None
    doors: Path


async def _open_commons(service: Service, settings: Settings, stack: AsyncExitStack) -> Commons:
    folder = None
    if service.has_store:
        folder = await asyncio.to_thread(SharedFolder.take, settings.data)
        stack.callback(folder.close)
    listening = await web.listen(settings.host, settings.port, settings.uds)
    stack.callback(listening.close)
    balance = os.memfd_create("coatcheck-balance")
    stack.callback(os.close, balance)
    os.ftruncate(balance, web.BALANCE_BYTES)
    doors = TemporaryDirectory(prefix="coatcheck-", ignore_cleanup_errors=True)
    return Commons(listening, balance, folder, Path(stack.enter_context(doors)))


class Supervisor:
    """Runs crews over what they have in common, which stays the caller's."""

    def __init__(
        self, service: str, settings: Settings, load: Callable[[], Settings], commons: Commons
    ) -> None:
        self._service = service
        self._settings = settings
        self._load = load
        self._commons = commons
        self._numbers = count(1)
        self._free_slots = set(range(web.BALANCE_SLOTS))
        self._crew: Crew | None = None
        self._leaving: set[asyncio.Task[None]] = set()
        self._former: set[Crew] = set()
        self._reload_asked = asyncio.Event()
        self._ending = Ending()

    async def run(self, announce: Callable[[], None]) -> None:
        """Serve until a signal ends it.

        Raises:
            WorkerError: a worker cannot serve, at the start.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.signal)
        loop.add_signal_handler(signal.SIGHUP, self._reload_asked.set)
        serving = asyncio.create_task(self._serve(announce))
        stopping = asyncio.create_task(self._ending.stopped())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (serving, stopping):
                task.cancel()
            await asyncio.wait([serving, stopping])
            await self._stop()
        if not serving.cancelled():
            serving.result()

    async def _serve(self, announce: Callable[[], None]) -> None:
        self._crew = await self._muster(self._settings)
        announce()
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            try:
                await self._reload()
            except CliError as error:
                _log.error("nothing was reloaded: %s", error)
            except Exception:  # noqa: BLE001 - the outermost edge of a reload: others serve on
                _log.exception("nothing was reloaded")

    async def _muster(self, settings: Settings) -> Crew:
        crew = Crew(lambda: self._start_worker(settings))
        await crew.start(settings.workers or 1)
        return crew

    async def _start_worker(self, settings: Settings) -> Worker:
        if not self._free_slots:
            raise WorkerError("there are too many; some that were sent away have yet to end")
        slot = self._free_slots.pop()
        return await Worker.start(
            self._order(settings, slot), cleared=lambda: self._free_slots.add(slot)
        )

    async def _reload(self) -> None:
        """Let new workers take over, with the settings as they are now.

        Raises:
            SettingsError, WorkerError: they cannot; the old ones serve on.
        """
        before, wanted = self._settings, await asyncio.to_thread(self._load)
        kept = {name: getattr(before, name) for name in _KEPT}
        for name in (name for name, value in kept.items() if value != getattr(wanted, name)):
            _log.warning("%s stays as it is until a restart", name)
        settings = wanted.model_copy(update=kept)
        crew = await self._muster(settings)
        former, self._crew, self._settings = self._crew, crew, settings
        logging.getLogger().setLevel(settings.log_level.upper())
        _log.info("reloaded: %d new workers serve", settings.workers or 1)
        if former:
            self._let_go(former, before)

    def _let_go(self, crew: Crew, settings: Settings) -> None:
        self._former.add(crew)
        leaving = asyncio.create_task(crew.dismiss("retire", _seconds(settings)))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)
        leaving.add_done_callback(lambda _: self._former.discard(crew))

    async def _stop(self) -> None:
        self._commons.listening.close()
        _log.info("stopping")
        crews = [*self._former, *([self._crew] if self._crew else [])]

        async def hurry() -> None:
            await self._ending.hurried()
            for crew in crews:
                crew.tell("hurry")

        for crew in self._former:
            crew.tell("stop")
        hurrying = asyncio.create_task(hurry())
        if self._crew:
            await self._crew.dismiss("stop", _seconds(self._settings))
        if self._leaving:
            await asyncio.wait(self._leaving)
        hurrying.cancel()

    def _order(self, settings: Settings, slot: int) -> Order:
        commons = self._commons
        return Order(
            service=self._service,
            name=str(next(self._numbers)),
            settings=settings.model_dump(mode="json"),
            listeners=tuple(bound.fileno() for bound in commons.listening.sockets),
            balance=(commons.balance, slot),
            shared_folder=commons.folder.descriptors if commons.folder else None,
            doors=commons.doors,
        )


def _seconds(settings: Settings) -> float:
    return settings.drain_seconds + RETIRE_SECONDS + _PATIENCE_SECONDS
