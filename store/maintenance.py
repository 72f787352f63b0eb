"""What a store does by itself, beside what it is asked for: it sweeps, and scrubs.

1. Of all processes that serve a folder one does it at a time; when that one ends, another goes on.
2. A failure ends a round, not the task: it is logged, and the next round tries again.
3. After the clock leapt ahead nothing is swept for a while: leases that seem to have run out may come
   back when the clock is set right. Expiry itself goes by the clock.
4. A scrub takes as long as it may, so that it costs others little; one that somebody asks for goes first.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from .errors import ScrubRunningError, StoreError
from .file_lock import FileLock
from .scrub import ScrubProgress
from .store import Store
from .sweep import Swept
from .verify import LEAST_BYTES

_logger = logging.getLogger(__name__)
_LEAP_SECONDS = 300.0  # more than a busy machine is late, less than any lease
_SCRUB_ROUND_SECONDS = 3600.0  # then the rate is chosen anew, by what there is
_LEAST_RATE = (
    64 * 1024.0
)  # bytes a second: a small store is soon through, and costs nobody anything
LOCK_FILE = "maintenance"


@dataclass(frozen=True, slots=True)
class MaintenanceConfig:
    """How often."""

    sweep_seconds: float = 60.0
    """From one sweep to the next; one that finds nothing costs a few questions to the index."""
    scrub_seconds: float | None = 30 * 24 * 3600.0
    """From the begin of one pass over all blobs to the next; None: only when somebody asks. A month: disks
    that fail lose sectors over weeks."""


class Maintenance:
    """Maintains one store, from `start` until `close`. The store stays the caller's."""

    def __init__(
        self,
        store: Store,
        folder: Path | None,
        config: MaintenanceConfig,
        *,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        """`folder` is the store's; None: it is in memory, and nobody else's.

        `clock` gives unix seconds, `monotonic` seconds that nobody sets.
        """
        self._store = store
        self._folder = folder
        self._config = config
        self._leaps = Leaps(clock, monotonic, hold_seconds=store.config.review_seconds)
        self._lock: FileLock | None = None
        self._ending = asyncio.Event()
        self._taking = asyncio.Lock()
        self._monotonic = monotonic
        self._clock = clock
        self._tasks: Sequence[asyncio.Task[None]] = ()

    def start(self) -> None:
        """Start the tasks; once."""
        self._tasks = (
            asyncio.create_task(self._run("sweep", self.round)),
            asyncio.create_task(self._run("scrub", self.scrub_round)),
        )

    async def close(self) -> None:
        """End the tasks; a removal that was begun comes to its end. May be called twice."""
        self._ending.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = ()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    async def round(self) -> Swept | None:
        """Do what is due now; None where another process does it, or nothing may be swept."""
        if not await self._is_ours() or self._leaps.is_holding():
            return None
        swept = await self._store.sweep.run()
        if swept != Swept():
            _logger.info(
                "swept: %d grants ended, %d blobs of %d bytes removed, %d messages",
                swept.ended_grants,
                swept.removed_blobs,
                swept.removed_bytes,
                swept.removed_prompts,
            )
        return swept

    async def scrub_round(self) -> ScrubProgress | None:
        """Verify blobs until all are, or an hour has passed; None where nothing is due."""
        every = self._config.scrub_seconds
        if every is None or not await self._is_ours():
            return None
        last = await self._store.scrub.status()
        now = self._clock()
        if last is not None and last.finished_at is not None:
            if now - last.started_at < every:
                return None
            last = None
        rate = await self._scrub_rate(last, every, now)
        try:
            progress = await self._scrub_at(rate)
        except ScrubRunningError:
            return None
        if progress is not None and progress.finished_at is not None:
            _logger.info(
                "all blobs are verified: %d of %d bytes, %d damaged",
                progress.checked_blobs,
                progress.checked_bytes,
                progress.damaged_blobs,
            )
        return progress

    async def _scrub_at(self, rate: float) -> ScrubProgress | None:
        began = self._monotonic()
        progress: ScrubProgress | None = None
        running = self._store.scrub.run(
            bytes_per_second=rate, gives_way=True, monotonic=self._monotonic
        )
        async with aclosing(running) as steps:
            async for step in steps:
                progress = step
                if self._monotonic() - began > _SCRUB_ROUND_SECONDS:
                    break
        return progress

    async def _scrub_rate(self, last: ScrubProgress | None, every: float, now: float) -> float:
        """Return how many bytes a second end the pass in time."""
        left = await self._store.scrub.pass_bytes()
        seconds = every
        if last is not None:
            left -= last.checked_bytes + last.checked_blobs * LEAST_BYTES
            seconds = last.started_at + every - now
        return max(left / max(seconds, _SCRUB_ROUND_SECONDS), _LEAST_RATE)

    async def _run(self, what: str, work: Callable[[], Awaitable[object]]) -> None:
        while not self._ending.is_set():
            try:
                await work()
            except StoreError as error:
                _logger.error("the %s failed and is tried again: %s", what, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._config.sweep_seconds)

    async def _is_ours(self) -> bool:
        if self._folder is None:
            return True
        async with self._taking:
            if self._lock is None:
                self._lock = await asyncio.to_thread(FileLock.take, self._folder / LOCK_FILE)
            return self._lock is not None


class Leaps:
    """Notices that the clock leapt ahead of the time that passed."""

    def __init__(
        self,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        *,
        hold_seconds: float,
    ) -> None:
        self._clock = clock
        self._monotonic = monotonic
        self._hold_seconds = hold_seconds
        self._ahead = clock() - monotonic()
        self._held_until = monotonic()

    def is_holding(self) -> bool:
        """Return whether a leap was seen a short while ago."""
        passed = self._monotonic()
        ahead = self._clock() - passed
        leap, self._ahead = ahead - self._ahead, ahead
        if leap > _LEAP_SECONDS:
            self._held_until = passed + self._hold_seconds
            _logger.warning(
                "the clock leapt ahead by %.0f s; nothing is swept for %.0f s",
                leap,
                self._hold_seconds,
            )
        return passed < self._held_until
