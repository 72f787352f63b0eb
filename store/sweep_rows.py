"""What the sweep reads and removes in the index, a bounded step at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
)

from coatcheck.protocol import Digest

from .grant import Hold
from .held import is_live
from .prepared import Prepared, Row
from .schema import BlobState, HoldKind, blobs, grants, holds

PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class LeavingBlob:
    """A blob that is condemned or in quarantine."""

    digest: Digest
    size: int
    state: BlobState
    state_since: float
    generation: int


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant with all its holds, those that ended included."""

    tenant: str
    digest: Digest
    size: int
    holds: Sequence[Hold]


@dataclass(frozen=True, slots=True)
class BlobRow:
    """A blob, and how many grants it has that stay."""

    digest: Digest
    size: int
    state: BlobState
    state_since: float
    grants: int


# SQLite uses the index of what leaves only where the query says so in these words.
_is_leaving: ColumnElement[bool] = literal_column("state != 'live'")
_due = Prepared(
    select(blobs.c.digest, blobs.c.size, blobs.c.state, blobs.c.state_since, blobs.c.generation)
    .where(
        _is_leaving,
        blobs.c.state == bindparam("in_state", type_=String),
        tuple_(blobs.c.state_since, blobs.c.digest)
        > tuple_(bindparam("after_since", type_=Float), bindparam("after", type_=String)),
        blobs.c.state_since <= bindparam("before", type_=Float),
    )
    .order_by(blobs.c.state_since, blobs.c.digest)
    .limit(bindparam("limit", type_=Integer))
)
_has_no_grant = ~exists().where(grants.c.digest == blobs.c.digest)
_remove = Prepared(
    delete(blobs).where(
        blobs.c.digest == bindparam("of_digest", type_=String),
        blobs.c.generation == bindparam("of_generation", type_=Integer),
        blobs.c.state == bindparam("in_state", type_=String),
        _has_no_grant,
    )
)
_state_of = Prepared(
    select(blobs.c.state, blobs.c.state_since).where(
        blobs.c.digest == bindparam("of_digest", type_=String)
    )
)
_grants = Prepared(
    select(grants.c.tenant, grants.c.digest, blobs.c.size)
    .join(blobs, blobs.c.digest == grants.c.digest)
    .where(
        tuple_(grants.c.tenant, grants.c.digest)
        > tuple_(bindparam("after_tenant", type_=String), bindparam("after", type_=String))
    )
    .order_by(grants.c.tenant, grants.c.digest)
    .limit(bindparam("limit", type_=Integer))
)
_holds_of = Prepared(
    select(holds.c.kind, holds.c.name, holds.c.purpose, holds.c.expires_at)
    .where(
        holds.c.tenant == bindparam("of_tenant", type_=String),
        holds.c.digest == bindparam("of_digest", type_=String),
    )
    .order_by(holds.c.kind, holds.c.name)
)
_blobs = Prepared(
    select(
        blobs.c.digest,
        blobs.c.size,
        blobs.c.state,
        blobs.c.state_since,
        select(func.count())
        .select_from(grants)
        .where(
            grants.c.digest == blobs.c.digest,
            exists().where(
                holds.c.tenant == grants.c.tenant,
                holds.c.digest == grants.c.digest,
                is_live(bindparam("ended_before", type_=Float)),
            ),
        )
        .scalar_subquery(),
    )
    .where(blobs.c.digest > bindparam("after", type_=String))
    .order_by(blobs.c.digest)
    .limit(bindparam("limit", type_=Integer))
)


def find_leaving(
    connection: Connection, state: BlobState, before: float, after: LeavingBlob | None
) -> list[LeavingBlob]:
    """Return some blobs in this state since before then, longest first, behind the one given."""
    rows = _due.run(
        connection,
        {
            "in_state": state,
            "before": before,
            "after_since": after.state_since if after else -1.0,
            "after": after.digest if after else "",
            "limit": PAGE_ROWS,
        },
    )
    return [
        LeavingBlob(Digest(digest), size, BlobState(state), since, generation)
        for digest, size, state, since, generation in rows
    ]


def remove_blob(connection: Connection, blob: LeavingBlob) -> bool:
    """Remove the row, unless the blob was revived, uploaded or granted since it was read."""
    values: Row = {
        "of_digest": blob.digest,
        "of_generation": blob.generation,
        "in_state": blob.state,
    }
    return _remove.change(connection, values) == 1


def state_of(connection: Connection, digest: Digest) -> tuple[BlobState, float] | None:
    """Return a blob's state and since when it is in it; None where there is no row."""
    rows = _state_of.run(connection, {"of_digest": digest})
    return (BlobState(rows[0][0]), rows[0][1]) if rows else None


def grants_after(connection: Connection, place: tuple[str, str]) -> list[GrantRow]:
    """Return some grants with their holds, behind this tenant and digest."""
    rows = _grants.run(
        connection, {"after_tenant": place[0], "after": place[1], "limit": PAGE_ROWS}
    )
    return [
        GrantRow(tenant, Digest(digest), size, _holds(connection, tenant, digest))
        for tenant, digest, size in rows
    ]


def blobs_after(connection: Connection, place: str, ended_before: float) -> list[BlobRow]:
    """Return some blobs, behind this digest; grants whose holds ended before this time go."""
    rows = _blobs.run(
        connection, {"after": place, "ended_before": ended_before, "limit": PAGE_ROWS}
    )
    return [
        BlobRow(Digest(digest), size, BlobState(state), since, count)
        for digest, size, state, since, count in rows
    ]


def _holds(connection: Connection, tenant: str, digest: str) -> list[Hold]:
    rows = _holds_of.run(connection, {"of_tenant": tenant, "of_digest": digest})
    return [Hold(HoldKind(kind), name, purpose, end) for kind, name, purpose, end in rows]
