"""Messages on their way to a store elsewhere: there before a turn's answer begins, where that is possible.

1. Whoever puts messages waits until the store has them. Where it is away, or takes longer than
   `PATIENCE_SECONDS`, they stay here and are brought as soon as it answers; the turn goes on.
2. What continues messages that are still here follows them; nothing else waits for anything.
3. What is here is bounded in bytes and in time: a store that restarts is back within seconds. What is
   beyond that is not kept. A daemon that ends leaves behind what it could not bring in two seconds.

Belongs to the event loop.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from coatcheck.protocol import Digest

from .availability import PAUSE_SECONDS
from .errors import DaemonError, NotKeptError, StoreUnavailableError
from .source import KeptMessage

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 1.0
"""How long a turn's answer waits for the store; one that is well answers within milliseconds."""
MAX_BYTES = 32 * 1024 * 1024
MAX_SECONDS = 300.0
"""So that what was sent before an erasure is not kept long after it."""
_CLOSE_SECONDS = 2.0
_MESSAGE_BYTES = 1000  # what one takes beside its text


@dataclass(frozen=True, slots=True)
class PromptKey:
    """What names a prompt."""

    tenant: str
    dialect: str
    digest: Digest


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()

    def has(self, key: PromptKey) -> bool:
        """Whether a prompt is on its way, so that the store may not know it yet."""
        return key in self._on_the_way

    async def put(self, parcel: Parcel) -> None:
        """Bring messages to the store, or go on trying when this has returned.

        Raises:
            NotKeptError: the store does not take them, or it is away and there is no room here.
            DaemonError: the store cannot be asked, and asking again does not help.
        """
        if self._bytes + parcel.size > MAX_BYTES:
            raise NotKeptError("too much waits for the store already")
        self._bytes += parcel.size
        stalled = asyncio.get_running_loop().create_future()
        before = self._on_the_way.get(parcel.parent)
        task = asyncio.create_task(self._deliver(parcel, before, stalled))
        self._tasks.add(task)
        keys = parcel.keys()
        for key in keys:
            self._on_the_way[key] = task
        task.add_done_callback(lambda done: self._settle(done, parcel.size, keys))
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
        parcel: Parcel,
        before: "asyncio.Task[None] | None",
        stalled: "asyncio.Future[None]",
    ) -> None:
        ends_at = asyncio.get_running_loop().time() + MAX_SECONDS
        if before is not None:
            await asyncio.wait({before})
        while True:
            try:
                await self._bring(parcel)
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

    def _settle(self, task: "asyncio.Task[None]", size: int, keys: Sequence[PromptKey]) -> None:
        self._bytes -= size
        self._tasks.discard(task)
        for key in keys:
            if self._on_the_way.get(key) is task:
                del self._on_the_way[key]
        if not task.cancelled():
            task.exception()  # whoever waits for it is told; nobody has to


def _say_what_was_lost(task: "asyncio.Task[None]") -> None:
    error = None if task.cancelled() else task.exception()
    if isinstance(error, DaemonError):
        _log.warning("messages did not reach the store: %s", error)
    elif error is not None:
        _log.error("messages did not reach the store", exc_info=error)
