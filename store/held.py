"""The one question everything asks the index: which of these blobs does the tenant hold now?

A grant is live while one of its holds is, and answers only while its blob's bytes are good. The
question begins at the tenant's own grants and goes on to blobs from there, so that it costs the
same for a blob that another tenant holds and for one that nobody has.
"""

import math
from collections.abc import Iterable
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    false,
    func,
    or_,
    select,
)

from coatcheck.protocol import Digest

from .grant import Grant, HeldBlob
from .schema import BlobState, HoldKind, blobs, grants, holds


def is_live(now: float) -> ColumnElement[bool]:
    """The condition under which a row of `holds` still holds."""
    return or_(holds.c.expires_at.is_(None), holds.c.expires_at > now)


def select_held(tenant: str, now: float) -> Select[Any]:
    """The tenant's live grants, a row each for `held_blob`, to be narrowed and ordered."""
    is_lease = holds.c.kind == HoldKind.LEASE
    return (
        select(
            grants.c.tenant,
            grants.c.digest,
            grants.c.media_type,
            grants.c.created_at,
            blobs.c.size,
            blobs.c.sniffed_type,
            blobs.c.width,
            blobs.c.height,
            blobs.c.frames,
            blobs.c.checksums,
            blobs.c.seed_version,
            blobs.c.generation,
            func.max(case((is_lease, holds.c.expires_at))).label("lease_expires_at"),
            func.max(holds.c.kind == HoldKind.PIN).label("pinned"),
            func.max(holds.c.expires_at).label("expires_at"),
            func.max(holds.c.expires_at.is_(None)).label("unending"),
        )
        .select_from(grants)
        .join(holds, and_(holds.c.tenant == grants.c.tenant, holds.c.digest == grants.c.digest))
        .join(blobs, blobs.c.digest == grants.c.digest)
        .where(grants.c.tenant == tenant, is_live(now), blobs.c.state == BlobState.LIVE)
        .group_by(grants.c.tenant, grants.c.digest)
    )


def find_held(
    connection: Connection, tenant: str, digests: Iterable[Digest], now: float
) -> dict[Digest, HeldBlob]:
    """Those of the digests that the tenant holds."""
    wanted = list(digests)
    condition = grants.c.digest.in_(wanted) if wanted else false()
    found = (held_blob(row) for row in connection.execute(select_held(tenant, now).where(condition)))
    return {held.grant.digest: held for held in found}


def held_blob(row: Row[Any]) -> HeldBlob:
    """Reads a row of `select_held`."""
    grant = Grant(
        tenant=row.tenant,
        digest=Digest(row.digest),
        size=row.size,
        declared_type=row.media_type,
        sniffed_type=row.sniffed_type,
        width=row.width,
        height=row.height,
        frames=row.frames,
        created_at=row.created_at,
        generation=row.generation,
        lease_expires_at=row.lease_expires_at,
        pinned=bool(row.pinned),
    )
    held_until = math.inf if row.unending else float(row.expires_at)
    return HeldBlob(grant, row.checksums, row.seed_version, held_until)
