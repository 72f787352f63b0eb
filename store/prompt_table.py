"""Kept messages in SQL: a row for each, pointing at the one before. Statements are built once.

A row expires no earlier than any row behind it, because whoever extends a row extends the rows
before it to the same time. So a list is whole as long as its last row lives. A row whose parent was
erased is not written any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    null,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest

from .prompt_checksum import prompt_checksum
from .schema import prompts

_ROWS_AT_ONCE = 200

MESSAGE_BYTES = 1000
"""What a message takes beside its text: as it is read, waits, and in its row."""
NAME_BYTES = 200
"""What each blob takes that it names: as it is read, in its row, and in its hold."""


@dataclass(frozen=True, slots=True)
class PromptKey:
    """What names a prompt: the same digest of another tenant or dialect is another prompt."""

    tenant: str
    dialect: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PromptRow:
    """One kept message."""

    key: PromptKey
    parent: Digest
    depth: int
    text: str
    list_bytes: int
    blobs: tuple[Digest, ...]
    created_at: float
    expires_at: float
    end_user: str | None = None
    """Whom it was kept for; None: its sender did not say."""


@dataclass(frozen=True, slots=True)
class PromptHead:
    """What appending to a prompt takes to know of it."""

    depth: int
    list_bytes: int
    expires_at: float


@dataclass(frozen=True, slots=True)
class Expansion:
    """A prompt's messages, oldest first, and its last row."""

    texts: list[str]
    head: PromptHead


class DamagedRowError(Exception):
    """A row fails its checksum. It does not leave the store.

    What names it may have rotted too.
    """

    def __init__(self, tenant: str, dialect: str, digest: str) -> None:
        self.named: dict[str, str | float] = {
            "of_tenant": tenant,
            "of_dialect": dialect,
            "of_digest": digest,
        }
        super().__init__(f"the message of {digest} is not what was kept")


_is_last = and_(
    prompts.c.tenant == bindparam("of_tenant", type_=String),
    prompts.c.dialect == bindparam("of_dialect", type_=String),
    prompts.c.digest == bindparam("of_digest", type_=String),
)
# The rows of a list, from the last one back. The depth ends it even in a damaged table.
_last = select(prompts).where(_is_last).cte("chain", recursive=True)
_chain = _last.union_all(
    select(prompts).join(
        _last,
        and_(
            prompts.c.tenant == _last.c.tenant,
            prompts.c.dialect == _last.c.dialect,
            prompts.c.digest == _last.c.parent,
            prompts.c.depth == _last.c.depth - 1,
        ),
    )
)

_find_head = select(prompts.c.depth, prompts.c.list_bytes, prompts.c.expires_at).where(
    _is_last, prompts.c.expires_at > bindparam("now", type_=Float)
)
_checked = (
    *(_chain.c.tenant, _chain.c.dialect, _chain.c.digest, _chain.c.parent),
    *(_chain.c.depth, _chain.c.text, _chain.c.list_bytes, _chain.c.blobs),
)
_expand = select(*_checked, _chain.c.checksum, _chain.c.expires_at).order_by(_chain.c.depth)
_named_blobs = select(_chain.c.digest, _chain.c.blobs).where(_chain.c.blobs != "")
_extend = (
    update(prompts)
    .where(
        tuple_(prompts.c.tenant, prompts.c.dialect, prompts.c.digest).in_(
            select(_chain.c.tenant, _chain.c.dialect, _chain.c.digest)
        ),
        prompts.c.expires_at < bindparam("until", type_=Float),
    )
    .values(expires_at=bindparam("until", type_=Float))
)
# Leaves first: no row expires before one behind it, and of those that expire together the deeper goes.
_ended = (
    select(prompts.c.tenant, prompts.c.dialect, prompts.c.digest)
    .where(prompts.c.expires_at <= bindparam("before", type_=Float))
    .order_by(prompts.c.expires_at, prompts.c.depth.desc())
    .limit(_ROWS_AT_ONCE)
)
_remove_ended = delete(prompts).where(
    tuple_(prompts.c.tenant, prompts.c.dialect, prompts.c.digest).in_(_ended)
)
_count_live = (
    select(func.count()).select_from(prompts).where(prompts.c.expires_at > bindparam("now"))
)
_remove = delete(prompts).where(_is_last)
_COLUMNS = [column.name for column in prompts.c]
_parent = prompts.alias("parent")
_insert = insert(prompts).from_select(
    _COLUMNS,
    select(*(bindparam(column.name, type_=column.type) for column in prompts.c)).where(
        or_(
            bindparam("depth", type_=Integer) == 1,
            exists().where(
                _parent.c.tenant == bindparam("tenant", type_=String),
                _parent.c.dialect == bindparam("dialect", type_=String),
                _parent.c.digest == bindparam("parent", type_=String),
            ),
        )
    ),
)
# What two end users sent alike is neither's alone.
_put = _insert.on_conflict_do_update(
    index_elements=[prompts.c.tenant, prompts.c.dialect, prompts.c.digest],
    set_={
        "expires_at": func.max(prompts.c.expires_at, _insert.excluded.expires_at),
        "end_user": case(
            (prompts.c.end_user == _insert.excluded.end_user, prompts.c.end_user), else_=null()
        ),
    },
)


