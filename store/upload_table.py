"""The rows of uploads in parts. What an open one claims counts against quotas and limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    String,
    bindparam,
    delete,
    func,
    insert,
    literal_column,
    or_,
    select,
    tuple_,
    update,
)

from coatcheck.protocol import Digest

from .prepared import Prepared
from .schema import uploads
from .upload import SECTION_MARK, NewUpload, Upload

PAGE_ROWS: Final = 500


@dataclass(frozen=True, slots=True)
class FinishedUpload:
    """An upload whose bytes become a blob in this moment."""

    id: str
    expires_at: float
    """Until when it says where its blob is."""


_of_id = uploads.c.id == bindparam("of_id", type_=String)
_of_tenant = uploads.c.tenant == bindparam("of_tenant", type_=String)
_lives = uploads.c.expires_at > bindparam("now", type_=Float)
# SQLite uses the index of what is open only where the query says so in these words.
_is_open: ColumnElement[bool] = literal_column("digest IS NULL")
# The bytes of sections are claimed by the upload that they belong to.
_is_no_section: ColumnElement[bool] = literal_column(f"id NOT LIKE '%{SECTION_MARK}%'")
_is_section_of: ColumnElement[bool] = uploads.c.id.between(
    bindparam("first", type_=String), bindparam("last", type_=String)
)
_claim = func.coalesce(func.sum(func.max(func.coalesce(uploads.c.length, 0), uploads.c.offset)), 0)
_columns = tuple(column.name for column in uploads.columns)

_insert = Prepared(insert(uploads))
_find = Prepared(select(uploads).where(_of_id, _of_tenant, _lives))
_owner = Prepared(select(uploads.c.tenant).where(_of_id, _lives))
_count_open = Prepared(
    select(func.count()).select_from(uploads).where(_is_open, _of_tenant, _lives, _is_no_section)
)
_is_finished: ColumnElement[bool] = literal_column("digest IS NOT NULL")
_forget_finished = Prepared(
    delete(uploads).where(
        uploads.c.id.in_(
            select(uploads.c.id)
            .where(_is_finished, _of_tenant)
            .order_by(uploads.c.expires_at.desc())
            .limit(-1)
            .offset(bindparam("keep", type_=Integer))
        )
    )
)
_claimed = Prepared(select(_claim).where(_is_open, _of_tenant, _lives, _is_no_section))
_all_claimed = Prepared(select(_claim).where(_is_open, _is_no_section))
_all_open = Prepared(select(uploads.c.id, uploads.c.offset).where(_is_open))
_move = Prepared(
    update(uploads)
    .where(_of_id, _is_open)
    .values(
        offset=bindparam("to_offset", type_=Integer), expires_at=bindparam("until", type_=Float)
    )
)
_declare = Prepared(
    update(uploads).where(_of_id, _is_open).values(length=bindparam("to_length", type_=Integer))
)
_finish = Prepared(
    update(uploads)
    .where(_of_id)
    .values(digest=bindparam("to_digest", type_=String), expires_at=bindparam("until", type_=Float))
)
_reopen = Prepared(update(uploads).where(_of_id).values(digest=None))
_sections = Prepared(
    select(uploads).where(_is_section_of, _is_open, _of_tenant, _lives).order_by(uploads.c.id)
)
_note = Prepared(
    update(uploads)
    .where(_of_id, uploads.c.metadata == bindparam("from_metadata", type_=String))
    .values(metadata=bindparam("to_metadata", type_=String))
)
_remove = Prepared(delete(uploads).where(_of_id))
_remove_open = Prepared(delete(uploads).where(_of_id, _is_open))
_remove_expired = Prepared(delete(uploads).where(_of_id, ~_lives))
_expired = Prepared(
    select(uploads)
    .where(
        ~_lives,
        tuple_(uploads.c.expires_at, uploads.c.id)
        > tuple_(bindparam("after_end", type_=Float), bindparam("after", type_=String)),
    )
    .order_by(uploads.c.expires_at, uploads.c.id)
    .limit(bindparam("limit", type_=Integer))
)


_of_owner = Prepared(
    select(uploads)
    .where(
        _of_tenant,
        uploads.c.id > bindparam("after", type_=String),
        or_(
            bindparam("of_end_user", type_=String).is_(None),
            uploads.c.end_user == bindparam("of_end_user", type_=String),
        ),
    )
    .order_by(uploads.c.id)
    .limit(bindparam("limit", type_=Integer))
)


def insert_upload(
    connection: Connection, upload_id: str, new: NewUpload, *, now: float, expires_at: float
) -> Upload:
    """Add the row of a new upload."""
    upload = Upload(
        id=upload_id,
        tenant=new.tenant,
        length=new.length,
        offset=0,
        media_type=new.media_type,
        promised=new.promised,
        metadata=new.metadata,
        end_user=new.end_user,
        digest=None,
        created_at=now,
        expires_at=expires_at,
    )
    _insert.run(connection, {name: getattr(upload, name) for name in _columns})
    return upload


def find_upload(connection: Connection, upload_id: str, tenant: str, now: float) -> Upload | None:
    """Return the tenant's upload; None for any other id, whosever it is."""
    rows = _find.run(connection, {"of_id": upload_id, "of_tenant": tenant, "now": now})
    return _upload(rows[0]) if rows else None


