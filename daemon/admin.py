"""Cache inspection: what the daemon resolved, as JSON and as a section of `/admin`.

Evicting forgets; where the entries are copies, their bytes go too. Both are the operator's view,
across tenants.
"""

from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import parse_qs

from aiohttp import web
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import Digest
from coatcheck.web import (
    AdminSection,
    Answer,
    Operation,
    Parameter,
    ProblemError,
    Route,
    Templates,
    json_response,
    read_body,
    read_limit,
    refuse,
)

from .errors import DaemonError
from .inventory import CacheView, Entry, Totals

_TAG = "admin"
_PATH = "/admin/api/cache"
_DEFAULT_ENTRIES = 100
_MAX_ENTRIES = 1000
_MAX_FORM_BYTES = 1024
_ALL = "all"


class CacheEntry(BaseModel):
    """One resolved blob. Times are Unix seconds; `verified_at`: its bytes were last read whole."""

    model_config = ConfigDict(frozen=True)

    digest: Digest
    size: int
    media_type: str
    source: str
    hits: int
    last_used_at: float
    verified: bool
    verified_at: float | None = None


class CacheTotals(BaseModel):
    """Sums over the entries, and counts since the start. `hit_ratio` is absent before a use."""

    model_config = ConfigDict(frozen=True)

    entries: int
    bytes: int
    hits: int
    misses: int
    hit_ratio: float | None = None
    healed: int


class CacheHeal(BaseModel):
    """A copy that was gone or damaged, and was replaced from the store at this Unix time."""

    model_config = ConfigDict(frozen=True)

    digest: Digest
    fault: str
    at: float


class CacheListing(BaseModel):
    """Answer of `GET /admin/api/cache`: what was used last, and replaced last, first."""

    model_config = ConfigDict(frozen=True)

    entries: list[CacheEntry]
    totals: CacheTotals
    heals: list[CacheHeal]


class Evicted(BaseModel):
    """How many entries were evicted."""

    model_config = ConfigDict(frozen=True)

    evicted: int


def cache_routes(inventory: CacheView) -> list[Route]:
    """Return the routes that list entries and evict one or all."""

    async def listing(request: web.Request) -> web.StreamResponse:
        limit = read_limit(request, _DEFAULT_ENTRIES, _MAX_ENTRIES)
        with _told():
            view = await inventory.look(limit)
        entries = [_entry(entry) for entry in view.entries]
        heals = [CacheHeal(digest=each.digest, fault=each.fault, at=each.at) for each in view.heals]
        totals = _totals(view.totals)
        return json_response(CacheListing(entries=entries, totals=totals, heals=heals))

    async def evict(request: web.Request) -> web.StreamResponse:
        digest = Digest(request.match_info["digest"])
        with _told():
            was_here = await inventory.evict(digest)
        if not was_here:
            raise refuse(404, "blob_not_found", "Not in the cache", f"no entry has {digest}")
        return json_response(Evicted(evicted=1))

    async def evict_all(request: web.Request) -> web.StreamResponse:
        with _told():
            return json_response(Evicted(evicted=await inventory.evict_all()))

    async def evict_form(request: web.Request) -> web.StreamResponse:
        form = parse_qs((await read_body(request, _MAX_FORM_BYTES)).decode("utf-8", "replace"))
        wanted = form.get("digest", [""])[0]
        with _told():
            if wanted == _ALL:
                await inventory.evict_all()
            else:
                await inventory.evict(Digest(wanted))
        raise web.HTTPSeeOther("/admin#cache")

    limit = Parameter("limit", f"entries, 1 to {_MAX_ENTRIES}", schema={"type": "integer"})
    return [
        Route(
            "GET",
            _PATH,
            listing,
            Operation(
                "List what was resolved",
                _TAG,
                {200: Answer("entries and totals", CacheListing)},
                parameters=[limit],
            ),
            scope="admin",
        ),
        Route(
            "DELETE",
            _PATH,
            evict_all,
            Operation("Evict every entry", _TAG, {200: Answer("evicted", Evicted)}),
            scope="admin",
        ),
        Route(
            "DELETE",
            f"{_PATH}/{{digest}}",
            evict,
            Operation("Evict one entry", _TAG, {200: Answer("evicted", Evicted)}),
            scope="admin",
        ),
        Route("POST", "/admin/cache/evict", evict_form, scope="admin"),
    ]


def cache_section(inventory: CacheView) -> AdminSection:
    """Return the section of the page that shows the entries, with their pictures."""
    templates = Templates("coatcheck.daemon")

    async def render(tenant: str) -> Markup:
        with _told():
            view = await inventory.look(_DEFAULT_ENTRIES)
        return templates.render("cache.html", entries=view.entries, totals=view.totals)

    return AdminSection("cache", "Cache", render)


@contextmanager
def _told() -> Generator[None]:
    try:
        yield
    except DaemonError as error:
        raise ProblemError(error.problem) from error


def _entry(entry: Entry) -> CacheEntry:
    return CacheEntry(
        digest=entry.digest,
        size=entry.size,
        media_type=entry.media_type,
        source=entry.source,
        hits=entry.hits,
        last_used_at=entry.last_used_at,
        verified=entry.verified_at is not None,
        verified_at=entry.verified_at,
    )


def _totals(totals: Totals) -> CacheTotals:
    return CacheTotals(
        entries=totals.entries,
        bytes=totals.bytes,
        hits=totals.hits,
        misses=totals.misses,
        hit_ratio=totals.hit_ratio,
        healed=totals.healed,
    )
