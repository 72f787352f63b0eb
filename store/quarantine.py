"""What becomes of bytes that are not what was stored.

1. They are out of every answer first, for every tenant, and moved aside then.
2. Bytes that an upload has replaced since they were read are left alone.
3. An upload of the blob heals it.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from coatcheck.protocol import PIECE_BYTES, Digest, Hasher

from .backend import Backend
from .digest_locks import DigestLocks
from .errors import CorruptBlobError, StoreError
from .finisher import Finisher
from .grant import HeldBlob
from .hot import HotGrants
from .index import Index
from .seed import Seeds

_logger = logging.getLogger(__name__)


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

    async def report(self, held: HeldBlob) -> None:
        """Take a blob in of which a piece failed its checksum. May be called twice.

        Does not raise when the disk or the index fails: the bytes fail again at the next read.
        """
        try:
            await self._finisher.run(self._take(held))
        except StoreError:
            _logger.exception("%s could not be put in quarantine", held.grant.digest)

    async def recheck(self, held: HeldBlob) -> HeldBlob:
        """Let the digest decide about a blob whose checksums have an unknown seed.

        Returns the blob with checksums of the current seed. Reads all of it.

        Raises:
            CorruptBlobError: the bytes are gone or others; the blob is in quarantine now.
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        return await self._finisher.run(self._decide(held))

    async def _take(self, held: HeldBlob) -> None:
        digest = held.grant.digest
        async with self._locks.removing(digest):
            taken = await self._index.quarantine(digest, held.grant.generation, self._clock())
            self._hot.forget_blob(digest)
            if taken:
                _logger.error("%s is not what was stored and is in quarantine", digest)
                await self._move_aside(digest)

    async def _move_aside(self, digest: Digest) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._executor, self._backend.quarantine, digest)
        except StoreError:
            # The index already answers that it is not there.
            _logger.exception("the bytes of %s could not be moved aside", digest)

    async def _decide(self, held: HeldBlob) -> HeldBlob:
        grant, seeds = held.grant, self._seeds
        found = await asyncio.get_running_loop().run_in_executor(
            self._executor, _read, self._backend, grant.digest, seeds.current
        )
        if found is None or (found.digest, found.size) != (grant.digest, grant.size):
            await self._take(held)
            raise CorruptBlobError(grant.digest)
        await self._index.rewrite_checksums(
            grant.digest, grant.generation, found.checksums, seeds.version
        )
        self._hot.forget_blob(grant.digest)
        return replace(held, checksums=found.checksums, seed_version=seeds.version)


@dataclass(frozen=True, slots=True)
class _Found:
    digest: Digest
    size: int
    checksums: bytes


def _read(backend: Backend, digest: Digest, seed: int) -> _Found | None:
    """Hash all of a blob, a piece at a time; `None` when its bytes are gone. Blocking, long."""
    file = backend.open(digest)
    if file is None:
        return None
    try:
        hasher = Hasher(seed)
        buffer = memoryview(bytearray(min(file.size, PIECE_BYTES)))
        while count := file.read_into(hasher.size, buffer):
            hasher.update(buffer[:count])
    finally:
        file.close()
    return _Found(hasher.digest(), hasher.size, hasher.checksums())
