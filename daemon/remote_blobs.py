"""Blobs of a store on another host, behind the daemon's interface.

Grants are the store's to say, and are asked for in each turn, remembered for half a minute. Bytes
come from the cache, and into it from the store, once. While the store is away, what it said within
the last hour goes on being true, and what it did not say is not known: 503.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence

from coatcheck.client import (
    DigestMismatchError,
    ServerError,
    StoreLink,
)
from coatcheck.protocol import Digest, ResolvedBlob

from .availability import Availability, not_kept
from .cache import DiskCache
from .errors import BlobUnreadableError, StoreUnavailableError
from .meters import Meters, NoMeters
from .remembered import STALE_SECONDS, Remembered
from .source import PieceReader, Resolved


class RemoteBlobs:
    """A `BlobSource` over a link and a cache that somebody else owns and closes."""

    name = "disk"

    def __init__(
        self,
        link: StoreLink,
        cache: DiskCache,
        availability: Availability,
        clock: Callable[[], float],
        meters: Meters | None = None,
    ) -> None:
        """`clock` gives Unix seconds."""
        self._link = link
        self._cache = cache
        self._meters = meters or NoMeters()
        self._availability = availability
        self._clock = clock
        self._grants: Remembered[tuple[str, Digest], ResolvedBlob] = Remembered()
        self._files: Remembered[tuple[str, str], Digest] = Remembered()

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        """Return those that the tenant holds; see `BlobSource.resolve`."""
        held = await self.describe(tenant, digests)
        return {
            digest: Resolved(digest, blob.size, blob.sniffed_type or blob.media_type)
            for digest, blob in held.items()
        }

    async def describe(
        self, tenant: str, digests: Collection[Digest], *, is_use: bool = True
    ) -> dict[Digest, ResolvedBlob]:
        """Return what the store says of those that the tenant holds; a use renews leases.

        Raises:
            StoreUnavailableError: the store is away, and did not speak of all of them lately.
        """
        now = self._clock()
        held: dict[Digest, ResolvedBlob] = {}
        for digest in dict.fromkeys(digests):
            if (blob := self._grants.get((tenant, digest), now)) is not None:
                held[digest] = blob
        unknown = [digest for digest in dict.fromkeys(digests) if digest not in held]
        if unknown:
            held |= await self._ask(tenant, unknown, now, is_use=is_use)
        return held

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        """Return what files name; see `BlobSource.find_files`."""
        now = self._clock()
        found: dict[str, Digest] = {}
        for file_id in dict.fromkeys(file_ids):
            if (digest := self._files.get((tenant, file_id), now)) is not None:
                found[file_id] = digest
        unknown = [file_id for file_id in dict.fromkeys(file_ids) if file_id not in found]
        return found | (await self._ask_files(tenant, unknown, now) if unknown else {})

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> set[Digest]:
        """Fetch what is not here; see `BlobSource.prepare`."""
        gone = await self._cache.prepare(tenant, [(blob.digest, blob.size) for blob in blobs])
        for digest in gone:
            self._grants.forget((tenant, digest))
        return gone

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        """Open a blob, from its first piece on; see `BlobSource.open`."""
        return await self.open_at(tenant, digest, 0)

    async def open_at(self, tenant: str, digest: Digest, first_piece: int) -> PieceReader:
        """Open a blob with this piece verified already; see `BlobSource.open`."""
        blob = (await self.describe(tenant, [digest])).get(digest)
        if blob is None:
            raise BlobUnreadableError(digest)
        try:
            return await self._cache.open_blob(tenant, digest, blob.size, first_piece=first_piece)
        except BlobUnreadableError:
            self._grants.forget((tenant, digest))
            raise

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.claim`."""
        async with self._availability.asking():
            missing = await self._link.missing(tenant, list(digests), end_user)
        return set(digests) - set(missing)

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        """Return those that the tenant holds; see `BlobSource.held`."""
        return await self.describe(tenant, digests, is_use=False)

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        """Hand bytes on to the store, and keep a copy; see `BlobSource.absorb`."""
        digest = await asyncio.to_thread(Digest.of, data)
        async with self._availability.asking():
            try:
                await self._link.upload(tenant, data, digest, media_type, end_user=end_user)
            except (ServerError, DigestMismatchError) as error:
                raise not_kept(error) from error
        self._meters.store_bytes(sent=len(data))
        self._grants.forget((tenant, digest))  # its media type may be another now
        await self._cache.put(digest, data)
        return digest

    def released(self, tenant: str, digest: Digest) -> None:
        """Learn that the tenant dropped a blob: the store is asked the next time."""
        self._grants.forget((tenant, digest))

    def file_released(self, tenant: str, file_id: str) -> None:
        """Learn that the tenant ended a file: the store is asked the next time."""
        self._files.forget((tenant, file_id))

    async def _ask(
        self, tenant: str, digests: Sequence[Digest], now: float, *, is_use: bool
    ) -> dict[Digest, ResolvedBlob]:
        tickets = {digest: self._grants.ticket((tenant, digest)) for digest in digests}
        try:
            async with self._availability.asking():
                answer = await self._link.resolve(tenant, digests, is_use=is_use)
        except StoreUnavailableError as error:
            return self._recall(tenant, digests, now, error)
        wanted = set(digests)
        held = {blob.digest: blob for blob in answer.blobs if blob.digest in wanted}
        if is_use:  # an answer without a use must not keep the next use from renewing the lease
            for digest, blob in held.items():
                self._grants.put((tenant, digest), blob, now, tickets[digest])
        return held

    async def _ask_files(
        self, tenant: str, file_ids: Sequence[str], now: float
    ) -> dict[str, Digest]:
        tickets = {file_id: self._files.ticket((tenant, file_id)) for file_id in file_ids}
        try:
            async with self._availability.asking():
                answer = await self._link.resolve(tenant, [], file_ids)
        except StoreUnavailableError as error:
            return self._recall_files(tenant, file_ids, now, error)
        found: dict[str, Digest] = {}
        for blob in answer.blobs:
            if blob.file_id in tickets:
                found[blob.file_id] = blob.digest
                self._files.put((tenant, blob.file_id), blob.digest, now, tickets[blob.file_id])
        return found

    def _recall_files(
        self, tenant: str, file_ids: Sequence[str], now: float, reason: StoreUnavailableError
    ) -> dict[str, Digest]:
        found: dict[str, Digest] = {}
        for file_id in file_ids:
            digest = self._files.get((tenant, file_id), now, max_age_seconds=STALE_SECONDS)
            if digest is None:
                raise StoreUnavailableError(
                    f"{reason}; {file_id} is not known here; try again"
                ) from reason
            found[file_id] = digest
        return found

    def _recall(
        self, tenant: str, digests: Sequence[Digest], now: float, reason: StoreUnavailableError
    ) -> dict[Digest, ResolvedBlob]:
        """Return what the store said within the hour, when that is all of it."""
        held: dict[Digest, ResolvedBlob] = {}
        for digest in digests:
            blob = self._grants.get((tenant, digest), now, max_age_seconds=STALE_SECONDS)
            if blob is None:
                raise StoreUnavailableError(
                    f"{reason}; {digest} is not known here; try again"
                ) from reason
            held[digest] = blob
        return held