def message_bytes(text: str, blobs: Sequence[Digest]) -> int:
    """Return how many bytes a message takes at most, in memory or in the table."""
    count = len(text) if text.isascii() else len(text.encode())
    return count + MESSAGE_BYTES + NAME_BYTES * len(blobs)


def find_head(connection: Connection, key: PromptKey, now: float) -> PromptHead | None:
    """Return the prompt's last row, if it lives."""
    row = connection.execute(_find_head, _named(key) | {"now": now}).one_or_none()
    return None if row is None else PromptHead(row.depth, row.list_bytes, row.expires_at)


def expand(connection: Connection, key: PromptKey) -> Expansion | None:
    """Return all of the prompt in one query, if it is there and whole; it may have expired.

    Raises:
        DamagedRowError: a row of it is not what was written.
    """
    rows = connection.execute(_expand, _named(key)).all()
    for row in rows:
        if row.checksum != prompt_checksum(*row[: len(_checked)]):
            raise DamagedRowError(row.tenant, row.dialect, row.digest)
    if not rows or rows[-1].depth != len(rows):
        return None
    last = rows[-1]
    return Expansion(
        [row.text for row in rows], PromptHead(last.depth, last.list_bytes, last.expires_at)
    )


def put_rows(connection: Connection, rows: Sequence[PromptRow]) -> int:
    """Add rows, each behind its parent; return how many.

    One that is there keeps its text and takes the later expiry. One whose parent is gone is left out,
    and so is what follows it.
    """
    return connection.execute(
        _put,
        [
            {
                "tenant": row.key.tenant,
                "dialect": row.key.dialect,
                "digest": row.key.digest,
                "parent": row.parent,
                "depth": row.depth,
                "text": row.text,
                "list_bytes": row.list_bytes,
                "blobs": " ".join(row.blobs),
                "created_at": row.created_at,
                "expires_at": row.expires_at,
                "end_user": row.end_user,
                "checksum": _checksum(row),
            }
            for row in rows
        ],
    ).rowcount


def named_blobs(connection: Connection, key: PromptKey) -> list[tuple[Digest, Digest]]:
    """Return each prompt digest of the list with each blob that its message names."""
    rows = connection.execute(_named_blobs, _named(key)).all()
    return [(Digest(row.digest), Digest(blob)) for row in rows for blob in row.blobs.split(" ")]


def extend(connection: Connection, key: PromptKey, expires_at: float) -> None:
    """Extend the list's last row and all before it."""
    connection.execute(_extend, _named(key) | {"until": expires_at})


def remove_ended(connection: Connection, before: float) -> int:
    """Remove some of the rows that expired before this time, leaves first; return how many."""
    return connection.execute(_remove_ended, {"before": before}).rowcount


def remove(connection: Connection, damaged: DamagedRowError) -> None:
    """Remove a row, so that the next append of its message writes it anew."""
    connection.execute(_remove, damaged.named)


def count_live(connection: Connection, now: float) -> int:
    """Return how many messages live."""
    return connection.execute(_count_live, {"now": now}).scalar_one()


def _named(key: PromptKey) -> dict[str, str | float]:
    return {"of_tenant": key.tenant, "of_dialect": key.dialect, "of_digest": key.digest}


def _checksum(row: PromptRow) -> bytes:
    return prompt_checksum(
        row.key.tenant,
        row.key.dialect,
        row.key.digest,
        row.parent,
        row.depth,
        row.text,
        row.list_bytes,
        " ".join(row.blobs),
    )
