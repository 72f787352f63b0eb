"""The cache inspection over several processes of one server: each remembers what it resolved."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import Digest
from coatcheck.web import Route, Siblings, json_response

from .inventory import Entry, Inventory, Totals
from .source import Resolved

_PATH = "/cache"
_ALL = 1_000_000  # more than any of them remembers


class _Told(BaseModel):
    """What one process remembers."""

    model_config = ConfigDict(frozen=True)

    entries: tuple[Entry, ...]
    hits: int
    misses: int


class _Evicted(BaseModel):
    model_config = ConfigDict(frozen=True)

    evicted: int


class SharedInventory:
    """A `CacheView` over this process's inventory and those of its siblings."""

    def __init__(self, own: Inventory, siblings: Siblings) -> None:
        self._own = own
        self._siblings = siblings

    def record_use(self, blobs: Iterable[Resolved], now: float) -> None:
        """Note that blobs were resolved here."""
        self._own.record_use(blobs, now)

    def record_verified(self, digest: Digest, now: float) -> None:
        """Note that every byte of a blob was read here and matched its checksum."""
        self._own.record_verified(digest, now)

    async def entries(self, limit: int) -> Sequence[Entry]:
        """Return up to `limit` entries of all processes, the most recently used first."""
        merged = _merged(told.entries for told in await self._all())
        newest = sorted(merged.values(), key=lambda entry: entry.last_used_at, reverse=True)
        return newest[:limit]

    async def totals(self) -> Totals:
        """Return the sums over all processes; a blob that several know counts once."""
        told = await self._all()
        merged = _merged(one.entries for one in told)
        return Totals(
            len(merged),
            sum(entry.size for entry in merged.values()),
            sum(one.hits for one in told),
            sum(one.misses for one in told),
        )

    async def evict(self, digest: Digest) -> bool:
        """Make every process forget one entry; False when none had it."""
        was_here = await self._own.evict(digest)
        answers = await self._siblings.ask(f"{_PATH}/{digest}", method="DELETE")
        return was_here or any(_Evicted.model_validate_json(each).evicted for each in answers)

    async def evict_all(self) -> int:
        """Make every process forget all; return how many entries there were."""
        count = (await self.totals()).entries
        await self._own.evict_all()
        await self._siblings.ask(_PATH, method="DELETE")
        return count

    def private_routes(self) -> list[Route]:
        """Return what the siblings ask this process for."""

        async def tell(request: web.Request) -> web.StreamResponse:
            return json_response((await self._told()).model_dump(mode="json"))

        async def evict(request: web.Request) -> web.StreamResponse:
            digest = Digest(request.match_info["digest"])
            return json_response(_Evicted(evicted=int(await self._own.evict(digest))))

        async def evict_all(request: web.Request) -> web.StreamResponse:
            return json_response(_Evicted(evicted=await self._own.evict_all()))

        return [
            Route("GET", _PATH, tell, scope=None),
            Route("DELETE", f"{_PATH}/{{digest}}", evict, scope=None),
            Route("DELETE", _PATH, evict_all, scope=None),
        ]

    async def _all(self) -> list[_Told]:
        answers = await self._siblings.ask(_PATH)
        return [await self._told(), *map(_Told.model_validate_json, answers)]

    async def _told(self) -> _Told:
        totals = await self._own.totals()
        entries = tuple(await self._own.entries(_ALL))
        return _Told(entries=entries, hits=totals.hits, misses=totals.misses)


def _merged(told: Iterable[Sequence[Entry]]) -> dict[Digest, Entry]:
    """Join what several processes remember of the same blobs."""
    merged: dict[Digest, Entry] = {}
    for entries in told:
        for entry in entries:
            known = merged.get(entry.digest)
            merged[entry.digest] = entry if known is None else _joined(known, entry)
    return merged


def _joined(one: Entry, other: Entry) -> Entry:
    times = [entry.verified_at for entry in (one, other) if entry.verified_at is not None]
    return replace(
        one,
        hits=one.hits + other.hits,
        last_used_at=max(one.last_used_at, other.last_used_at),
        verified_at=max(times, default=None),
    )
