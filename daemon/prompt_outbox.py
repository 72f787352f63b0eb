"""Messages on their way to a store elsewhere: there before a turn's answer begins, where that is possible.

What continues messages that are still here follows them; nothing else waits for anything. What is here is
bounded in bytes: a store that restarts is back within seconds. What is beyond that is not kept.

Belongs to the event loop.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from .errors import NotKeptError
from .outbox import Outbox
from .source import KeptMessage, PromptKey

MAX_BYTES = 32 * 1024 * 1024
_MESSAGE_BYTES = 1000  # what one takes beside its text


@dataclass(frozen=True, slots=True)
class Parcel:
    """Messages that continue `parent`; `end_user` is whom they are for."""

    parent: PromptKey
    messages: Sequence[KeptMessage] = field(repr=False)
    end_user: str | None

    @property
    def size(self) -> int:
        """Bytes that it holds, about."""
        return sum(_MESSAGE_BYTES + len(message.text) for message in self.messages)

    def keys(self) -> list[PromptKey]:
        """Return the prompts that end with its messages."""
        parent = self.parent
        return [
            PromptKey(parent.tenant, parent.dialect, message.digest) for message in self.messages
        ]


class PromptOutbox:
    """Brings parcels to a store. Close it."""

    def __init__(self, bring: Callable[[Parcel], Awaitable[None]]) -> None:
        """`bring` hands a parcel over; it may be called twice for one."""
        self._bring = bring
        self._bytes = 0
        self._on_the_way: dict[PromptKey, asyncio.Task[None]] = {}
        self._outbox = Outbox("messages")

    def has(self, key: PromptKey) -> bool:
        """Whether a prompt is on its way, so that the store may not know it yet."""
        return key in self._on_the_way

    async def put(self, parcel: Parcel) -> None:
        """Bring messages to the store, or go on trying when this has returned.

        Raises:
            NotKeptError: the store does not take them, or it is away and there is no room here.
            DaemonError: the store cannot be asked, and asking again does not help.
        """
        size = parcel.size
        if self._bytes + size > MAX_BYTES:
            raise NotKeptError("too much waits for the store already")
        self._bytes += size
        before = self._on_the_way.get(parcel.parent)
        keys = parcel.keys()

        async def bring() -> None:
            if before is not None:
                await asyncio.wait({before})
            await self._bring(parcel)

        delivery = self._outbox.send(bring, lambda task: self._settle(task, size, keys))
        for key in keys:
            self._on_the_way[key] = delivery.task
        await delivery.arrive()

    async def flush(self) -> None:
        """Return when what was put before is with the store, or lost."""
        await self._outbox.flush()

    async def close(self) -> None:
        """Give what is on its way a little time, and end. May be called twice."""
        await self._outbox.close()

    def _settle(self, task: "asyncio.Task[None]", size: int, keys: Sequence[PromptKey]) -> None:
        self._bytes -= size
        for key in keys:
            if self._on_the_way.get(key) is task:
                del self._on_the_way[key]
