"""The cache inspection's view of a disk cache: its index, which all processes of a server share.

What they count they count each for itself, and what they noted of uses they may not have written.
"""

from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import OCTET_STREAM, Digest
from coatcheck.store import StoreError
from coatcheck.web import Route, Siblings, json_response

from .cache import DiskCache
from .cache.heals import Heal
from .cache.rows import Copy
from .errors import StoreUnavailableError
from .inventory import Entry, Totals, View
from .sibling_answers import understood
from .source import Resolved

_PATH = "/cache/counts"


class _Counts(BaseModel):
    """What one process counted."""

    model_config = ConfigDict(frozen=True)

    hits: int
    misses: int
    healed: int
    heals: tuple[Heal, ...]


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

    async def look(self, limit: int) -> View:
        """Return up to `limit` copies, and the sums over all, and what all processes counted."""
        answers = await self._siblings.ask(_PATH)  # they write what they noted
        counts = [self._counts(), *understood(_Counts, answers)]
        with _translated():
            copies, sums = await self._cache.newest(limit), await self._cache.sums()
        totals = Totals(
            sums.copies,
            sums.bytes,
            sum(each.hits for each in counts),
            sum(each.misses for each in counts),
            sum(each.healed for each in counts),
        )
        heals = sorted(
            (heal for each in counts for heal in each.heals), key=lambda heal: heal.at, reverse=True
        )
        return View([self._entry(copy) for copy in copies], totals, heals[:limit])

    async def evict(self, digest: Digest) -> bool:
        """Remove a copy; False when there was none."""
        with _translated():
            return await self._cache.evict(digest)

    async def evict_all(self) -> int:
        """Remove every copy; return how many there were."""
        with _translated():
            return await self._cache.evict_all()

    def private_routes(self) -> list[Route]:
        """Return what the siblings ask this process for."""

        async def tell(request: web.Request) -> web.StreamResponse:
            with suppress(StoreError):  # whoever asks reads what there is, or says that it fails
                await self._cache.write_notes()
            return json_response(self._counts())

        return [Route("GET", _PATH, tell, scope=None)]

    def _counts(self) -> _Counts:
        counts, heals = self._cache.counts, self._cache.heals
        return _Counts(
            hits=counts.hits,
            misses=counts.misses,
            healed=heals.count,
            heals=tuple(heals.newest()),
        )

    def _entry(self, copy: Copy) -> Entry:
        return Entry(
            digest=copy.digest,
            size=copy.size,
            media_type=copy.sniffed_type or OCTET_STREAM,
            source=self._source,
            hits=copy.hits,
            last_used_at=copy.last_used_at,
            verified_at=copy.verified_at,
        )


@contextmanager
def _translated() -> Generator[None]:
    try:
        yield
    except StoreError as error:
        raise StoreUnavailableError(f"the cache's index failed: {error}") from error
