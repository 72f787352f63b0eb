"""Fetching: each blob once, however many tasks and processes ask for it at the same time.

Within a process those who ask share one task, which ends when none of them waits any more. Between
processes the lock of the incoming file decides who fetches; the others wait as long as it grows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import partial

from coatcheck.client import Sink
from coatcheck.protocol import Digest
from coatcheck.store import StoreError

from ..errors import WrongBytesError
from .counts import CacheCounts
from .errors import NoRoomError, WastedError
from .files import CacheFiles, Incoming
from .index import CacheIndex
from .intake import Intake
from .rows import Copy
from .threads import Threads

Supply = Callable[[Sink], Awaitable[None]]
"""Pours a blob into a sink."""

_TRIES = 2  # wrong bytes may have been the network's doing
_LOOK_SECONDS = 0.02
_STALLED_SECONDS = 30.0


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[None]
    waiting: int = 0


class Fetcher:
    """Fetches for one process. Owns its tasks; close it."""

    def __init__(
        self,
        files: CacheFiles,
        index: CacheIndex,
        threads: Threads,
        counts: CacheCounts,
        clock: Callable[[], float],
        max_fetches: int,
    ) -> None:
        """At most `max_fetches` have bytes on their way at the same time; the others wait."""
        self._files = files
        self._index = index
        self._threads = threads
        self._counts = counts
        self._clock = clock
        self._places = asyncio.Semaphore(max_fetches)
        self._running: dict[Digest, _Running] = {}

    async def fetch(
        self, digest: Digest, size: int, supply: Supply, *, is_at_hand: bool = False
    ) -> bool:
        """Return when the blob is a copy, by this call's `supply` or by somebody else's.

        Returns whether it was this one's: an error of another's says nothing about this one. The
        fetch ends when all who wait for it are cancelled. With `is_at_hand` the bytes are here, and
        do not wait for those that are on their way.

        Raises:
            NoRoomError: there is no room for it.
            WastedError: that was found out while it came.
            WrongBytesError: other bytes came, twice.
            what `supply` raises.
        """
        running = self._running.get(digest)
        if running is not None:
            await self._wait(running)
            return False
        places = nullcontext() if is_at_hand else self._places
        running = _Running(asyncio.create_task(self._fetch(digest, size, supply, places)))
        self._running[digest] = running
        running.task.add_done_callback(lambda task: self._end(digest, task))
        await self._wait(running)
        await running.task  # raises what it did
        return True

    async def close(self) -> None:
        """End what is being fetched; nothing of it is left. May be called twice."""
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _wait(self, running: _Running) -> None:
        running.waiting += 1
        try:
            await asyncio.wait([running.task])
        finally:
            running.waiting -= 1
            if not running.waiting:
                running.task.cancel()  # without effect once it is done

    def _end(self, digest: Digest, task: asyncio.Task[None]) -> None:
        del self._running[digest]
        if not task.cancelled():
            task.exception()  # whoever asked has been told, or has gone

    async def _fetch(
        self,
        digest: Digest,
        size: int,
        supply: Supply,
        places: AbstractAsyncContextManager[None],
    ) -> None:
        try:
            async with places:
                incoming = await self._begin(digest)
                if incoming is None:
                    return
                try:
                    await self._take_in(incoming, digest, size, supply)
                finally:
                    await self._threads.run(incoming.close)
        except OSError as error:
            raise NoRoomError(f"the disk takes no copy: {error}") from error
        except StoreError as error:
            raise NoRoomError(f"the cache's index failed: {error}") from error

    async def _begin(self, digest: Digest) -> Incoming | None:
        """Become the one who fetches; None when another process has finished it meanwhile."""
        seen, stalled_since = -1, self._clock()
        while True:
            incoming = await self._threads.open(lambda: self._files.begin(digest))
            if incoming is not None:
                break
            count = await self._threads.run(lambda: self._files.incoming_bytes(digest))
            if count != seen:
                seen, stalled_since = count, self._clock()
            elif self._clock() - stalled_since > _STALLED_SECONDS:
                raise NoRoomError(f"another process does not get on with {digest}")
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            is_here = seen >= 0 and await self._is_here(digest)
        except BaseException:
            incoming.close()
            raise
        if is_here:
            incoming.close()
            return None
        return incoming

    async def _is_here(self, digest: Digest) -> bool:
        copy = await self._threads.open(lambda: self._files.open(digest))
        if copy is None:
            return False
        copy.close()
        return await self._index.find(digest) is not None

    async def _take_in(self, incoming: Incoming, digest: Digest, size: int, supply: Supply) -> None:
        try:
            gone = await self._index.reserve(digest, size)
            self._counts.evicted_blobs += len(gone)
            with _wasting():
                copy = await self._supplied(incoming, digest, size, supply)
                gone = await self._index.commit(copy, incoming.publish)
            self._counts.evicted_blobs += len(gone)
        except BaseException:
            with suppress(StoreError, OSError):  # found by its dead lock later
                await self._index.cancel(digest)
            raise

    async def _supplied(
        self, incoming: Incoming, digest: Digest, size: int, supply: Supply
    ) -> Copy:
        for attempt in range(_TRIES):
            intake = Intake(incoming, digest, size, self._index.seed)
            await self._threads.run(incoming.empty)
            try:
                await supply(intake)
                return await self._threads.run(partial(intake.conclude, self._clock()))
            except WrongBytesError:
                self._counts.verification_failures += 1
                if attempt + 1 == _TRIES:
                    raise
        raise AssertionError("unreachable")


@contextmanager
def _wasting() -> Generator[None]:
    """Surround what the store sends for: what fails here has cost its bytes."""
    try:
        yield
    except (NoRoomError, OSError, StoreError) as error:
        raise WastedError(f"it could not be kept: {error}") from (error.__cause__ or error)
