"""The store in numbers, counted seldom.

Counting reads whole tables in the threads that also answer who holds what. So a count is believed
for a few seconds, and whoever asks while one is taken waits for that one: however many ask, the
tables are read once in that time.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from .index import Index
from .prompts import Prompts
from .sums import Totals


@dataclass(frozen=True, slots=True)
class Counts:
    """What the tables said."""

    totals: Totals
    prompts: int


class Census:
    """Counts that are at most `seconds` old when they are given out."""

    def __init__(
        self, index: Index, prompts: Prompts, *, seconds: float, clock: Callable[[], float]
    ) -> None:
        self._index = index
        self._prompts = prompts
        self._seconds = seconds
        self._clock = clock
        self._counts: Counts | None = None
        self._counted_at = 0.0
        self._counting = asyncio.Lock()

    async def counts(self) -> Counts:
        """Return the counts, taken anew when those that are known have grown too old.

        Raises:
            StoreClosedError, StoreUnavailableError: the databases cannot be read.
        """
        async with self._counting:
            # A clock that was set back makes counts old, not new.
            if self._counts is None or not 0 <= self._clock() - self._counted_at < self._seconds:
                self._counts = await self._count()
                self._counted_at = self._clock()
            return self._counts

    async def _count(self) -> Counts:
        return Counts(await self._index.totals(), await self._prompts.count())
