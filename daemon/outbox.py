"""What is on its way to a store elsewhere, and goes on being brought while that is away.

1. Whoever sends something waits until the store has it. Where that is away, or takes longer than
   `PATIENCE_SECONDS`, it stays here and is brought as soon as the store answers; the turn goes on.
2. What is here is bounded in time; who owns an outbox bounds its number or bytes. A daemon that ends
   leaves behind what it could not bring in two seconds.

Belongs to the event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .availability import PAUSE_SECONDS
from .errors import DaemonError, StoreUnavailableError

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 1.0
"""How long a turn's answer waits for the store; one that is well answers within milliseconds."""
MAX_SECONDS = 300.0
"""So that what was sent before an erasure is not kept long after it."""
_CLOSE_SECONDS = 2.0

Bring: TypeAlias = Callable[[], Awaitable[None]]
"""Hands something over to the store; may be called again where that was away."""
Settled: TypeAlias = Callable[["asyncio.Task[None]"], None]


class Delivery:
    """One thing on its way."""

    def __init__(self, task: "asyncio.Task[None]", stalled: "asyncio.Future[None]", what: str):
        """`stalled` is done when the store was away once."""
        self.task = task
        self._stalled = stalled
        self._what = what

    async def arrive(self) -> None:
        """Return when the store has it, or that will take longer. To be called once.

        Raises:
            NotKeptError: the store does not take it.
            DaemonError: the store cannot be asked, and asking again does not help.
        """
        try:
            await asyncio.wait(
                {self.task, self._stalled},
                timeout=PATIENCE_SECONDS,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            self._stalled.cancel()
            if not self.task.done():
                self.task.add_done_callback(self._say_what_was_lost)
        if self.task.done():
            self.task.result()

    async def cancel(self) -> None:
        """Bring it no further; return when it has ended."""
        self.task.cancel()
        await asyncio.wait({self.task})

    def _say_what_was_lost(self, task: "asyncio.Task[None]") -> None:
        error = None if task.cancelled() else task.exception()
        if isinstance(error, DaemonError):
            _log.warning("%s did not reach the store: %s", self._what, error)
        elif error is not None:
            _log.error("%s did not reach the store", self._what, exc_info=error)


class Outbox:
    """Brings things to a store, all at once. Close it."""

    def __init__(self, what: str) -> None:
        """`what` is said of what is lost."""
        self._what = what
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def __len__(self) -> int:
        """Return how many are on their way."""
        return len(self._tasks)

    def send(self, bring: Bring, settled: Settled) -> Delivery:
        """Begin to bring something; `settled` is called when it has arrived or is lost."""
        stalled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._deliver(bring, stalled))
        self._tasks.add(task)
        task.add_done_callback(self._settle)
        task.add_done_callback(settled)
        return Delivery(task, stalled, self._what)

    async def flush(self) -> None:
        """Return when what was sent before is with the store, or lost."""
        if self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Give what is on its way a little time, and end. May be called twice."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(set(self._tasks), timeout=_CLOSE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _deliver(self, bring: Bring, stalled: "asyncio.Future[None]") -> None:
        ends_at = asyncio.get_running_loop().time() + MAX_SECONDS
        while True:
            try:
                await bring()
            except StoreUnavailableError:
                if self._closing.is_set() or asyncio.get_running_loop().time() >= ends_at:
                    raise
            else:
                return
            if not stalled.done():
                stalled.set_result(None)
            await self._pause()

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(PAUSE_SECONDS):
                await self._closing.wait()
        except TimeoutError:
            return

    def _settle(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; nobody has to
