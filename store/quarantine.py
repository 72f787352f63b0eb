"""What becomes of bytes that do not look like what was stored.

1. The digest decides: all of the blob is read. Bytes that have it stay, and what the index says of
   them is put right; a checksum, a seed or a size in the index may have been damaged too.
2. Others are out of every answer first, for every tenant, and moved aside then. Meanwhile no piece of
   them is served that fails its checksum.
3. Bytes that an upload has replaced since they were read are left alone.
4. An upload of the blob heals it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from enum import StrEnum
from weakref import WeakValueDictionary

from coatcheck.protocol import PIECE_BYTES, Digest, Hasher

from .backend import Backend
from .digest_locks import DigestLocks
from .errors import CorruptBlobError, StoreError
from .finisher import Finisher
from .grant import HeldBlob
from .hot import HotGrants
from .index import Index
from .schema import BlobState
from .seed import Seed, Seeds

_logger = logging.getLogger(__name__)


class Settled(StrEnum):
    """What became of a blob that was read."""

    MENDED = "mended"
    """Its bytes are right, and so is its row now."""
    TAKEN = "taken"
    """It is in quarantine."""
    OUTDATED = "outdated"
    """It was replaced, removed or taken in meanwhile."""


@dataclass(frozen=True, slots=True)
class FoundBytes:
    """What reading all of a blob's bytes showed."""

    digest: Digest
    size: int
    checksums: bytes
    seed_version: int


class Quarantine:
    """Takes damaged blobs in. The executor is the store's, for reading."""

    def __init__(
        self,
        *,
        backend: Backend,
        index: Index,
        hot: HotGrants,
        seeds: Seeds,
        locks: DigestLocks,
        finisher: Finisher,
        executor: Executor,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._index = index
        self._hot = hot
        self._seeds = seeds
        self._locks = locks
        self._finisher = finisher
        self._executor = executor
        self._clock = clock
        # However many readers meet one damage, it is read once.
        self._judging: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    async def report(self, held: HeldBlob) -> bool:
        """Judge a blob of which a piece failed its checksum. May be called twice.

        Returns whether it is in quarantine now. Does not raise when the disk or the index fails: the
        bytes fail again at the next read.
        """
        try:
            return await self._finisher.run(self._answer(held))
        except StoreError:
            _logger.exception("%s could not be put in quarantine", held.grant.digest)
            return False

    async def recheck(self, held: HeldBlob) -> HeldBlob:
        """Let the digest decide about a blob whose checksums have an unknown seed.

        Returns the blob with checksums of the newest seed. Reads all of it.

        Raises:
            CorruptBlobError: the bytes are gone or others; the blob is in quarantine now.
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        digest, generation = held.grant.digest, held.grant.generation
        found = await self.judge(digest, generation)
        if found is None:
            raise CorruptBlobError(digest)
        return replace(
            held,
            grant=replace(held.grant, size=found.size),
            checksums=found.checksums,
            seed_version=found.seed_version,
        )

    async def judge(self, digest: Digest, generation: int) -> FoundBytes | None:
        """Read all of a blob; return what was found, or None if it is in quarantine now.

        Raises:
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        return await self._finisher.run(self._judge(digest, generation))

    async def settle(self, digest: Digest, generation: int, found: FoundBytes | None) -> Settled:
        """Do what follows from a reading of all of a blob's bytes; None: they were gone.

        Not to be cancelled while it runs.

        Raises:
            StoreUnavailableError, StoreFullError: the index failed.
        """
        if found is None or found.digest != digest:
            taken = await self.take(digest, generation)
            return Settled.TAKEN if taken else Settled.OUTDATED
        mended = await self._index.mend(
            digest,
            generation,
            size=found.size,
            checksums=found.checksums,
            seed_version=found.seed_version,
        )
        self._hot.forget_blob(digest)
        return Settled.MENDED if mended else Settled.OUTDATED

    async def take(self, digest: Digest, generation: int) -> bool:
        """Take bytes in that are damaged or gone; return whether they were still those.

        Not to be cancelled while it runs.
        """
        async with self._locks.removing(digest):
            taken = await self._index.quarantine(digest, generation, self._clock())
            self._hot.forget_blob(digest)
            if taken:
                _logger.error("%s is not what was stored and is in quarantine", digest)
                await self.move_aside(digest)
        return taken

    async def move_aside(self, digest: Digest) -> None:
        """Move bytes to where nothing serves them, under the lock for removing them."""
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self._backend.quarantine, digest)
        except StoreError:
            # The index already answers that it is not there.
            _logger.exception("the bytes of %s could not be moved aside", digest)

    async def _answer(self, held: HeldBlob) -> bool:
        digest, generation = held.grant.digest, held.grant.generation
        async with self._judging.setdefault(digest, asyncio.Lock()):
            row = await self._index.blob(digest)
            if row is None or row.generation != generation:
                return False
            if row.state is BlobState.QUARANTINED:
                return True
            if (row.size, row.checksums) != (held.grant.size, held.checksums):
                return False  # mended meanwhile
            try:
                return await self._judge(digest, generation) is None
            except StoreError as error:
                # Some of it is damaged, and the rest cannot be read.
                _logger.error("%s cannot be read: %s", digest, error)
                return await self.take(digest, generation)

    async def _judge(self, digest: Digest, generation: int) -> FoundBytes | None:
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, read_all, self._backend, digest, self._seeds.newest
        )
        await self.settle(digest, generation, found)
        return found if found is not None and found.digest == digest else None


def read_all(backend: Backend, digest: Digest, seed: Seed) -> FoundBytes | None:
    """Hash all of a blob, a piece at a time; `None` when its bytes are gone. Blocking, long.

    Raises:
        StoreUnavailableError: the bytes are there and cannot be read.
    """
    file = backend.open(digest)
    if file is None:
        return None
    try:
        hasher = Hasher(seed.value)
        buffer = memoryview(bytearray(min(file.size, PIECE_BYTES)))
        while count := file.read_into(hasher.size, buffer):
            hasher.update(buffer[:count])
    finally:
        file.close()
    return FoundBytes(hasher.digest(), hasher.size, hasher.checksums(), seed.version)
