"""Files and rows brought to agree again, beside everything else that goes on.

1. Bytes without a row, which a crash between the rename and the row leaves, become condemned: an
   upload revives them, and otherwise a sweep removes them after their review.
2. A row without bytes, or whose bytes have another size, is out of every answer: its blob is in
   quarantine unless the bytes turn out to have the digest. An upload heals it.
3. What somebody else put among the blobs is told, and left alone.
4. Nothing is done upon a listing alone: under the lock that uploads of the blob take, file and row
   are looked at again.

It goes shard by shard, and holds one of 256 in memory.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import partial

from coatcheck.protocol import Digest

from .backend import SHARDS, Backend, Listing
from .blob_rows import adopt, shard_rows
from .database import Database
from .digest_locks import DigestLocks
from .finisher import Finisher
from .index import Index
from .quarantine import Quarantine
from .schema import BlobState

_logger = logging.getLogger(__name__)
_NAMED_AT_MOST = 10  # of each kind, in the log


class Disagreement(StrEnum):
    """How a file and a row differ."""

    NO_ROW = "no_row"
    NO_FILE = "no_file"
    OTHER_SIZE = "other_size"
    NOT_ASIDE = "not_aside"
    """In quarantine by its row, and still where the good ones lie."""


@dataclass(frozen=True, slots=True)
class ReconcileProgress:
    """How far it is, and what it found up to there."""

    shards: int = 0
    """Of `SHARDS`."""
    files: int = 0
    adopted: int = 0
    """Files without a row, condemned now."""
    adopted_bytes: int = 0
    quarantined: int = 0
    """Rows whose bytes were gone or others."""
    moved_aside: int = 0
    """Files whose blob was in quarantine."""
    foreign: int = 0
    """What is no blob."""
    found: tuple[tuple[Disagreement, str], ...] = field(default=(), repr=False)
    """What was found in the last shard, with the digest."""
    strangers: tuple[str, ...] = ()
    """The names of what is no blob, in the last shard."""

    @property
    def disagreements(self) -> int:
        """How often a file and a row did not agree."""
        return self.adopted + self.quarantined + self.moved_aside


class Reconcile:
    """Reconciles one store. The executor is the store's, for reading."""

    def __init__(
        self,
        *,
        database: Database,
        index: Index,
        backend: Backend,
        quarantine: Quarantine,
        locks: DigestLocks,
        finisher: Finisher,
        executor: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._index = index
        self._backend = backend
        self._quarantine = quarantine
        self._locks = locks
        self._finisher = finisher
        self._executor = executor
        self._clock = clock

    async def run(self) -> ReconcileProgress:
        """Bring all of them to agree and return what it took. May be called at any time.

        Raises:
            StoreClosedError: the store was closed.
            StoreFullError, StoreUnavailableError: the disk or the index failed; what was done stays.
        """
        done = ReconcileProgress()
        async with aclosing(self.steps()) as steps:
            async for done in steps:
                _log_found(done)
        if done.disagreements:
            _logger.warning(
                "files and index did not agree: %d files without a row were condemned (%d bytes), "
                "%d blobs without their bytes were put in quarantine, %d files moved there",
                done.adopted,
                done.adopted_bytes,
                done.quarantined,
                done.moved_aside,
            )
        return done

    async def steps(self, *, mend: bool = True) -> AsyncGenerator[ReconcileProgress]:
        """Do what `run` does, shard by shard; without `mend` only say what is to be done."""
        done = ReconcileProgress()
        loop = asyncio.get_running_loop()
        for shard in range(SHARDS):
            listing = await loop.run_in_executor(self._executor, self._backend.listing, shard)
            rows = await self._database.read(partial(shard_rows, shard=shard))
            done = replace(
                done,
                shards=shard + 1,
                files=done.files + len(listing.sizes),
                foreign=done.foreign + len(listing.foreign),
                found=(),
                strangers=tuple(listing.foreign),
            )
            for digest in _suspects(listing, rows):
                done = await self._finisher.run(self._look(Digest(digest), done, mend=mend))
            yield done

    async def _look(
        self, digest: Digest, done: ReconcileProgress, *, mend: bool
    ) -> ReconcileProgress:
        """Look at one blob again, alone, and do what it takes."""
        async with self._locks.removing(digest):
            row = await self._index.blob(digest)
            size = await self._size(digest)
            found = _disagreement(size, *((row.size, row.state) if row else (None, None)))
            if found is None:
                return done
            if mend and found is Disagreement.NO_ROW:
                assert size is not None
                await self._database.run(
                    partial(adopt, digest=digest, size=size, now=self._clock())
                )
            elif mend and found is Disagreement.NOT_ASIDE:
                await self._quarantine.move_aside(digest)
        if mend and row and found in (Disagreement.NO_FILE, Disagreement.OTHER_SIZE):
            # Outside of the lock, which it takes itself; the digest decides about another size.
            await self._quarantine.judge(digest, row.generation)
        return _counted(done, found, digest, size or 0)

    async def _size(self, digest: Digest) -> int | None:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, _stored_bytes, self._backend, digest)


def _suspects(listing: Listing, rows: dict[str, tuple[int, str]]) -> list[str]:
    """Return the digests of which file and row do not agree, as far as they were read."""
    return [
        digest
        for digest in listing.sizes.keys() | rows.keys()
        if _disagreement(listing.sizes.get(digest), *rows.get(digest, (None, None))) is not None
    ]


def _disagreement(stored: int | None, size: int | None, state: str | None) -> Disagreement | None:
    if state is None:
        return None if stored is None else Disagreement.NO_ROW
    if state == BlobState.QUARANTINED:
        return None if stored is None else Disagreement.NOT_ASIDE
    if stored is None:
        return Disagreement.NO_FILE
    return None if stored == size else Disagreement.OTHER_SIZE


def _counted(
    done: ReconcileProgress, found: Disagreement, digest: Digest, size: int
) -> ReconcileProgress:
    is_new = found is Disagreement.NO_ROW
    return replace(
        done,
        adopted=done.adopted + is_new,
        adopted_bytes=done.adopted_bytes + (size if is_new else 0),
        quarantined=done.quarantined + (found in (Disagreement.NO_FILE, Disagreement.OTHER_SIZE)),
        moved_aside=done.moved_aside + (found is Disagreement.NOT_ASIDE),
        found=(*done.found, (found, digest)),
    )


def _stored_bytes(backend: Backend, digest: Digest) -> int | None:
    file = backend.open(digest)
    if file is None:
        return None
    file.close()
    return file.size


def _log_found(done: ReconcileProgress) -> None:
    for found, digest in done.found[:_NAMED_AT_MOST]:
        _logger.warning("%s: %s", digest, found.value)
    if done.strangers:
        names = ", ".join(done.strangers[:_NAMED_AT_MOST])
        _logger.warning("among the blobs lies what is none: %s", names)
