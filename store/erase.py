"""Erasure: all that there is of a tenant, or of one of its end users, removed at once and verified.

1. What is erased ends at once: grants with all their holds, kept messages with all that follows them,
   ids of responses, uploads in parts. Bytes that nobody else holds go without a review, from quarantine too.
2. An end user's grant ends where it is nobody else's; what was uploaded without a name, or for others
   too, stays, and only the claim goes. Nobody else's grant ends.
3. Each step is small, and others have their turn between two. It may end after any of them, by a crash
   too: erasing again goes on from there.
4. What is deleted is overwritten, and at the end the databases are rewritten and their logs cut: then
   the erased text is in no file of theirs. To rewrite is one long step, and may be left out; then
   fragments may stay for years. What was erased is looked for.

Not erased: keys, what runs (a download that was begun), backups, copies in daemons' caches, and what
the file system does not overwrite. What the tenant had let go of before is the sweep's.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeVar

from coatcheck.protocol import Digest

from .backend import Backend
from .erase_rows import Fate, begin, count_rows, find_digests, finish, remove_tenant
from .errors import StoreFullError, StoreUnavailableError
from .keys import Keys
from .removal import Removal

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")

_AT_ONCE = 32  # as many as the index writes in one transaction
_ROUNDS = 3  # what is uploaded meanwhile is gone after the second, if its sender was slow


class _ClearLog(Protocol):
    async def __call__(self, *, rewrite: bool) -> bool: ...


@dataclass(frozen=True, slots=True)
class Left:
    """What was still found of it when everything was done."""

    rows: int
    """In the index and among the prompts; what came meanwhile, if any."""
    files: int
    """Of removed blobs, under `blobs` or in quarantine."""
    databases: int
    """Those that could not be rewritten, or their logs cut: fragments may be in them; erase again."""
    keys: int
    """Keys of the tenant that still open something: they stay until they are revoked."""

    @property
    def is_nothing(self) -> bool:
        """Whether all is gone; keys are left alone."""
        return not (self.rows or self.files or self.databases)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure has done so far."""

    ended_grants: int = 0
    kept_grants: int = 0
    """Of which only the end user's claim went: others claim them, or nobody was named."""
    removed_blobs: int = 0
    removed_bytes: int = 0
    removed_prompts: int = 0
    removed_uploads: int = 0
    unremoved_files: int = 0
    left: Left | None = None
    """Set in the last report."""


