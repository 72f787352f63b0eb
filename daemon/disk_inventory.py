"""The cache inspection's view of a disk cache: rows of its index, across processes that share it."""

from collections.abc import Iterable, Sequence

from coatcheck.protocol import OCTET_STREAM, Digest

from .cache import DiskCache
from .inventory import Entry, Totals
from .source import Resolved


class DiskInventory:
    """A `CacheView` of copies. Uses and verifications are noted by the cache itself."""

    def __init__(self, cache: DiskCache, source: str) -> None:
        self._cache = cache
        self._source = source

    def record_use(self, blobs: Iterable[Resolved], now: float) -> None:
        """Leave it to the cache, which knows whether it had to fetch."""

    def record_verified(self, digest: Digest, now: float) -> None:
        """Leave it to the cache."""

    async def entries(self, limit: int) -> Sequence[Entry]:
        """Return up to `limit` copies, the one used last first."""
        return [
            Entry(
                digest=copy.digest,
                size=copy.size,
                media_type=copy.sniffed_type or OCTET_STREAM,
                source=self._source,
                hits=copy.hits,
                last_used_at=copy.last_used_at,
                verified_at=copy.verified_at,
            )
            for copy in await self._cache.newest(limit)
        ]

    async def totals(self) -> Totals:
        """Return the sums over all copies, and what this process counted."""
        sums, counts = await self._cache.sums(), self._cache.counts
        return Totals(sums.copies, sums.bytes, counts.hits, counts.misses)

    async def evict(self, digest: Digest) -> bool:
        """Remove a copy; False when there was none."""
        return await self._cache.evict(digest)

    async def evict_all(self) -> int:
        """Remove every copy; return how many there were."""
        return await self._cache.evict_all()
