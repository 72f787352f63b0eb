"""The rows of the cache's index. Every change of a table changes its sums in the same transaction."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from coatcheck.protocol import Digest

from .schema import copies, reservations, sums

_SUMS = 1  # the id of the one row
_CHUNK = 64

# Built once, because building costs more than what SQLite takes to answer.
_find = select(copies).where(copies.c.digest == bindparam("wanted"))
_note = (
    update(copies)
    .where(copies.c.digest == bindparam("wanted"))
    .values(
        hits=copies.c.hits + bindparam("more"),
        last_used_at=func.max(copies.c.last_used_at, bindparam("used")),
        verified_at=func.max(copies.c.verified_at, bindparam("verified")),
    )
)


@dataclass(frozen=True, slots=True)
class Copy:
    """A blob's copy. `allocated` is what its file takes; times are unix seconds."""

    digest: Digest
    size: int
    allocated: int
    checksums: bytes
    sniffed_type: str | None
    hits: int
    last_used_at: float
    verified_at: float


@dataclass(frozen=True, slots=True)
class Sums:
    """All copies together. `reserved` is for blobs that are being fetched."""

    copies: int
    bytes: int
    allocated: int
    reserved: int


@dataclass(slots=True)
class Use:
    """What is to be noted of a copy: uses since the last note, the last of them, a whole read."""

    hits: int = 0
    last_used_at: float = 0.0
    verified_at: float = 0.0


def settle_seed(connection: Connection, fresh: bytes) -> bytes:
    """Return the seed of the checksums; a new index takes `fresh`."""
    known = connection.execute(select(sums.c.seed)).scalar_one_or_none()
    if known is not None:
        return bytes(known)
    row = {"id": _SUMS, "seed": fresh, "copies": 0, "bytes": 0, "allocated": 0, "reserved": 0}
    connection.execute(insert(sums), row)
    return fresh


def read_sums(connection: Connection) -> Sums:
    """Return the sums."""
    row = connection.execute(select(sums)).one()
    return Sums(row.copies, row.bytes, row.allocated, row.reserved)


def find_copy(connection: Connection, digest: Digest) -> Copy | None:
    """Return the row of a copy."""
    row = connection.execute(_find, {"wanted": digest}).one_or_none()
    return None if row is None else Copy(Digest(row.digest), *row[1:])


def put_copy(connection: Connection, copy: Copy) -> None:
    """Add a row, in place of one that is there."""
    drop_copy(connection, copy.digest)
    values = {column.name: getattr(copy, column.name) for column in copies.columns}
    connection.execute(insert(copies), values)
    _add(connection, copies=1, bytes=copy.size, allocated=copy.allocated)


def drop_copy(connection: Connection, digest: Digest) -> bool:
    """Remove a row; return whether there was one."""
    copy = find_copy(connection, digest)
    if copy is None:
        return False
    connection.execute(delete(copies).where(copies.c.digest == digest))
    _add(connection, copies=-1, bytes=-copy.size, allocated=-copy.allocated)
    return True


def set_allocated(connection: Connection, copy: Copy, allocated: int) -> None:
    """Correct what a copy takes."""
    connection.execute(
        update(copies).where(copies.c.digest == copy.digest).values(allocated=allocated)
    )
    _add(connection, allocated=allocated - copy.allocated)


def put_reservation(connection: Connection, digest: Digest, count: int) -> None:
    """Set bytes aside for a blob, in place of what was."""
    drop_reservation(connection, digest)
    connection.execute(insert(reservations), {"digest": digest, "bytes": count})
    _add(connection, reserved=count)


def drop_reservation(connection: Connection, digest: Digest) -> int:
    """End a reservation; return how many bytes it had."""
    row = reservations.c.digest == digest
    count = connection.execute(select(reservations.c.bytes).where(row)).scalar_one_or_none()
    if count is None:
        return 0
    connection.execute(delete(reservations).where(row))
    _add(connection, reserved=-count)
    return int(count)


def reserved_digests(connection: Connection) -> list[Digest]:
    """Return what room is set aside for."""
    return [Digest(name) for name in connection.execute(select(reservations.c.digest)).scalars()]


def longest_unused(connection: Connection) -> Generator[Copy]:
    """Yield the copies, the one used longest ago first. Close it before anything is removed."""
    ordered = select(copies).order_by(copies.c.last_used_at, copies.c.digest)
    with connection.execute(ordered, execution_options={"yield_per": _CHUNK}) as found:
        for row in found:
            yield Copy(Digest(row.digest), *row[1:])


def newest_used(connection: Connection, limit: int) -> list[Copy]:
    """Return up to `limit` copies, the one used last first."""
    ordered = select(copies).order_by(copies.c.last_used_at.desc(), copies.c.digest).limit(limit)
    return [Copy(Digest(row.digest), *row[1:]) for row in connection.execute(ordered)]


def note_uses(connection: Connection, uses: Sequence[tuple[Digest, Use]]) -> None:
    """Add what was noted; copies that are gone have nothing to add to."""
    connection.execute(
        _note,
        [
            {
                "wanted": digest,
                "more": use.hits,
                "used": use.last_used_at,
                "verified": use.verified_at,
            }
            for digest, use in uses
        ],
    )


def _add(connection: Connection, **changes: int) -> None:
    values = {name: sums.c[name] + change for name, change in changes.items()}
    connection.execute(update(sums).values(values))
