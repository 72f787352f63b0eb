"""Letting go: what nothing holds any more is removed, online, and nothing else.

1. A grant ends with its last hold. Blobs without a grant are condemned in the same transaction, and
   then they wait for their review; an upload revives them meanwhile.
2. Bytes go after the review, or before it where a store at its limit needs their room, one blob after another: under the lock that uploads of the blob take,
   its row is removed if it is still condemned and still without a grant, and then its bytes. What
   an upload has replaced since it was read stays.
3. A crash in between leaves bytes without a row, which the next recovery condemns again.
4. Any number of sweeps may run at once, in any number of processes. Readers keep what they opened.

Kept prompts go by leaves: a message is removed before those that it follows.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial

from coatcheck.protocol import Digest

from .dead import GRACE_SECONDS, Ended, end_holds
from .removal import Removal
from .schema import BlobState
from .sweep_rows import LeavingBlob, find_leaving, remove_blob, state_of
from .verdict import SweepTerms, Verdict, judge_blobs, judge_grants

_REMOVALS_AT_ONCE = 32  # as many as the index writes in one transaction


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did."""

    ended_holds: int = 0
    ended_grants: int = 0
    removed_blobs: int = 0
    removed_bytes: int = 0
    removed_prompts: int = 0
    removed_quarantined: int = 0
    """Damaged bytes whose time in quarantine was over."""
    removed_uploads: int = 0
    """Uploads in parts that nobody went on with."""


class Sweep:
    """Sweeps one store."""

    def __init__(self, parts: Removal, terms: SweepTerms) -> None:
        self._database = parts.database
        self._backend = parts.backend
        self._hot = parts.hot
        self._locks = parts.locks
        self._finisher = parts.finisher
        self._prompts = parts.prompts
        self._uploads = parts.uploads
        self._executor = parts.executor
        self._counts = parts.counts
        self._clock = parts.clock
        self._terms = terms

    async def run(self) -> Swept:
        """Remove what is due by now. May be called at any time, also while another one runs.

        Raises:
            StoreClosedError: the store was closed.
            StoreFullError, StoreUnavailableError: the disk or the index failed; what was done until
                then stays done.
        """
        await self._prompts.flush()  # holds that are on their way count from their append on
        swept = await self._end_holds()
        swept = replace(swept, removed_prompts=await self._prompts.sweep())
        blobs, size = await self._remove_condemned()
        return replace(
            swept,
            removed_blobs=blobs,
            removed_bytes=size,
            removed_quarantined=await self._clear_quarantine(),
            removed_uploads=await self._uploads.expire(),
        )

    async def explain(self) -> AsyncGenerator[Verdict]:
        """Say of each grant and each blob why it stays, or that a sweep now would end it.

        Changes nothing. Grants come by tenant and digest, then blobs by digest. What changes
        meanwhile may be told as it was, or as it is.

        Raises:
            StoreClosedError, StoreUnavailableError: the index cannot be read.
        """
        await self._prompts.flush()
        now = self._clock()
        ended_before = now - GRACE_SECONDS
        async for verdict in judge_grants(self._database, ended_before=ended_before, now=now):
            yield verdict
        async for verdict in judge_blobs(
            self._database, ended_before=ended_before, terms=self._terms, now=now
        ):
            yield verdict

    async def _end_holds(self) -> Swept:
        swept = Swept()
        while (ended := await self._finisher.run(self._end_some())).holds:
            swept = replace(
                swept,
                ended_holds=swept.ended_holds + ended.holds,
                ended_grants=swept.ended_grants + len(ended.grants),
            )
        return swept

    async def _end_some(self) -> Ended:
        now = self._clock()
        ended = await self._database.run(lambda c: end_holds(c, now - GRACE_SECONDS, now=now))
        for tenant, digest in ended.grants:
            self._hot.forget(tenant, digest)
        return ended

    async def _remove_condemned(self) -> tuple[int, int]:
        """Return how many blobs went, and their bytes."""
        blobs = size = 0
        before = self._clock() - self._terms.review_seconds
        async for due in self._leaving(BlobState.CONDEMNED, before):
            for at in range(0, len(due), _REMOVALS_AT_ONCE):
                some = due[at : at + _REMOVALS_AT_ONCE]
                gone = await asyncio.gather(*(self._finisher.run(self.remove(b)) for b in some))
                blobs += sum(gone)
                size += sum(blob.size for blob, went in zip(some, gone, strict=True) if went)
        return blobs, size

    async def make_room(self, wanted_bytes: int) -> None:
        """Remove condemned blobs before their review is over, the oldest first, until so much is free.

        For a store at its limit: what nobody holds keeps nobody out.

        Raises:
            StoreClosedError, StoreFullError, StoreUnavailableError: as `run`.
        """
        freed = 0
        async for due in self._leaving(BlobState.CONDEMNED, self._clock()):
            for blob in due:
                if freed >= wanted_bytes:
                    return
                freed += blob.size if await self._finisher.run(self.remove(blob)) else 0

    async def remove(self, blob: LeavingBlob) -> bool:
        """Remove one blob, if it still is as it was read; return whether it went.

        Not to be cancelled while it runs.
        """
        async with self._locks.removing(blob.digest):
            if not await self._database.run(partial(remove_blob, blob=blob)):
                return False
            await self._in_thread(self._backend.remove, blob.digest)
        self._counts.removed_blobs += 1
        self._counts.removed_bytes += blob.size
        return True

    async def _clear_quarantine(self) -> int:
        """Remove what was in quarantine long enough, and what an upload has healed."""
        before = self._clock() - self._terms.quarantine_seconds
        removed = 0
        loop = asyncio.get_running_loop()
        for digest in await loop.run_in_executor(self._executor, self._backend.quarantined):
            removed += await self._finisher.run(self._clear_quarantined(digest, before))
        async for due in self._leaving(BlobState.QUARANTINED, before):
            for blob in due:  # nobody is left whom an upload would heal it for
                await self._database.run(partial(remove_blob, blob=blob))
        return removed

    async def _clear_quarantined(self, digest: Digest, before: float) -> bool:
        async with self._locks.removing(digest):
            found = await self._database.read(partial(state_of, digest=digest))
            if found is not None and found[0] is BlobState.QUARANTINED and found[1] > before:
                return False
            await self._in_thread(self._backend.remove_quarantined, digest)
            return True

    async def _leaving(self, state: BlobState, before: float) -> AsyncGenerator[list[LeavingBlob]]:
        last: LeavingBlob | None = None
        while page := await self._database.read(
            partial(find_leaving, state=state, before=before, after=last)
        ):
            yield page
            last = page[-1]

    async def _in_thread(self, work: Callable[[Digest], None], digest: Digest) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, work, digest)
