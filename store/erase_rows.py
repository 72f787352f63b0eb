"""What an erasure reads and removes in the index, one grant at a time.

A grant that ends with its blob's bytes ends in two steps, the bytes between them. The first leaves it
dead, with its claims: who comes back after a crash finds it again, and nobody can use it or claim it.
"""

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    Connection,
    Integer,
    String,
    bindparam,
    delete,
    exists,
    func,
    select,
    update,
)

from coatcheck.protocol import Digest

from .index_rows import remove_grant
from .prepared import Prepared, Row
from .schema import blobs, end_users, grants, holds, tenants, uploads

PAGE_ROWS: Final = 320


class Fate(StrEnum):
    """What the first step made of a grant."""

    GONE = "gone"
    """There was none."""
    KEPT = "kept"
    """It is another end user's too, or nobody's in particular: only the claim is gone."""
    ENDED = "ended"
    """It is gone; others hold the blob."""
    DEAD = "dead"
    """It is dead and was the blob's only one: the bytes go now, then `finish`."""


_tenant = bindparam("of_tenant", type_=String)
_digest = bindparam("of_digest", type_=String)
_end_user = bindparam("of_end_user", type_=String)
_limit = bindparam("limit", type_=Integer)
_find_grants = Prepared(select(grants.c.digest).where(grants.c.tenant == _tenant).limit(_limit))
_find_claims = Prepared(
    select(end_users.c.digest)
    .where(end_users.c.tenant == _tenant, end_users.c.end_user == _end_user)
    .limit(_limit)
)
_is_unnamed = Prepared(
    select(grants.c.unnamed).where(grants.c.tenant == _tenant, grants.c.digest == _digest)
)
_claims = Prepared(
    select(end_users.c.end_user).where(end_users.c.tenant == _tenant, end_users.c.digest == _digest)
)
_delete_claim = Prepared(
    delete(end_users).where(
        end_users.c.tenant == _tenant,
        end_users.c.digest == _digest,
        end_users.c.end_user == _end_user,
    )
)
_is_held_by_others = Prepared(
    select(exists().where(grants.c.digest == _digest, grants.c.tenant != _tenant))
)
# Long ago, so that no message that was kept while it lived gives it another hold.
_end_holds = Prepared(
    update(holds).where(holds.c.tenant == _tenant, holds.c.digest == _digest).values(expires_at=0.0)
)
_size = Prepared(select(blobs.c.size).where(blobs.c.digest == _digest))
_remove_blob = Prepared(
    delete(blobs).where(
        blobs.c.digest == _digest, ~exists().where(grants.c.digest == blobs.c.digest)
    )
)
_remove_tenant = Prepared(
    delete(tenants).where(
        tenants.c.tenant == _tenant, ~exists().where(grants.c.tenant == tenants.c.tenant)
    )
)


_of_tenant = tuple(
    Prepared(select(func.count()).select_from(table).where(table.c.tenant == _tenant))
    for table in (tenants, grants, holds, end_users, uploads)
)
_of_end_user = tuple(
    Prepared(
        select(func.count())
        .select_from(table)
        .where(table.c.tenant == _tenant, table.c.end_user == _end_user)
    )
    for table in (end_users, uploads)
)


def find_digests(connection: Connection, tenant: str, end_user: str | None) -> list[Digest]:
    """Return some blobs that the tenant has a grant for, or that it uploaded for an end user."""
    values: Row = {"of_tenant": tenant, "limit": PAGE_ROWS}
    if end_user is None:
        rows = _find_grants.run(connection, values)
    else:
        rows = _find_claims.run(connection, {**values, "of_end_user": end_user})
    return [Digest(row[0]) for row in rows]


def begin(
    connection: Connection, tenant: str, digest: Digest, end_user: str | None, now: float
) -> Fate:
    """Take the first step; an end user's grant ends only where it is nobody else's."""
    of_grant: Row = {"of_tenant": tenant, "of_digest": digest}
    unnamed = _is_unnamed.run(connection, of_grant)
    if not unnamed:
        return Fate.GONE
    if end_user is not None:
        claims = {row[0] for row in _claims.run(connection, of_grant)}
        if end_user not in claims:
            return Fate.GONE
        if unnamed[0][0] or len(claims) > 1:
            _delete_claim.run(connection, {**of_grant, "of_end_user": end_user})
            return Fate.KEPT
    if _is_held_by_others.run(connection, of_grant)[0][0]:
        remove_grant(connection, tenant, digest, now)
        return Fate.ENDED
    _end_holds.run(connection, of_grant)
    return Fate.DEAD


def finish(connection: Connection, tenant: str, digest: Digest, now: float) -> int:
    """Remove the dead grant and its blob's row; return the bytes that the blob had.

    Call it under the lock that keeps uploads of the blob away since `begin`.
    """
    size = _size.run(connection, {"of_digest": digest})
    remove_grant(connection, tenant, digest, now)
    _remove_blob.run(connection, {"of_digest": digest})
    return int(size[0][0]) if size else 0


def remove_tenant(connection: Connection, tenant: str) -> None:
    """Forget that there is such a tenant, unless it has a grant."""
    _remove_tenant.run(connection, {"of_tenant": tenant})


def count_rows(connection: Connection, tenant: str, end_user: str | None) -> int:
    """Return how many rows name the tenant, its keys apart, or the end user."""
    if end_user is None:
        return sum(count.run(connection, {"of_tenant": tenant})[0][0] for count in _of_tenant)
    values: Row = {"of_tenant": tenant, "of_end_user": end_user}
    return sum(count.run(connection, values)[0][0] for count in _of_end_user)
