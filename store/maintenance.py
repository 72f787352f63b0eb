"""What a store does by itself, beside what it is asked for: it sweeps.

1. Of all processes that serve a folder one does it at a time; when that one ends, another goes on.
2. A failure ends a round, not the task: it is logged, and the next round tries again.
3. After the clock leapt ahead nothing is swept for a while: leases that seem to have run out may come
   back when the clock is set right. Expiry itself goes by the clock.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .errors import StoreError
from .file_lock import FileLock
from .store import Store
from .sweep import Swept

_logger = logging.getLogger(__name__)
_LEAP_SECONDS = 300.0  # more than a busy machine is late, less than any lease
LOCK_FILE = "maintenance"


@dataclass(frozen=True, slots=True)
class MaintenanceConfig:
    """How often."""

    sweep_seconds: float = 60.0
    """From one sweep to the next; one that finds nothing costs a few questions to the index."""


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
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task; once."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """End the task; a removal that was begun comes to its end. May be called twice."""
        self._ending.set()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
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

    async def _run(self) -> None:
        while not self._ending.is_set():
            try:
                await self.round()
            except StoreError as error:
                _logger.error("the sweep failed and is tried again: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), self._config.sweep_seconds)

    async def _is_ours(self) -> bool:
        if self._folder is not None and self._lock is None:
            self._lock = await asyncio.to_thread(FileLock.take, self._folder / LOCK_FILE)
            return self._lock is not None
        return True


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
