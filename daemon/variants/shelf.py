"""The shelf: variants on the disk, verified on every read, and what each was made of.

1. A variant is a copy, no blob of the store: nobody can name it, and it leaves only in place of an
   original that the turn's tenant was found to hold in that very turn.
2. It goes when nobody who had it made holds the original any more, at the latest `PRUNE_SECONDS`
   later; and before that where the folder has no room, the one used longest ago first.
3. What the shelf cannot keep costs no turn: the original is sent.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from pathlib import Path
from typing import Self

from coatcheck.client import Sink
from coatcheck.protocol import Digest
from coatcheck.store import SchemaError, StoreError

from ..cache import CacheConfig, DiskCache
from ..cache.errors import CacheUnusableError
from ..cache.origin import Flow
from ..errors import VariantLostError
from ..source import BlobSource, PieceReader
from .links import Derivation, Holding, Link, Links
from .maker import Made

_log = logging.getLogger(__name__)
PRUNE_SECONDS = 300.0
"""From one look for originals that are gone to the next; each asks for every original there is."""
_MAX_LINKS = 100_000  # some 40 MB of disk; a variant of one upstream has one for each tenant
_PAGE = 1000  # originals asked for at once
_FRESH_SECONDS = 60.0  # a link may be there before its original is absorbed
_RENEW_SECONDS = 600.0  # uses are noted no finer


class VariantShelf:
    """One process's use of a folder, which others may share. `open` it; close it."""

    def __init__(
        self, cache: DiskCache, links: Links, stack: AsyncExitStack, clock: Callable[[], float]
    ) -> None:
        """Called by `open`."""
        self._cache = cache
        self._links = links
        self._stack = stack
        self._clock = clock

    @classmethod
    async def open(
        cls,
        config: CacheConfig,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Open the folder, making it if need be.

        Raises:
            CacheUnusableError: it cannot be made, read or written.
        """
        async with AsyncExitStack() as stack:
            cache = await DiskCache.open(config, _Nowhere(), clock=clock, random=random)
            stack.push_async_callback(cache.close)
            try:
                links = await _open_links(config.folder / "variants.sqlite", cache)
            except (OSError, StoreError) as error:
                raise CacheUnusableError(f"the variants {config.folder}: {error}") from error
            stack.push_async_callback(links.close)
            return cls(cache, links, stack.pop_all(), clock)

    async def close(self) -> None:
        """Let go of everything. May be called twice."""
        await self._stack.aclose()

    async def find(self, tenant: str, derivations: Sequence[Derivation]) -> dict[Derivation, Link]:
        """Return what is known of these for a tenant that holds the originals; counts as a use."""
        now = self._clock()
        try:
            links = await self._links.find(tenant, derivations, now)
            found = {
                derivation: link
                for derivation, link in links.items()
                if link.digest is None or await self._cache.has(link.digest)
            }
            stale = [
                derivation
                for derivation, link in found.items()
                if now - link.used_at > _RENEW_SECONDS
            ]
            if stale:
                await self._links.touch(tenant, stale, now)
        except StoreError as error:
            _log.warning("the variants' index failed: %s", error)
            return {}
        return found

    async def keep(self, tenant: str, derivation: Derivation, made: Made) -> Link | None:
        """Keep a variant; None where it cannot be, or there is no room for it.

        The link goes first: a copy without one would outlive its original.
        """
        link = Link(made.digest, len(made.data), made.media_type, made.scale, self._clock())
        if not await self._put(tenant, derivation, link):
            return None
        return link if await self._cache.put(made.digest, made.data) else None

    async def keep_original(
        self, tenant: str, derivation: Derivation, for_seconds: float | None = None
    ) -> None:
        """Note that the original goes as it is; for some time, or for good."""
        now = self._clock()
        until = None if for_seconds is None else now + for_seconds
        await self._put(tenant, derivation, Link(None, 0, "", 1.0, now, until))

    async def open_variant(self, digest: Digest, size: int) -> PieceReader:
        """Open a variant that was found or kept.

        Raises:
            VariantLostError: it is gone or damaged.
        """
        return await self._cache.open_blob("", digest, size)

    async def prune(self, blobs: BlobSource) -> None:
        """Remove the variants of originals that their tenants do not hold any more.

        Raises:
            StoreUnavailableError: whoever knows is away; what was removed until then stays removed.
            StoreError: the index failed.
        """
        last: Holding | None = None
        while page := await self._links.originals(last, _PAGE):
            last = page[-1]
            gone: list[Holding] = []
            for tenant, holdings in groupby(page, key=lambda holding: holding.tenant):
                originals = {holding.original: holding for holding in holdings}
                held = await blobs.held(tenant, list(originals))
                gone += [each for original, each in originals.items() if original not in held]
            await self._evict(await self._links.drop(gone, self._clock() - _FRESH_SECONDS))
        await self._evict(await self._links.trim(_MAX_LINKS))

    async def _put(self, tenant: str, derivation: Derivation, link: Link) -> bool:
        try:
            await self._links.put(tenant, derivation, link)
        except StoreError as error:
            _log.warning("a variant was not noted: %s", error)
            return False
        return True

    async def _evict(self, digests: Sequence[Digest]) -> None:
        for digest in digests:
            await self._cache.evict(digest)


async def _open_links(path: Path, cache: DiskCache) -> Links:
    """Open the links; where they cannot be read they begin anew, and the copies with them."""
    try:
        return await Links.open(path)
    except SchemaError as error:
        if not cache.is_alone:
            raise
        _log.warning("the variants begin anew: %s", error)
        await asyncio.to_thread(_remove, path)
        await cache.evict_all()
        return await Links.open(path)


def _remove(database: Path) -> None:
    for end in ("", "-wal", "-shm"):
        database.with_name(database.name + end).unlink(missing_ok=True)


class _Nowhere:
    """The origin of variants: none. One that is damaged is made anew in the next turn."""

    async def fetch(self, tenant: str, digest: Digest, sink: Sink) -> None:
        raise VariantLostError(digest)

    async def open(self, tenant: str, digest: Digest) -> Flow:
        raise VariantLostError(digest)