class Erasure:
    """Erases in one store."""

    def __init__(self, parts: Removal, keys: Keys) -> None:
        self._database = parts.database
        self._backend = parts.backend
        self._hot = parts.hot
        self._locks = parts.locks
        self._finisher = parts.finisher
        self._prompts = parts.prompts
        self._responses = parts.responses
        self._uploads = parts.uploads
        self._executor = parts.executor
        self._counts = parts.counts
        self._clock = parts.clock
        self._keys = keys

    async def erase_tenant(self, tenant: str, *, rewrite: bool = True) -> Erased:
        """Erase all that there is of a tenant but its keys. May be called at any time, and again.

        `rewrite` the databases at the end, during which nobody writes: about 10 s for a gigabyte.

        Raises:
            StoreClosedError: the store was closed.
            StoreFullError, StoreUnavailableError: the disk or the index failed; what was done until
                then stays done, and erasing again goes on.
        """
        return await self._to_its_end(self.run(tenant, None, rewrite=rewrite))

    async def erase_end_user(self, tenant: str, end_user: str, *, rewrite: bool = True) -> Erased:
        """Erase what a tenant uploaded and kept for one end user; raises as `erase_tenant`."""
        return await self._to_its_end(self.run(tenant, end_user, rewrite=rewrite))

    async def run(
        self, tenant: str, end_user: str | None, *, rewrite: bool = True
    ) -> AsyncGenerator[Erased]:
        """Erase a tenant, or one of its end users; yield what was done, after every step.

        The last report has what is left. Whoever stops before has erased a part.

        Raises:
            what `erase_tenant` raises.
        """
        erased = Erased()
        for _ in range(_ROUNDS):
            before = erased
            async for so_far in self._round(tenant, end_user, before):
                erased = so_far
                yield erased
            if erased == before:
                break
        if end_user is None:
            await self._database.run(partial(remove_tenant, tenant=tenant))
        await self._in_thread(self._backend.sync_removed)
        await self._prompts.flush()
        databases = [
            await self._clear_log(clear, rewrite=rewrite)
            for clear in (self._database.clear_log, self._prompts.clear_log)
        ].count(False)
        left = await self._look(tenant, end_user)
        yield replace(erased, left=replace(left, files=erased.unremoved_files, databases=databases))

    async def _to_its_end(self, steps: AsyncGenerator[Erased]) -> Erased:
        return [erased async for erased in steps][-1]

    async def _round(
        self, tenant: str, end_user: str | None, erased: Erased
    ) -> AsyncGenerator[Erased]:
        ended = await self._uploads.erase(tenant, end_user)
        erased = replace(erased, removed_uploads=erased.removed_uploads + ended)
        while removed := await self._finisher.run(self._prompts.erase_some(tenant, end_user)):
            erased = replace(erased, removed_prompts=erased.removed_prompts + removed)
            yield erased
        if end_user is not None:  # those of a tenant go with its messages
            while await self._finisher.run(self._responses.erase_some(tenant, end_user)):
                yield erased
        while page := await self._database.read(
            partial(find_digests, tenant=tenant, end_user=end_user)
        ):
            for at in range(0, len(page), _AT_ONCE):
                outcomes = await asyncio.gather(
                    *(
                        self._finisher.run(self._end(tenant, digest, end_user))
                        for digest in page[at : at + _AT_ONCE]
                    )
                )
                for outcome in outcomes:
                    erased = _sum(erased, outcome)
                yield erased
        yield erased

    async def _end(self, tenant: str, digest: Digest, end_user: str | None) -> Erased:
        """End one grant or claim. Not to be cancelled while it runs."""
        async with self._locks.removing(digest):
            fate = await self._database.run(
                lambda c: begin(c, tenant, digest, end_user, self._clock())
            )
            self._hot.forget(tenant, digest)
            if fate is Fate.KEPT:
                return Erased(kept_grants=1)
            if fate is not Fate.DEAD:
                return Erased(ended_grants=int(fate is Fate.ENDED))
            is_gone = await self._in_thread(partial(_remove, self._backend, digest))
            size = await self._database.run(lambda c: finish(c, tenant, digest, self._clock()))
        self._counts.removed_blobs += 1
        self._counts.removed_bytes += size
        return Erased(
            ended_grants=1,
            removed_blobs=1,
            removed_bytes=size,
            unremoved_files=int(not is_gone),
        )

    async def _clear_log(self, clear: "_ClearLog", *, rewrite: bool) -> bool:
        try:
            return await clear(rewrite=rewrite)
        except (StoreFullError, StoreUnavailableError) as error:
            _logger.warning("a database was not rewritten after an erasure: %s", error)
            return False

    async def _look(self, tenant: str, end_user: str | None) -> Left:
        rows = await self._database.read(partial(count_rows, tenant=tenant, end_user=end_user))
        rows += await self._prompts.count_of(tenant, end_user)
        rows += await self._responses.count_of(tenant, end_user)
        keys = 0 if end_user is not None else await self._count_keys(tenant)
        return Left(rows=rows, files=0, databases=0, keys=keys)

    async def _count_keys(self, tenant: str) -> int:
        now = self._clock()
        return sum(key.tenant == tenant and key.is_valid(now) for key in await self._keys.list())

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


def _remove(backend: Backend, digest: Digest) -> bool:
    """Remove a blob's bytes, wherever they are; return whether they are nowhere. Blocking."""
    backend.remove(digest)
    backend.remove_quarantined(digest)
    found = backend.open(digest)
    if found is not None:
        found.close()
    return found is None and not backend.has_quarantined(digest)


def _sum(erased: Erased, more: Erased) -> Erased:
    return replace(
        erased,
        ended_grants=erased.ended_grants + more.ended_grants,
        kept_grants=erased.kept_grants + more.kept_grants,
        removed_blobs=erased.removed_blobs + more.removed_blobs,
        removed_bytes=erased.removed_bytes + more.removed_bytes,
        unremoved_files=erased.unremoved_files + more.unremoved_files,
    )
