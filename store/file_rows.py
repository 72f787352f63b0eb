"""Files in SQL: holds of kind `file`, each statement built once.

A file's id is found without its digest, by an index over files alone; SQLite uses it only where the
query says in the same words that it wants files.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Select,
    String,
    bindparam,
    delete,
    exists,
    insert,
    literal_column,
    select,
    tuple_,
)

from coatcheck.protocol import Digest

from .held import is_live
from .index_rows import has_live_hold, remove_grant
from .prepared import Prepared, Row
from .schema import BlobState, HoldKind, blobs, holds


@dataclass(frozen=True, slots=True)
class FileRow:
    """A file as its hold has it. Times are unix seconds."""

    id: str
    digest: Digest
    filename: str | None
    purpose: str | None
    created_at: float
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class FilePlace:
    """Where a list goes on: behind the file with these."""

    created_at: float
    id: str


_is_live_file: tuple[ColumnElement[bool], ...] = (
    literal_column("holds.kind = 'file'"),
    holds.c.tenant == bindparam("tenant", type_=String),
    is_live(bindparam("now", type_=Float)),
)
_files = select(
    holds.c.name,
    holds.c.digest,
    holds.c.filename,
    holds.c.purpose,
    holds.c.created_at,
    holds.c.expires_at,
).where(*_is_live_file)
_find = Prepared(_files.where(holds.c.name == bindparam("name", type_=String)))
_add = Prepared(
    insert(holds),
    (
        "tenant",
        "digest",
        "kind",
        "name",
        "purpose",
        "expires_at",
        "created_at",
        "filename",
    ),
)
_delete = Prepared(
    delete(holds).where(
        literal_column("holds.kind = 'file'"),
        holds.c.tenant == bindparam("of_tenant", type_=String),
        holds.c.name == bindparam("of_name", type_=String),
    )
)

_place = tuple_(holds.c.created_at, holds.c.name)
_after = tuple_(bindparam("after_created_at", type_=Float), bindparam("after", type_=String))
# Damaged bytes answer as not found, and so does a file of them.
_listed = _files.where(
    exists().where(blobs.c.digest == holds.c.digest, blobs.c.state == BlobState.LIVE)
)


def _list(
    statement: "Select[tuple[object, ...]]", *, of_purpose: bool, oldest_first: bool
) -> Prepared:
    behind = _place > _after if oldest_first else _place < _after
    if of_purpose:
        statement = statement.where(holds.c.purpose == bindparam("of_purpose", type_=String))
    order = (
        (holds.c.created_at, holds.c.name)
        if oldest_first
        else (holds.c.created_at.desc(), holds.c.name.desc())
    )
    return Prepared(
        statement.where(behind).order_by(*order).limit(bindparam("limit", type_=Integer))
    )


_lists = {
    (of_purpose, oldest_first): _list(_listed, of_purpose=of_purpose, oldest_first=oldest_first)
    for of_purpose in (False, True)
    for oldest_first in (False, True)
}
_NEWEST = FilePlace(1e300, "")  # later than any time
_OLDEST = FilePlace(-1.0, "")


def put_file(connection: Connection, tenant: str, file: FileRow) -> None:
    """Add the file to the tenant's live grant for its blob."""
    row: Row = {
        "tenant": tenant,
        "digest": file.digest,
        "kind": HoldKind.FILE,
        "name": file.id,
        "purpose": file.purpose,
        "expires_at": file.expires_at,
        "created_at": file.created_at,
        "filename": file.filename,
    }
    _add.run(connection, row)


def find_files(
    connection: Connection, tenant: str, ids: Iterable[str], now: float
) -> list[FileRow]:
    """Return the tenant's live files among these ids, in their order."""
    return [
        _row(row)
        for name in ids
        for row in _find.run(connection, {"tenant": tenant, "now": now, "name": name})
    ]


def list_files(
    connection: Connection,
    tenant: str,
    now: float,
    limit: int,
    *,
    after: FilePlace | None,
    purpose: str | None,
    oldest_first: bool,
) -> list[FileRow]:
    """Return the tenant's live files behind a place, by their time of creation."""
    after = after or (_OLDEST if oldest_first else _NEWEST)
    values: dict[str, str | float] = {
        "tenant": tenant,
        "now": now,
        "limit": limit,
        "after_created_at": after.created_at,
        "after": after.id,
    }
    if purpose is not None:
        values["of_purpose"] = purpose
    rows = _lists[purpose is not None, oldest_first].run(connection, values)
    return [_row(row) for row in rows]


def remove_file(connection: Connection, tenant: str, file: FileRow, now: float) -> None:
    """Remove the file, and the grant with it where nothing else holds that."""
    _delete.run(connection, {"of_tenant": tenant, "of_name": file.id})
    if not has_live_hold(connection, tenant, file.digest, now):
        remove_grant(connection, tenant, file.digest, now)


def _row(row: tuple[str, str, str | None, str | None, float, float | None]) -> FileRow:
    name, digest, filename, purpose, created_at, expires_at = row
    return FileRow(name, Digest(digest), filename, purpose, created_at, expires_at)