def find_owner(connection: Connection, upload_id: str, now: float) -> str | None:
    """Return the tenant whose upload this is; None for an id that nobody's has."""
    rows = _owner.run(connection, {"of_id": upload_id, "now": now})
    return str(rows[0][0]) if rows else None


def find_sections(connection: Connection, upload_id: str, tenant: str, now: float) -> list[Upload]:
    """Return the sections of a tenant's upload that are there, in no order that means anything."""
    behind = chr(ord(SECTION_MARK) + 1)
    values: dict[str, str | float] = {
        "first": upload_id + SECTION_MARK,
        "last": upload_id + behind,
        "of_tenant": tenant,
        "now": now,
    }
    return [_upload(row) for row in _sections.run(connection, values)]


def note_metadata(connection: Connection, upload_id: str, before: str, after: str) -> bool:
    """Replace what is kept for the sender; return whether it was `before` and an upload is there."""
    values = {"of_id": upload_id, "from_metadata": before, "to_metadata": after}
    return _note.change(connection, values) == 1


def count_open(connection: Connection, tenant: str, now: float) -> int:
    """Return how many uploads of the tenant are not finished."""
    return int(_count_open.run(connection, {"of_tenant": tenant, "now": now})[0][0])


def forget_finished(connection: Connection, tenant: str, keep: int) -> None:
    """Forget the tenant's finished uploads but for the last so many; their blobs stay."""
    _forget_finished.run(connection, {"of_tenant": tenant, "keep": keep})


def claimed_bytes(connection: Connection, tenant: str, now: float) -> int:
    """Return what the tenant's open uploads have declared, or have received where that is more."""
    return int(_claimed.run(connection, {"of_tenant": tenant, "now": now})[0][0])


def all_claimed_bytes(connection: Connection) -> int:
    """Return what all open uploads claim, those included that have expired and lie there still."""
    return int(_all_claimed.run(connection, {})[0][0])


def all_open(connection: Connection) -> dict[str, int]:
    """Return the offsets of all open uploads by their ids."""
    return {upload_id: int(offset) for upload_id, offset in _all_open.run(connection, {})}


def move_offset(connection: Connection, upload_id: str, offset: int, expires_at: float) -> None:
    """Write how far an open upload has come, and when it expires now."""
    _move.run(connection, {"of_id": upload_id, "to_offset": offset, "until": expires_at})


def declare_length(connection: Connection, upload_id: str, length: int) -> None:
    """Write how long an open upload will be."""
    _declare.run(connection, {"of_id": upload_id, "to_length": length})


def finish_upload(connection: Connection, finished: FinishedUpload, digest: Digest) -> None:
    """Write which blob an upload has become; its claim ends."""
    _finish.run(
        connection,
        {"of_id": finished.id, "to_digest": digest, "until": finished.expires_at},
    )


def reopen_upload(connection: Connection, upload_id: str) -> None:
    """Take `finish_upload` back."""
    _reopen.run(connection, {"of_id": upload_id})


def remove_upload(connection: Connection, upload_id: str) -> None:
    """Remove the row, if it is there."""
    _remove.run(connection, {"of_id": upload_id})


def remove_open(connection: Connection, upload_id: str) -> None:
    """Remove the row, if the upload is not finished."""
    _remove_open.run(connection, {"of_id": upload_id})


def remove_expired(connection: Connection, upload_id: str, now: float) -> bool:
    """Remove the row, if the upload has expired; return whether it did."""
    return _remove_expired.change(connection, {"of_id": upload_id, "now": now}) == 1


def find_expired(connection: Connection, now: float, after: Upload | None) -> list[Upload]:
    """Return some uploads that have expired, longest first, behind the one given."""
    rows = _expired.run(
        connection,
        {
            "now": now,
            "after_end": after.expires_at if after else -1.0,
            "after": after.id if after else "",
            "limit": PAGE_ROWS,
        },
    )
    return [_upload(row) for row in rows]


def find_of(connection: Connection, tenant: str, end_user: str | None, after: str) -> list[Upload]:
    """Return some uploads of a tenant, or of one of its end users, behind an id; in their order.

    Finished ones too, and those that have expired. Reads all rows in the end.
    """
    rows = _of_owner.run(
        connection,
        {"of_tenant": tenant, "of_end_user": end_user, "after": after, "limit": PAGE_ROWS},
    )
    return [_upload(row) for row in rows]


def _upload(row: Sequence[Any]) -> Upload:
    values = dict(zip(_columns, row, strict=True))
    for name in ("promised", "digest"):
        values[name] = values[name] and Digest(values[name])
    return Upload(**values)
