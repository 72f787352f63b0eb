"""The one question everything asks the index: which of these blobs does the tenant hold now?

A grant is live while one of its holds is, and answers only while its blob's bytes are good. The
question begins at the tenant's own grants and goes on to blobs from there, so that it costs the
same for a blob that another tenant holds and for one that nobody has.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    or_,
    select,
    tuple_,
)

from coatcheck.protocol import Digest

from .grant import Grant, HeldBlob
from .prepared import Prepared
from .schema import BlobState, HoldKind, blobs, grants, holds


def is_live(now: float | BindParameter[float]) -> ColumnElement[bool]:
    """Return the condition under which a row of `holds` still holds."""
    return or_(holds.c.expires_at.is_(None), holds.c.expires_at > now)


# Built once, because building costs several times what SQLite takes to answer.
_is_lease = holds.c.kind == HoldKind.LEASE
_held = (
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
        func.max(case((_is_lease, holds.c.expires_at))).label("lease_expires_at"),
        func.max(holds.c.kind == HoldKind.PIN).label("pinned"),
        func.max(holds.c.expires_at).label("expires_at"),
        func.max(holds.c.expires_at.is_(None)).label("unending"),
    )
    .select_from(grants)
    .join(holds, and_(holds.c.tenant == grants.c.tenant, holds.c.digest == grants.c.digest))
    .join(blobs, blobs.c.digest == grants.c.digest)
    .where(
        grants.c.tenant == bindparam("tenant"),
        is_live(bindparam("now", type_=Float)),
        blobs.c.state == BlobState.LIVE,
    )
    .group_by(grants.c.tenant, grants.c.digest)
)
_held_of = Prepared(_held.where(grants.c.digest == bindparam("digest")))
# Walks the tenant's grants in the order of their index and stops at the limit.
_newest = (
    select(grants.c.digest)
    .where(
        grants.c.tenant == bindparam("tenant"),
        exists().where(
            holds.c.tenant == grants.c.tenant,
            holds.c.digest == grants.c.digest,
            is_live(bindparam("now", type_=Float)),
        ),
        exists().where(blobs.c.digest == grants.c.digest, blobs.c.state == BlobState.LIVE),
    )
    .order_by(grants.c.created_at.desc(), grants.c.digest.desc())
    .limit(bindparam("limit", type_=Integer))
)
_newest_after = _newest.where(
    tuple_(grants.c.created_at, grants.c.digest)
    < tuple_(bindparam("created_at", type_=Float), bindparam("after", type_=String))
)


def find_held(
    connection: Connection, tenant: str, digests: Iterable[Digest], now: float
) -> dict[Digest, HeldBlob]:
    """Return those of the digests that the tenant holds."""
    held: dict[Digest, HeldBlob] = {}
    for digest in digests:
        for row in _held_of.run(connection, {"tenant": tenant, "now": now, "digest": digest}):
            held[digest] = _held_blob(_Row(*row))
    return held


def newest_held(
    connection: Connection,
    tenant: str,
    now: float,
    limit: int,
    after: tuple[float, Digest] | None,
) -> list[HeldBlob]:
    """Return the tenant's newest grants, or those behind the one with this time and digest."""
    values = {"tenant": tenant, "now": now, "limit": limit}
    if after is None:
        digests = connection.execute(_newest, values).scalars().all()
    else:
        place = {"created_at": after[0], "after": after[1]}
        digests = connection.execute(_newest_after, values | place).scalars().all()
    held = find_held(connection, tenant, map(Digest, digests), now)
    return [held[Digest(digest)] for digest in digests]


class _Row(NamedTuple):
    """What `_held` selects, in its order."""

    tenant: str
    digest: str
    media_type: str | None
    created_at: float
    size: int
    sniffed_type: str | None
    width: int | None
    height: int | None
    frames: int | None
    checksums: bytes
    seed_version: int
    generation: int
    lease_expires_at: float | None
    pinned: int
    expires_at: float | None
    unending: int


def _held_blob(row: _Row) -> HeldBlob:
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
    held_until = math.inf if row.unending or row.expires_at is None else row.expires_at
    return HeldBlob(grant, row.checksums, row.seed_version, held_until)
