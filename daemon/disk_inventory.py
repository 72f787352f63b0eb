"""The cache inspection's view of a disk cache: its index, which all processes of a server share.

What they count they count each for itself, and what they noted of uses they may not have written.
"""

from collections.abc import Iterable, Sequence

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import OCTET_STREAM, Digest
from coatcheck.web import Route, Siblings, json_response

from .cache import DiskCache
from .inventory import Entry, Totals
from .source import Resolved

_PATH = "/cache/counts"


class _Counts(BaseModel):
    """What one process counted."""

    model_config = ConfigDict(frozen=True)

    hits: int
    misses: int


class DiskInventory:
    """A `CacheView` of copies. Uses and verifications are noted by the cache itself."""

    def __init__(self, cache: DiskCache, source: str, siblings: Siblings) -> None:
        self._cache = cache
        self._source = source
        self._siblings = siblings

    def record_use(self, blobs: Iterable[Resolved], now: float) -> None:
        """Leave it to the cache, which knows whether it had to fetch."""

    def record_verified(self, digest: Digest, now: float) -> None:
        """Leave it to the cache."""

    async def entries(self, limit: int) -> Sequence[Entry]:
        """Return up to `limit` copies, the one used last first."""
        await self._siblings.ask(_PATH)  # they write what they noted
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
        """Return the sums over all copies, and what all processes counted."""
        answers = await self._siblings.ask(_PATH)
        counts = [self._counts(), *map(_Counts.model_validate_json, answers)]
        sums = await self._cache.sums()
        return Totals(
            sums.copies,
            sums.bytes,
            sum(each.hits for each in counts),
            sum(each.misses for each in counts),
        )

    async def evict(self, digest: Digest) -> bool:
        """Remove a copy; False when there was none."""
        return await self._cache.evict(digest)

    async def evict_all(self) -> int:
        """Remove every copy; return how many there were."""
        return await self._cache.evict_all()

    def private_routes(self) -> list[Route]:
        """Return what the siblings ask this process for."""

        async def tell(request: web.Request) -> web.StreamResponse:
            await self._cache.write_notes()
            return json_response(self._counts())

        return [Route("GET", _PATH, tell, scope=None)]

    def _counts(self) -> _Counts:
        return _Counts(hits=self._cache.counts.hits, misses=self._cache.counts.misses)
