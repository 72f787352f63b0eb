"""The SQL side: who holds which blob, why, and until when.

1. A row about a blob is written after its bytes are on the disk, never before.
2. What depends on a reading of the bytes names their generation, and does nothing once an
   upload has replaced them.
3. A hold is only ever added to a grant that lives; a grant whose last hold has ended stays dead
   until its tenant uploads the bytes again.

Every method is one transaction. Times are unix seconds, given by the caller.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, select, update

from coatcheck.protocol import Digest

from .cursor import read_cursor, write_cursor
from .database import Database
from .errors import BlobNotFoundError
from .grant import Grant, HeldBlob, Hold, Page
from .held import find_held, is_live, newest_held
from .index_rows import (
    NewBlob,
    PromptHold,
    delete_grant,
    put_blob,
    put_grant,
    put_leases,
    put_pin,
    put_prompt_hold,
)
from .schema import BlobState, HoldKind, blobs, holds


@dataclass(frozen=True, slots=True)
class Totals:
    """The index in numbers."""

    blobs: int
    blob_bytes: int
    quarantined_blobs: int
    grants: int


class Index:
    """Grants, holds and blobs in one database, which the opener of the database closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        tenant: str,
        blob: NewBlob,
        declared_type: str | None,
        *,
        now: float,
        lease_expires_at: float,
    ) -> tuple[HeldBlob, bool]:
        """Grant the tenant a blob whose bytes were just committed, with a lease.

        Writes the same rows for a blob that is new and for one that is known. Returns the grant
        and whether there was no live one before.
        """

        def work(connection: Connection) -> tuple[HeldBlob, bool]:
            before = find_held(connection, tenant, [blob.digest], now)
            put_blob(connection, blob, now)
            put_grant(connection, tenant, blob.digest, declared_type, now)
            put_leases(connection, tenant, [blob.digest], now, lease_expires_at)
            return find_held(connection, tenant, [blob.digest], now)[blob.digest], not before

        return await self._database.run(work)

    async def find(
        self, tenant: str, digests: Iterable[Digest], now: float
    ) -> dict[Digest, HeldBlob]:
        """Return those of the digests that the tenant holds."""
        return await self._database.read(lambda c: find_held(c, tenant, digests, now))

    async def renew(
        self, tenant: str, digests: Sequence[Digest], *, now: float, expires_at: float
    ) -> dict[Digest, HeldBlob]:
        """Extend the leases that live; return those of the digests that the tenant holds."""

        def work(connection: Connection) -> dict[Digest, HeldBlob]:
            connection.execute(
                update(holds)
                .where(
                    holds.c.tenant == tenant,
                    holds.c.digest.in_(digests),
                    holds.c.kind == HoldKind.LEASE,
                    holds.c.expires_at > now,
                    holds.c.expires_at < expires_at,
                )
                .values(expires_at=expires_at)
            )
            return find_held(connection, tenant, digests, now)

        return await self._database.run(work)

    async def lease(
        self, tenant: str, digests: Sequence[Digest], *, now: float, expires_at: float
    ) -> dict[Digest, HeldBlob]:
        """Renew leases, and give one to a grant that other holds alone keep."""

        def work(connection: Connection) -> dict[Digest, HeldBlob]:
            held = find_held(connection, tenant, digests, now)
            put_leases(connection, tenant, held, now, expires_at)
            return find_held(connection, tenant, digests, now)

        return await self._database.run(work)

    async def page(self, tenant: str, *, after: str | None, limit: int, now: float) -> Page[Grant]:
        """Return at most `limit` live grants, newest first, behind the cursor `after`.

        Raises:
            InvalidCursorError: `after` is not a cursor of ours.
        """
        place = None if after is None else read_cursor(after)
        found = await self._database.read(lambda c: newest_held(c, tenant, now, limit + 1, place))
        items = [held.grant for held in found[:limit]]
        more = len(found) > limit
        return Page(items, write_cursor(items[-1].created_at, items[-1].digest) if more else None)

    async def release(self, tenant: str, digest: Digest, now: float) -> list[Hold]:
        """End the lease and the pin; return the holds that remain. Without any the grant ends.

        Raises:
            BlobNotFoundError: the tenant does not hold the blob.
        """

        def work(connection: Connection) -> list[Hold]:
            _require(connection, tenant, digest, now)
            ours = and_(holds.c.tenant == tenant, holds.c.digest == digest)
            ended = holds.c.kind.in_([HoldKind.LEASE, HoldKind.PIN])
            connection.execute(delete(holds).where(ours, ended))
            rows = connection.execute(
                select(holds).where(ours, is_live(now)).order_by(holds.c.kind, holds.c.name)
            ).all()
            if not rows:
                delete_grant(connection, tenant, digest)
            return [Hold(HoldKind(row.kind), row.name, row.purpose, row.expires_at) for row in rows]

        return await self._database.run(work)

    async def pin(self, tenant: str, digest: Digest, now: float) -> HeldBlob:
        """Add a pin, or leave the one that is there.

        Raises:
            BlobNotFoundError: the tenant does not hold the blob.
        """

        def work(connection: Connection) -> HeldBlob:
            _require(connection, tenant, digest, now)
            put_pin(connection, tenant, digest, now)
            return _require(connection, tenant, digest, now)

        return await self._database.run(work)

    async def unpin(
        self, tenant: str, digest: Digest, *, now: float, lease_expires_at: float
    ) -> HeldBlob:
        """End the pin, if there is one, and give a lease in its place.

        Raises:
            BlobNotFoundError: the tenant does not hold the blob.
        """

        def work(connection: Connection) -> HeldBlob:
            if _require(connection, tenant, digest, now).grant.pinned:
                put_leases(connection, tenant, [digest], now, lease_expires_at)
                connection.execute(
                    delete(holds).where(
                        holds.c.tenant == tenant,
                        holds.c.digest == digest,
                        holds.c.kind == HoldKind.PIN,
                    )
                )
            return _require(connection, tenant, digest, now)

        return await self._database.run(work)

    async def hold_for_prompts(self, wanted: Sequence[PromptHold]) -> None:
        """Add or extend a hold for each; leave out blobs whose grant was not alive."""

        def work(connection: Connection) -> None:
            for hold in wanted:
                put_prompt_hold(connection, hold)

        await self._database.run(work)

    async def quarantine(self, digest: Digest, generation: int) -> bool:
        """Take the blob out of every answer, unless its bytes were replaced since.

        Returns whether it did.
        """
        return await self._alter(digest, generation, state=BlobState.QUARANTINED)

    async def rewrite_checksums(
        self, digest: Digest, generation: int, checksums: bytes, seed_version: int
    ) -> bool:
        """Replace checksums whose seed is unknown; return whether the bytes are still those."""
        return await self._alter(digest, generation, checksums=checksums, seed_version=seed_version)

    async def check(self, now: float) -> None:
        """Ask what everything asks the index, for a tenant that has nothing.

        Raises:
            StoreClosedError, StoreUnavailableError: there is no answer.
        """
        await self._database.read(lambda c: newest_held(c, "", now, 1, None))

    async def totals(self, now: float) -> Totals:
        """Count everything; reads the whole index."""

        def work(connection: Connection) -> Totals:
            states = connection.execute(
                select(blobs.c.state, func.count(), func.sum(blobs.c.size)).group_by(blobs.c.state)
            ).all()
            count = {str(state): int(number) for state, number, _ in states}
            size = {str(state): int(total) for state, _, total in states}
            live = select(holds.c.tenant, holds.c.digest).where(is_live(now)).distinct().subquery()
            return Totals(
                blobs=count.get(BlobState.LIVE, 0),
                blob_bytes=size.get(BlobState.LIVE, 0),
                quarantined_blobs=count.get(BlobState.QUARANTINED, 0),
                grants=connection.execute(select(func.count()).select_from(live)).scalar_one(),
            )

        return await self._database.read(work)

    async def _alter(self, digest: Digest, generation: int, **values: object) -> bool:
        statement = (
            update(blobs)
            .where(
                blobs.c.digest == digest,
                blobs.c.generation == generation,
                blobs.c.state != BlobState.QUARANTINED,
            )
            .values(**values)
        )
        return await self._database.run(lambda c: c.execute(statement).rowcount == 1)


def _require(connection: Connection, tenant: str, digest: Digest, now: float) -> HeldBlob:
    held = find_held(connection, tenant, [digest], now).get(digest)
    if held is None:
        raise BlobNotFoundError(digest)
    return held
