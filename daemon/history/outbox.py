"""Ids of responses on their way to a store elsewhere, known here at once.

An id is brought after the messages of its list. What is here is bounded in number; what is beyond that is
not kept.

Belongs to the event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from ..errors import NotKeptError
from ..outbox import Delivery, Outbox
from .source import NamedResponse

MAX_WAITING = 10_000
"""Ids, of a kilobyte at most each: what a busy daemon answers in the time that a store restarts."""

ResponseKey: TypeAlias = tuple[str, str]
"""Tenant and id."""
Bring: TypeAlias = Callable[[ResponseKey, NamedResponse, str | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    named: NamedResponse
    delivery: Delivery


class ResponseOutbox:
    """Brings ids to a store. Close it."""

    def __init__(self, bring: Bring, settled: Callable[[], Awaitable[None]]) -> None:
        """`bring` hands an id over, and may be called twice; `settled` waits for the messages."""
        self._bring = bring
        self._settled = settled
        self._waiting: dict[ResponseKey, _Waiting] = {}
        self._outbox = Outbox("the id of a response")

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
        if len(self._outbox) >= MAX_WAITING:
            raise NotKeptError("too many responses wait for the store already")

        async def bring() -> None:
            await self._settled()
            await self._bring(key, named, end_user)

        delivery = self._outbox.send(bring, lambda task: self._settle(task, key))
        self._waiting[key] = _Waiting(named, delivery)
        await delivery.arrive()

    async def drop(self, key: ResponseKey) -> bool:
        """Bring an id no further; return whether it was on its way."""
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return False
        await waiting.delivery.cancel()
        return True

    async def flush(self) -> None:
        """Return when what was put before is with the store, or lost."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Give what is on its way a little time, and end. May be called twice."""
        await self._outbox.close()

    def _settle(self, task: "asyncio.Task[None]", key: ResponseKey) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and waiting.delivery.task is task:
            del self._waiting[key]
