"""Verification of every blob, whether anybody reads it or not.

1. A pass walks all blobs by digest and reads every byte, at no more than the given rate. SHA-256
   decides: what does not have its digest goes to quarantine; what the index says of the rest is put
   right, and its checksums are made with the newest seed.
2. Files and rows are reconciled before it. After it rows that do not agree are mended, and seeds that
   nothing uses any more are forgotten: a pass mends what `check` finds.
3. It goes on where the last one stopped, also in another process: its place is written every few
   seconds. What was checked since then is checked again.
4. One pass runs at a time, of all processes that have the folder; see `scrub_turn.py`.
5. Bytes that an upload has replaced since they were read are left alone.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from .backend import Backend
from .blob_rows import BlobFacts, present_after
from .consistency import find_inconsistencies, mend_rows
from .counts import StoreCounts
from .database import Database
from .finisher import Finisher
from .quarantine import Quarantine, Settled
from .reconcile import Reconcile
from .scrub_rows import ScrubPlace, read_scrub, write_scrub
from .scrub_turn import GivenWayError, ScrubTurn
from .seed import Seeds
from .sums import read_totals
from .verify import LEAST_BYTES, Pace, Reading, read_blobs

_PAGE_BLOBS: Final = 64
_KEEP_SECONDS: Final = 5.0
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ScrubProgress:
    """How far a pass is. Blobs that come and go meanwhile make the totals wrong by some."""

    checked_blobs: int
    checked_bytes: int
    total_blobs: int
    total_bytes: int
    damaged_blobs: int
    """Put in quarantine since the pass began."""
    started_at: float
    finished_at: float | None = None
    """None while there are blobs left."""
    rewritten_blobs: int = 0
    """Whose checksums were made anew since this run began."""
    unreadable_blobs: int = 0
    """That the disk did not give out since this run began: they are as they were, and in the log."""
    reconciled: int = 0
    """Files and rows that did not agree when this run began."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing was damaged, unreadable or in disagreement."""
        return not (self.damaged_blobs or self.unreadable_blobs or self.reconciled)


