"""The SQL side: who holds which blob, why, and until when.

1. A row about a blob is written after its bytes are on the disk, never before.
2. What depends on a reading of the bytes names their generation, and does nothing once an
   upload has replaced them.
3. A hold is only ever added to a grant that lives; a grant whose last hold has ended stays dead
   until its tenant uploads the bytes again.
4. A live blob has a grant: whoever removes the last one condemns the blob with it.

Every method is one transaction. Times are unix seconds, given by the caller.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, select, update

from coatcheck.protocol import Digest

from .blob_rows import BlobFacts, find_blob
from .cursor import read_cursor, write_cursor
from .database import Database
from .dead import GRACE_SECONDS, end_holds
from .errors import BlobNotFoundError, StoreError
from .grant import Grant, HeldBlob, Hold, Page
from .held import find_held, is_live, newest_held
from .index_rows import (
    NewBlob,
    NewGrant,
    PromptHold,
    condemn,
    end_prompt_hold,
    find_standing,
    has_claim,
    has_live_hold,
    put_blob,
    put_claim,
    put_grant,
    put_leases,
    put_pin,
    put_prompt_hold,
    remove_grant,
)
from .schema import BlobState, HoldKind, blobs, holds
from .sums import Totals, find_excess, read_totals, used_bytes_of
from .upload_table import FinishedUpload, all_claimed_bytes, finish_upload, reopen_upload


@dataclass(frozen=True, slots=True)
class Recorded:
    """What became of an upload whose bytes were committed."""

    held: HeldBlob
    is_new: bool
    """Whether the tenant had no live grant for the blob before."""


class Index:
    """Grants, holds and blobs in one database, which the opener of the database closes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(
        self,
        grant: NewGrant,
        blob: NewBlob,
        *,
        now: float,
        lease_expires_at: float,
        quota_bytes: int | None = None,
        finished: FinishedUpload | None = None,
    ) -> Recorded:
        """Grant the tenant a blob whose bytes were just committed, with a lease.

        Writes the same rows for a blob that is new and for one that is known. Where the quota leaves
        no room there is no grant; the bytes, which lie there all the same, are the sweep's then.
        The row of a `finished` upload changes with it: what it had claimed is the grant's from now on.

        Raises:
            QuotaExceededError: the tenant's grants would have more than `quota_bytes`.
        """

        def work(connection: Connection) -> Recorded | StoreError:
            before = find_standing(connection, grant.tenant, blob.digest, now)
            generation = put_blob(connection, blob, now)
            if finished is not None:
                finish_upload(connection, finished, blob.digest)
            if not before.is_held and (
                refusal := find_excess(connection, grant.tenant, blob.size, quota_bytes, now)
            ):
                condemn(connection, blob.digest, now)
                if finished is not None:
                    reopen_upload(connection, finished.id)
                return refusal
            put_grant(connection, grant, blob.digest, now, is_held=before.is_held)
            put_leases(connection, grant.tenant, [blob.digest], now, lease_expires_at)
            if not before.is_held:  # then it is all known, and asking costs more than writing
                return Recorded(_begun(grant, blob, generation, now, lease_expires_at), True)
            held = find_held(connection, grant.tenant, [blob.digest], now)[blob.digest]
            return Recorded(held, not before.is_good)

        outcome = await self._database.run(work)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

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

    async def claim(
        self, tenant: str, digests: Sequence[Digest], end_user: str, now: float
    ) -> set[Digest]:
        """Note that live grants are for an end user too; return those that are.

        Writes nothing where all are already.
        """

        def known(connection: Connection) -> set[Digest]:
            return {d for d in digests if has_claim(connection, tenant, d, end_user)}

        def work(connection: Connection) -> set[Digest]:
            live = {d for d in digests if has_live_hold(connection, tenant, d, now)}
            for digest in live:
                put_claim(connection, tenant, digest, end_user, now)
            return live

        claimed = await self._database.read(known)
        return claimed if len(claimed) == len(digests) else await self._database.run(work)

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
                remove_grant(connection, tenant, digest, now)
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

    async def end_prompt_holds(
        self, tenant: str, ended: Sequence[tuple[Digest, str]], now: float
    ) -> None:
        """Remove the hold of each blob by a message, and grants that nothing else holds."""

        def work(connection: Connection) -> None:
            for blob, prompt in ended:
                end_prompt_hold(connection, tenant, blob, prompt, now)

        await self._database.run(work)

    async def quarantine(self, digest: Digest, generation: int, now: float) -> bool:
        """Take the blob out of every answer, unless its bytes were replaced since.

        Returns whether it did.
        """
        return await self._alter(digest, generation, state=BlobState.QUARANTINED, state_since=now)

    async def mend(
        self, digest: Digest, generation: int, *, size: int, checksums: bytes, seed_version: int
    ) -> bool:
        """Write what was found of bytes that are right; return whether they are still those."""
        return await self._alter(
            digest, generation, size=size, checksums=checksums, seed_version=seed_version
        )

    async def blob(self, digest: Digest) -> BlobFacts | None:
        """Return a blob's row, whoever holds it."""
        return await self._database.read(lambda c: find_blob(c, digest))

    async def check(self, now: float) -> None:
        """Ask what everything asks the index, for a tenant that has nothing.

        Raises:
            StoreClosedError, StoreUnavailableError: there is no answer.
        """
        await self._database.read(lambda c: newest_held(c, "", now, 1, None))

    async def totals(self) -> Totals:
        """Return the sums that the index keeps."""
        return await self._database.read(read_totals)

    async def tenant_bytes(self, tenant: str, now: float) -> int:
        """Return what counts against the tenant's quota: its grants, and what open uploads claim."""
        return await self._database.read(lambda c: used_bytes_of(c, tenant, now))

    async def stored_bytes(self) -> int:
        """Return the bytes of all blobs, and what open uploads claim."""
        return await self._database.read(lambda c: read_totals(c).blob_bytes + all_claimed_bytes(c))

    async def end_holds_of(self, tenant: str, now: float) -> None:
        """Do for one tenant what a sweep does first: end the grants that nothing holds."""
        before = now - GRACE_SECONDS
        while (
            await self._database.run(lambda c: end_holds(c, before, now=now, tenant=tenant))
        ).holds:
            pass

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


def _begun(
    grant: NewGrant, blob: NewBlob, generation: int, now: float, lease_expires_at: float
) -> HeldBlob:
    """Return a grant that begins now, with nothing but a lease."""
    begun = Grant(
        tenant=grant.tenant,
        digest=blob.digest,
        size=blob.size,
        declared_type=grant.declared_type,
        sniffed_type=blob.sniffed_type,
        width=blob.width,
        height=blob.height,
        frames=blob.frames,
        created_at=now,
        generation=generation,
        lease_expires_at=lease_expires_at,
        pinned=False,
    )
    return HeldBlob(begun, blob.checksums, blob.seed_version, lease_expires_at)
