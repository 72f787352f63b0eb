"""The disk cache: copies of blobs that a store has, for every tenant that the store lets have them.

1. What copies, unfinished ones and the index take never exceeds the limit, as the file system
   counts it. Room is made before a byte is written; the copy used longest ago goes first, and one
   in use never.
2. No byte leaves that was not checked: against its checksum when it comes from a copy, against the
   digest when it comes from the store.
3. A copy that is gone or damaged is fetched again within the same read.
4. Where no copy can be had, for lack of room or by a fault of the disk, the blob is served straight
   from the store.

The cache knows no grants: whoever asks it has asked the store first.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Self

from coatcheck.client import Sink
from coatcheck.protocol import Digest
from coatcheck.store import PieceBuffers, SchemaError, StoreError

from ..errors import BlobUnreadableError
from ..source import PieceReader
from .config import CacheConfig
from .copy_reader import CopyReader
from .counts import CacheCounts
from .errors import CacheUnusableError, DamagedError, GoneError, NoRoomError
from .fetch import Fetcher
from .files import CacheFiles, FolderLock
from .healing import HealingReader
from .heals import Heals
from .index import CacheIndex
from .origin import Origin
from .rows import Copy, Sums
from .streamed import StreamedReader
from .threads import Threads
from .unkept import Unkept

_log = logging.getLogger(__name__)
_TRIES = 3  # a copy may go again before it is opened, where there is little room
_WRITE_BYTES = 1024 * 1024

Wanted = tuple[Digest, int]
"""A blob and its size in bytes."""


class DiskCache:
    """One process's use of a cache folder, which others may share. `open` it; close it."""

    def __init__(
        self,
        config: CacheConfig,
        origin: Origin,
        files: CacheFiles,
        index: CacheIndex,
        threads: Threads,
        lock: FolderLock,
        stack: AsyncExitStack,
        clock: Callable[[], float],
    ) -> None:
        """Called by `open`."""
        self.counts = CacheCounts()
        """What was counted since the start."""
        self.heals = Heals()
        """The copies that were bad, and were replaced."""
        self._config = config
        self._origin = origin
        self._files = files
        self._index = index
        self._threads = threads
        self._lock = lock
        self._stack = stack
        self._clock = clock
        self._unkept = Unkept()
        self._buffers = PieceBuffers()
        self._fetcher = Fetcher(files, index, threads, self.counts, clock, config.max_fetches)
        stack.push_async_callback(self._fetcher.close)

    @classmethod
    async def open(
        cls,
        config: CacheConfig,
        origin: Origin,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Open the folder, making it if need be, and clear what dead processes left.

        Raises:
            CacheUnusableError: it cannot be made, read or written.
        """
        async with AsyncExitStack() as stack:
            try:
                threads = Threads(config.threads)
                stack.push_async_callback(asyncio.to_thread, threads.close)
                files = CacheFiles(config.folder)
                await threads.run(files.make)
                lock = await threads.open(lambda: FolderLock.take(config.folder / "lock"))
                assert lock is not None
                stack.callback(lock.close)
                index = await _open_index(files, config, random, is_alone=lock.is_alone)
                stack.push_async_callback(index.close)
                await index.recover(is_alone=lock.is_alone)
                await threads.run(lock.share)
            except (OSError, StoreError) as error:
                raise CacheUnusableError(f"the cache {config.folder}: {error}") from error
            return cls(config, origin, files, index, threads, lock, stack.pop_all(), clock)

    async def close(self) -> None:
        """End what is being fetched and let go of everything. May be called twice."""
        try:
            await self._stack.aclose()
        except StoreError as error:
            _log.warning("the last uses of the cache were not noted: %s", error)

    async def prepare(self, tenant: str, blobs: Collection[Wanted]) -> set[Digest]:
        """Fetch what is not here, several at a time; return what the store does not have any more.

        Counts a use of each. Only as much is fetched as half the cache holds; the rest comes when
        it is opened.

        Raises:
            StoreUnavailableError, StoreRefusedError, WrongBytesError: what is missing cannot be
                had.
        """
        now = self._clock()
        absent: list[Wanted] = []
        left = self._config.max_bytes // 2
        for digest, size in dict.fromkeys(blobs):
            if await self._is_known(digest):
                self.counts.hits += 1
                self._index.note(digest, now, hits=1)
            elif size <= left:
                left -= size
                absent.append((digest, size))
        self.counts.misses += len(absent)
        places = asyncio.Semaphore(self._config.fetches_at_once)
        outcomes = await asyncio.gather(
            *(self._prepare(tenant, wanted, places) for wanted in absent), return_exceptions=True
        )
        gone: set[Digest] = set()
        for outcome in outcomes:
            if isinstance(outcome, BlobUnreadableError):
                gone.add(outcome.digest)
            elif isinstance(outcome, BaseException):
                raise outcome
        return gone

    async def open_blob(
        self, tenant: str, digest: Digest, size: int, *, first_piece: int = 0
    ) -> PieceReader:
        """Open a blob, with this piece of it verified already.

        Raises:
            BlobUnreadableError: it is not here, and the store does not have it any more.
            StoreUnavailableError, StoreRefusedError, WrongBytesError: it cannot be had.
        """
        reader = await self._reader(tenant, digest, size, first_piece)
        if isinstance(reader, StreamedReader):
            return reader
        self._index.note(digest, self._clock())
        reopen = partial(self._reopen, tenant, digest, size)
        return HealingReader(reader, size, reopen, partial(self._note_verified, digest))

    async def has(self, digest: Digest) -> bool:
        """Whether there is a copy; counts as a use of it. It may be found damaged all the same."""
        is_known = await self._is_known(digest)
        if is_known:
            self._index.note(digest, self._clock())
        return is_known

    @property
    def is_alone(self) -> bool:
        """Whether no other process had the folder open when this one opened it."""
        return self._lock.is_alone

    async def put(self, digest: Digest, data: bytes) -> bool:
        """Keep a copy of bytes that are at hand, if there is room; return whether there is one."""

        async def supply(sink: Sink) -> None:
            def pour() -> None:
                sink.begin(len(data))
                for start in range(0, len(data), _WRITE_BYTES):
                    sink.write(data[start : start + _WRITE_BYTES])

            await self._threads.run(pour)

        if await self._is_known(digest):
            return True
        try:
            await self._fetcher.fetch(digest, len(data), supply, is_at_hand=True)
        except NoRoomError as error:
            self._unkept.note(digest, error, self._clock())
            return False
        return await self._is_known(digest)

    async def fault(self) -> str | None:
        """Return in one sentence why no copy can be kept; None while they can."""
        if not await self._threads.run(self._lock.is_in_place):
            return "the cache folder is gone: blobs come from the store until a restart"
        if not await self._threads.run(self._files.are_writable):
            return "the cache folder takes no writes: what is not in it comes from the store"
        return None

    async def write_notes(self) -> None:
        """Write what was noted of uses, so that other processes see it."""
        await self._index.write_notes()

    async def newest(self, limit: int) -> Sequence[Copy]:
        """Return up to `limit` copies, the one used last first."""
        return await self._index.newest(limit)

    async def sums(self) -> Sums:
        """Return the sums over all copies."""
        return await self._index.sums()

    async def evict(self, digest: Digest) -> bool:
        """Remove a copy; return whether there was one. Whoever reads it reads on."""
        return await self._index.drop(digest)

    async def evict_all(self) -> int:
        """Remove every copy; return how many there were."""
        return await self._index.drop_all()

    async def _is_known(self, digest: Digest) -> bool:
        try:
            return await self._index.find(digest) is not None
        except StoreError as error:
            _log.warning("the cache's index failed: %s", error)
            return False

    async def _prepare(self, tenant: str, wanted: Wanted, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                await self._fetch(tenant, *wanted)
            except NoRoomError as error:
                self._unkept.note(wanted[0], error, self._clock())

    async def _reader(
        self, tenant: str, digest: Digest, size: int, first_piece: int
    ) -> CopyReader | StreamedReader:
        """Open a copy, fetching it if need be; without room, the store."""
        try:
            for _ in range(_TRIES):
                if (reader := await self._open_copy(digest, size, first_piece)) is not None:
                    return reader
                self.counts.misses += 1
                if self._unkept.is_wasted(digest, self._clock()):
                    break
                await self._fetch(tenant, digest, size)
        except (NoRoomError, StoreError) as error:
            self._unkept.note(digest, error, self._clock())
        return self._streamed(tenant, digest, size)

    def _streamed(self, tenant: str, digest: Digest, size: int) -> StreamedReader:
        self.counts.streamed_blobs += 1
        return StreamedReader(self._origin, tenant, digest, size, self._threads)

    async def _open_copy(self, digest: Digest, size: int, first_piece: int) -> CopyReader | None:
        copy = await self._index.find(digest)
        if copy is None or copy.size != size:
            return None
        try:
            return await CopyReader.open(
                copy, self._files, self._index.seed, self._buffers, self._threads, first_piece
            )
        except GoneError as error:
            if await self._index.drop(digest):  # else it was evicted meanwhile
                self.heals.find(digest, str(error))
        except DamagedError as error:
            await self._condemn(digest, error)
        return None

    async def _reopen(
        self, tenant: str, digest: Digest, size: int, piece: int, error: DamagedError
    ) -> CopyReader | StreamedReader:
        try:
            await self._condemn(digest, error)
        except NoRoomError as failure:
            _log.warning("no new copy of %s: %s", digest, failure)
            return self._streamed(tenant, digest, size)
        return await self._reader(tenant, digest, size, piece)

    async def _condemn(self, digest: Digest, error: DamagedError) -> None:
        self.counts.verification_failures += 1
        self.heals.find(digest, str(error))
        _log.error("%s; it is fetched again", error)
        try:
            await self._index.drop(digest)
        except StoreError as failure:
            raise NoRoomError(f"the cache's index failed: {failure}") from failure

    async def _fetch(self, tenant: str, digest: Digest, size: int) -> None:
        """Fetch a blob; another's failure leaves it to this call to try for its own tenant."""
        supply = partial(self._origin.fetch, tenant, digest)
        for _ in range(_TRIES):
            is_own = await self._fetcher.fetch(digest, size, supply)
            if is_own:
                self._unkept.note_kept()
            if is_own or await self._is_known(digest):
                self.heals.replace(digest, self._clock())
                return

    def _note_verified(self, digest: Digest) -> None:
        self._index.note(digest, self._clock(), is_verified=True)


async def _open_index(
    files: CacheFiles, config: CacheConfig, random: Callable[[int], bytes], *, is_alone: bool
) -> CacheIndex:
    """Open the index; one that cannot be read is removed, and the copies then have no row."""
    try:
        return await CacheIndex.open(files, config, random)
    except SchemaError as error:
        if not is_alone:
            raise
        _log.warning("the cache begins anew: %s", error)
        await asyncio.to_thread(files.remove_index)
        return await CacheIndex.open(files, config, random)
