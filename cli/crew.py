"""Worker processes with the same settings: started together, replaced when they end, dismissed.

1. A worker serves only once it has said that it is ready; a crew is ready when all its workers are.
2. A worker that ends is replaced, ever later if it keeps ending soon: its sockets' queues are kept
   by the supervisor, so clients wait meanwhile, or another worker serves them.
3. No process outlives `dismiss`, or a cancelled call.
"""

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, Self

from coatcheck import web

from .control import FAILED, LINE_BYTES, READY, Order, Word
from .errors import WorkerError

_log = logging.getLogger("coatcheck")

_READY_SECONDS: Final = 60.0
_STEADY_SECONDS: Final = 10.0
"""How long a worker has to serve so that its end counts as the first."""
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 30.0

# Without the working folder in the path, where anybody's `asyncio.py` may lie.
_COMMAND: Final = (sys.executable, "-P", "-m", "coatcheck.cli.worker")


class Worker:
    """One process, from `start` on."""

    def __init__(
        self,
        order: Order,
        balance: web.Balance,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        cleared: Callable[[], None],
    ) -> None:
        """Called by `start`."""
        self.name = order.name
        self._door = web.Siblings(order.doors, order.name).door
        self._balance = balance
        self._cleared = cleared
        self._is_over = False
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(
        cls,
        order: Order,
        cleared: Callable[[], None],
        *,
        command: Sequence[str] = _COMMAND,
        ready_seconds: float = _READY_SECONDS,
    ) -> Self:
        """Start a process and return when it serves.

        `cleared` is called once, when it has ended or could not start: what it had is free again.
        `command` gets its descriptor of the line between the two as a further argument.

        Raises:
            WorkerError: there was no process to be had, or it ended before it served, or said why it
                cannot, or took too long.
        """
        try:
            worker = await cls._spawn(order, cleared, command)
        except OSError as error:  # for lack of processes, memory, descriptors
            raise WorkerError(f"no process could be started: {error}") from error
        try:
            worker._writer.write(order.model_dump_json().encode() + b"\n")
            await worker._become_ready(ready_seconds)
        except BaseException:
            worker.kill()
            await asyncio.shield(worker.ended())
            raise
        return worker

    @classmethod
    async def _spawn(
        cls, order: Order, cleared: Callable[[], None], command: Sequence[str]
    ) -> Self:
        """Return a process that has an end of a line and no order, or raise and leave nothing."""
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(cleared)
            balance = web.Balance(*order.balance)
            undo.callback(balance.close)
            ours, theirs = socket.socketpair()
            undo.callback(theirs.close)
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=LINE_BYTES)
            undo.push_async_callback(writer.wait_closed)
            undo.callback(writer.close)
            shared = (*order.listeners, order.balance[0], *(order.shared_folder or ()))
            process = await asyncio.create_subprocess_exec(
                *command,
                str(theirs.fileno()),
                pass_fds=(theirs.fileno(), *shared),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the supervisor
            )
            undo.pop_all()
            theirs.close()
            return cls(order, balance, process, reader, writer, cleared)

    def tell(self, word: Word) -> None:
        """Say a word; a worker that is gone does not hear it."""
        with contextlib.suppress(ConnectionError):
            self._writer.write(f"{word}\n".encode())

    def kill(self) -> None:
        """End it now. May be called twice."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def ended(self) -> int:
        """Return its exit code when it has ended."""
        code = await self._process.wait()
        if not self._is_over:
            self._is_over = True
            self._clear_up()
        return code

    def _clear_up(self) -> None:
        """Remove what a killed worker leaves, so that nobody waits for it."""
        self._writer.close()
        self._balance.leave()
        self._balance.close()
        if self._door:
            self._door.unlink(missing_ok=True)
        self._cleared()

    async def _become_ready(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                said = await self._said()
                if said == READY:
                    return
                if said.startswith(FAILED):
                    raise WorkerError(said.removeprefix(FAILED))
                code = await self._process.wait()
        except TimeoutError as error:
            raise WorkerError(f"a worker was not ready within {seconds:g} s") from error
        raise WorkerError(f"a worker ended before it was ready ({code})")

    async def _said(self) -> str:
        """Return what it says next; nothing once it is gone."""
        try:
            return (await self._reader.readline()).decode().strip()
        except ConnectionError:
            return ""


class Member(Protocol):
    """A worker, as its crew knows it; `Worker` says what each means."""

    @property
    def name(self) -> str: ...
    def tell(self, word: Word) -> None: ...
    def kill(self) -> None: ...
    async def ended(self) -> int: ...


class Crew:
    """The workers of one reading of the settings."""

    def __init__(
        self,
        start_worker: Callable[[], Awaitable[Member]],
        *,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`start_worker` returns when the new one serves, or raises `WorkerError`."""
        self._start_worker = start_worker
        self._pause = pause
        self._clock = clock
        self._workers: set[Member] = set()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self, count: int) -> None:
        """Start so many workers and return when all serve; if one cannot, none is left.

        Raises:
            WorkerError: one could not.
        """
        starts = [asyncio.ensure_future(self._start_worker()) for _ in range(count)]
        try:
            self._workers.update(await asyncio.gather(*starts))
        except BaseException:
            for start in starts:
                start.cancel()
            for done in await asyncio.gather(*starts, return_exceptions=True):
                if not isinstance(done, BaseException):
                    done.kill()
                    await done.ended()
            raise
        self._keepers = [asyncio.create_task(self._keep(worker)) for worker in self._workers]

    def tell(self, word: Word) -> None:
        """Say a word to every worker."""
        for worker in self._workers:
            worker.tell(word)

    async def dismiss(self, word: Word, seconds: float) -> None:
        """Tell all to end and return when they have; what is left after `seconds` is killed."""
        for keeper in self._keepers:
            keeper.cancel()
        if self._keepers:
            await asyncio.wait(self._keepers)
        self.tell(word)
        ends = [asyncio.create_task(_end(worker, seconds)) for worker in self._workers]
        if ends:
            await asyncio.wait(ends)

    async def _keep(self, worker: Member | None) -> None:
        """Replace a worker whenever it ends."""
        failures = 0
        while True:
            if worker is not None:
                began = self._clock()
                code = await worker.ended()
                self._workers.discard(worker)
                failures = 0 if self._clock() - began > _STEADY_SECONDS else failures
                _log.error("worker %s ended unasked (%s)", worker.name, _meaning(code))
            pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2**failures)
            failures += 1
            await self._pause(pause)
            worker = await self._replacement(pause)

    async def _replacement(self, pause: float) -> Member | None:
        try:
            worker = await self._start_worker()
        except WorkerError as error:
            _log.error("no worker could be started after %.1f s: %s", pause, error)
            return None
        self._workers.add(worker)
        _log.info("worker %s serves in its place", worker.name)
        return worker


async def _end(worker: Member, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await worker.ended()
    except TimeoutError:
        _log.error("worker %s did not end within %g s and is killed", worker.name, seconds)
        worker.kill()
        await worker.ended()


def _meaning(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