class Scrub:
    """Scrubs one store. The executor is the store's, for reading."""

    def __init__(
        self,
        *,
        database: Database,
        backend: Backend,
        quarantine: Quarantine,
        reconcile: Reconcile,
        seeds: Seeds,
        finisher: Finisher,
        executor: Executor,
        counts: StoreCounts,
        folder: Path | None,
        clock: Callable[[], float],
    ) -> None:
        """`folder` is where its lock lies; None: nobody else has the store."""
        self._database = database
        self._backend = backend
        self._quarantine = quarantine
        self._reconcile = reconcile
        self._seeds = seeds
        self._finisher = finisher
        self._executor = executor
        self._counts = counts
        self._clock = clock
        self._turn = ScrubTurn(folder)

    async def pass_bytes(self) -> int:
        """Return what a pass over all blobs costs, in bytes: each blob counts `LEAST_BYTES` more.

        Raises:
            StoreClosedError, StoreUnavailableError: the index cannot be read.
        """
        totals = await self._database.read(read_totals)
        return totals.blob_bytes + totals.blobs * LEAST_BYTES

    async def run(
        self,
        *,
        bytes_per_second: float | None = None,
        restart: bool = False,
        rotate_seed: bool = False,
        gives_way: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> AsyncGenerator[ScrubProgress]:
        """Go on with the pass that was begun, or begin one; yield how far it is, often.

        It ends when every blob was checked. Closing the generator ends it before that, and the next
        run goes on. `restart` begins anew; so does `rotate_seed`, with a new seed, so that all
        checksums are made with it. Without a rate it is as fast as one thread reads. One that
        `gives_way` ends within a second, unfinished, when another one is asked for.

        Raises:
            ScrubRunningError: another one runs, and does not give way.
            StoreClosedError: the store was closed.
            StoreFullError, StoreUnavailableError: the index failed; the next run goes on.
        """
        async with self._turn.taken(gives_way=gives_way):
            if rotate_seed:
                await self._finisher.run(self._seeds.rotate())
            place = await self._begin(anew=restart or rotate_seed)
            wait = self._turn.giving_way(pause) if gives_way else pause
            pace = Pace(bytes_per_second, monotonic, wait)
            with contextlib.suppress(GivenWayError):
                async with aclosing(self._pass(place, pace, monotonic)) as steps:
                    async for progress in steps:
                        yield progress
                        if gives_way and await self._turn.is_another_wanted():
                            break

    async def status(self) -> ScrubProgress | None:
        """Return how far the last pass came, as it was written; None when there was none.

        Raises:
            StoreClosedError, StoreUnavailableError: the index cannot be read.
        """
        place = await self._database.read(read_scrub)
        return None if place is None else await self._progress(place)

    async def _begin(self, *, anew: bool) -> ScrubPlace:
        place = await self._database.read(read_scrub)
        if place is None or place.finished_at is not None or anew:
            now = self._clock()
            place = ScrubPlace(started_at=now, updated_at=now)
            await self._keep(place)
        return place

    async def _pass(
        self, place: ScrubPlace, pace: Pace, monotonic: Callable[[], float]
    ) -> AsyncGenerator[ScrubProgress]:
        reconciled = await self._reconcile.run()
        done = replace(await self._progress(place), reconciled=reconciled.disagreements)
        yield done
        kept_at = monotonic()
        while page := await self._next_page(place):
            async with aclosing(self._read(page, pace)) as steps:
                async for readings in steps:
                    checked = [await self._settle(reading) for reading in readings]
                    place = self._further(place, readings, checked)
                    done = _further(done, place, readings, checked)
                    if monotonic() - kept_at >= _KEEP_SECONDS:
                        await self._keep(place)
                        kept_at = monotonic()
                    yield done
        yield replace(done, finished_at=await self._finisher.run(self._finish(place)))

    async def _next_page(self, place: ScrubPlace) -> Sequence[BlobFacts]:
        return await self._database.read(
            partial(present_after, place=place.after, limit=_PAGE_BLOBS)
        )

    def _read(self, page: Sequence[BlobFacts], pace: Pace) -> AsyncGenerator[Sequence[Reading]]:
        return read_blobs(self._backend, page, self._seeds.newest, self._executor, pace)

    async def _settle(self, reading: Reading) -> Settled | None:
        """Do what follows; return it, or None where there is nothing to do."""
        if reading.failure is not None:
            _logger.error("%s cannot be read: %s", reading.blob.digest, reading.failure)
            return None
        if reading.is_as_said:
            return None
        blob = reading.blob
        return await self._finisher.run(
            self._quarantine.settle(blob.digest, blob.generation, reading.found)
        )

    def _further(
        self,
        place: ScrubPlace,
        readings: Sequence[Reading],
        checked: Sequence[Settled | None],
    ) -> ScrubPlace:
        size = sum(reading.blob.size for reading in readings)
        damaged = checked.count(Settled.TAKEN)
        self._counts.scrubbed_blobs += len(readings)
        self._counts.scrubbed_bytes += size
        self._counts.damaged_blobs += damaged
        return place.further(
            readings[-1].blob.digest, blobs=len(readings), size=size, damaged=damaged
        )

    async def _finish(self, place: ScrubPlace) -> float:
        if findings := await self._database.inspect(find_inconsistencies):
            names = ", ".join(finding.kind.value for finding in findings)
            _logger.error("rows of the index did not agree and are mended: %s", names)
            await self._database.run(partial(mend_rows, now=self._clock()))
        await self._seeds.forget_unused()
        now = self._clock()
        finished = replace(place, updated_at=now, finished_at=now)
        await self._database.run(partial(write_scrub, place=finished))
        return now

    async def _keep(self, place: ScrubPlace) -> None:
        kept = replace(place, updated_at=self._clock())
        await self._finisher.run(self._database.run(partial(write_scrub, place=kept)))

    async def _progress(self, place: ScrubPlace) -> ScrubProgress:
        totals = await self._database.read(read_totals)
        return ScrubProgress(
            checked_blobs=place.checked_blobs,
            checked_bytes=place.checked_bytes,
            total_blobs=totals.blobs,
            total_bytes=totals.blob_bytes,
            damaged_blobs=place.damaged_blobs,
            started_at=place.started_at,
            finished_at=place.finished_at,
        )


def _further(
    done: ScrubProgress,
    place: ScrubPlace,
    readings: Sequence[Reading],
    checked: Sequence[Settled | None],
) -> ScrubProgress:
    return replace(
        done,
        checked_blobs=place.checked_blobs,
        checked_bytes=place.checked_bytes,
        damaged_blobs=place.damaged_blobs,
        rewritten_blobs=done.rewritten_blobs + checked.count(Settled.MENDED),
        unreadable_blobs=done.unreadable_blobs
        + sum(reading.failure is not None for reading in readings),
    )
