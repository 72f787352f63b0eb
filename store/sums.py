"""The sums that the index keeps, and what they leave room for.

Triggers keep them with the rows, so asking costs the same however many rows there are.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, String, bindparam, func, select

from .errors import QuotaExceededError
from .prepared import Prepared
from .schema import BlobState, blob_totals, tenants
from .upload_table import claimed_bytes


@dataclass(frozen=True, slots=True)
class Totals:
    """The index in numbers: sums that it keeps, so that asking costs the same however large it is."""

    blobs: int
    """Live and condemned."""
    blob_bytes: int
    condemned_blobs: int
    condemned_bytes: int
    quarantined_blobs: int
    grants: int
    """Live ones, and those that no sweep has met yet since their last hold ended."""


_totals = Prepared(select(blob_totals.c.state, blob_totals.c.blobs, blob_totals.c.bytes))
_grants = Prepared(select(func.coalesce(func.sum(tenants.c.grants), 0)))
_grant_bytes = Prepared(
    select(tenants.c.grant_bytes).where(tenants.c.tenant == bindparam("tenant", type_=String))
)


def read_totals(connection: Connection) -> Totals:
    """Return the sums over all tenants."""
    rows = _totals.run(connection, {})
    count = {state: int(blobs) for state, blobs, _ in rows}
    size = {state: int(total) for state, _, total in rows}
    present = (BlobState.LIVE, BlobState.CONDEMNED)
    return Totals(
        blobs=sum(count[state] for state in present),
        blob_bytes=sum(size[state] for state in present),
        condemned_blobs=count[BlobState.CONDEMNED],
        condemned_bytes=size[BlobState.CONDEMNED],
        quarantined_blobs=count[BlobState.QUARANTINED],
        grants=int(_grants.run(connection, {})[0][0]),
    )


def grant_bytes(connection: Connection, tenant: str) -> int:
    """Return the logical bytes of a tenant's grants, those that died a moment ago included."""
    rows = _grant_bytes.run(connection, {"tenant": tenant})
    return int(rows[0][0]) if rows else 0


def used_bytes_of(connection: Connection, tenant: str, now: float) -> int:
    """Return what counts against a tenant's quota: its grants, and what its open uploads claim."""
    return grant_bytes(connection, tenant) + claimed_bytes(connection, tenant, now)


def find_excess(
    connection: Connection, tenant: str, size: int, quota_bytes: int | None, now: float
) -> QuotaExceededError | None:
    """Say why a tenant may not have a further grant of so many bytes; None where it may."""
    if quota_bytes is None:
        return None
    used_bytes = used_bytes_of(connection, tenant, now)
    if used_bytes + size <= quota_bytes:
        return None
    return QuotaExceededError(used_bytes, quota_bytes)
