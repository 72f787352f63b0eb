"""The cache inspection over several processes of one server: each remembers what it resolved."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import Digest
from coatcheck.web import Route, Siblings, json_response, read_limit

from .inventory import Entry, Inventory, Totals, View
from .sibling_answers import understood
from .source import Resolved

_PATH = "/cache"
_MAX_LISTED = 10_000  # what an inventory remembers


class _Told(BaseModel):
    """What one process remembers: the newest entries, and the sizes of all."""

    model_config = ConfigDict(frozen=True)

    entries: tuple[Entry, ...]
    sizes: dict[Digest, int]
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

    async def look(self, limit: int) -> View:
        """Return up to `limit` entries of all processes, and the sums.

        A blob that several know counts once. Its hits are those of the processes that list it.
        """
        answers = await self._siblings.ask(f"{_PATH}?limit={limit}")
        own = await self._told(limit)
        return await asyncio.to_thread(_view, own, answers, limit)

    async def evict(self, digest: Digest) -> bool:
        """Make every process forget one entry; False when none had it."""
        was_here = await self._own.evict(digest)
        answers = await self._siblings.ask(f"{_PATH}/{digest}", method="DELETE")
        return was_here or any(each.evicted for each in understood(_Evicted, answers))

    async def evict_all(self) -> int:
        """Make every process forget all; return how many entries there were."""
        count = (await self.look(1)).totals.entries
        await self._own.evict_all()
        await self._siblings.ask(_PATH, method="DELETE")
        return count

    def private_routes(self) -> list[Route]:
        """Return what the siblings ask this process for."""

        async def tell(request: web.Request) -> web.StreamResponse:
            told = await self._told(read_limit(request, 1, _MAX_LISTED))
            return web.Response(body=await asyncio.to_thread(_encoded, told))

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

    async def _told(self, limit: int) -> _Told:
        totals = await self._own.totals()
        return _Told(
            entries=tuple(await self._own.entries(limit)),
            sizes=self._own.sizes(),
            hits=totals.hits,
            misses=totals.misses,
        )


def _encoded(told: _Told) -> bytes:
    return told.model_dump_json().encode()


def _view(own: _Told, answers: Sequence[bytes], limit: int) -> View:
    """Join what all processes told. Takes tens of milliseconds where they remember much."""
    told = [own, *understood(_Told, answers)]
    merged = _merged(one.entries for one in told)
    newest = sorted(merged.values(), key=lambda entry: entry.last_used_at, reverse=True)
    sizes = {digest: size for one in told for digest, size in one.sizes.items()}
    totals = Totals(
        len(sizes),
        sum(sizes.values()),
        sum(one.hits for one in told),
        sum(one.misses for one in told),
    )
    return View(newest[:limit], totals)


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
