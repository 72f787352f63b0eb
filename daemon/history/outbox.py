"""Ids of responses on their way to a store elsewhere, known here at once.

1. Whoever puts an id waits until the store has it. Where that is away, or takes longer than
   `PATIENCE_SECONDS`, the id stays here and is brought as soon as the store answers; the answer goes on.
2. An id is brought after the messages of its list.
3. What is here is bounded in number and in time; what is beyond that is not kept. A daemon that ends
   leaves behind what it could not bring in two seconds.

Belongs to the event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..availability import PAUSE_SECONDS
from ..errors import DaemonError, NotKeptError, StoreUnavailableError
from ..prompt_outbox import MAX_SECONDS, PATIENCE_SECONDS
from .source import NamedResponse

_log = logging.getLogger(__name__)
_CLOSE_SECONDS = 2.0
MAX_WAITING = 10_000
"""Ids, of a kilobyte at most each: what a busy daemon answers in the time that a store restarts."""

ResponseKey: TypeAlias = tuple[str, str]
"""Tenant and id."""
Bring: TypeAlias = Callable[[ResponseKey, NamedResponse, str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    named: NamedResponse
    task: "asyncio.Task[None]"


class ResponseOutbox:
    """Brings ids to a store. Close it."""

    def __init__(self, bring: Bring, settled: Callable[[], Awaitable[None]]) -> None:
        """`bring` hands an id over, and may be called twice; `settled` waits for the messages."""
        self._bring = bring
        self._settled = settled
        self._waiting: dict[ResponseKey, _Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def find(self, key: ResponseKey) -> NamedResponse | None:
        """Return what an id names that is on its way."""
        waiting = self._waiting.get(key)
        return waiting.named if waiting else None

    async def put(self, key: ResponseKey, named: NamedResponse, end_user: str | None) -> None:
        """Bring an id to the store, or go on trying when this has returned.

        Raises:
            NotKeptError: the store does not take it, or it is away and too many wait.
            DaemonError: the store cannot be asked, and asking again does not help.
        """
        if len(self._tasks) >= MAX_WAITING:
            raise NotKeptError("too many responses wait for the store already")
        stalled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._deliver(key, named, end_user, stalled))
        self._tasks.add(task)
        self._waiting[key] = _Waiting(named, task)
        task.add_done_callback(lambda done: self._settle(done, key))
        try:
            await asyncio.wait(
                {task, stalled}, timeout=PATIENCE_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            stalled.cancel()
            if not task.done():
                task.add_done_callback(_say_what_was_lost)
        if task.done():
            task.result()

    async def drop(self, key: ResponseKey) -> bool:
        """Bring an id no further; return whether it was on its way."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return False
        waiting.task.cancel()
        await asyncio.wait({waiting.task})
        return True

    async def flush(self) -> None:
        """Return when what was put before is with the store, or lost."""
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

    async def _deliver(
        self,
        key: ResponseKey,
        named: NamedResponse,
        end_user: str | None,
        stalled: "asyncio.Future[None]",
    ) -> None:
        ends_at = asyncio.get_running_loop().time() + MAX_SECONDS
        while True:
            try:
                await self._settled()
                await self._bring(key, named, end_user)
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

    def _settle(self, task: "asyncio.Task[None]", key: ResponseKey) -> None:
        self._tasks.discard(task)
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.task is task:
            del self._waiting[key]
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; nobody has to


def _say_what_was_lost(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, DaemonError):
        _log.warning("the id of a response did not reach the store: %s", error)
    elif error is not None:
        _log.error("the id of a response did not reach the store", exc_info=error)
