"""Kept messages in SQL: a row for each, pointing at the one before. Statements are built once.

A row expires no earlier than any row behind it, because whoever extends a row extends the rows
before it to the same time, the first row first. So a list is whole as long as its last row lives. A
row whose parent was erased is not written any more. Long lists are read by their spans (`prompt_span.py`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
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

from . import prompt_span
from .prompt_checksum import prompt_checksum
from .prompt_row import Expansion, PromptHead, PromptKey, PromptRow
from .prompt_span import SPAN_MESSAGES, Stretch, before, is_last, length
from .schema import prompts

_ROWS_AT_ONCE = 200


class DamagedRowError(Exception):
    """A row fails its checksum. It does not leave the store.

    What names it may have rotted too.
    """

    text = "the message of {} is not what was kept; it has to be sent again"

    def __init__(self, tenant: str, dialect: str, digest: str) -> None:
        self.named = _at(tenant, dialect, digest)
        super().__init__(self.text.format(digest))


class DamagedSpanError(DamagedRowError):
    """A span fails its checksum; its messages have their own rows."""

    text = "the span that ends with {} is not what was kept; its messages are read one by one"


# The rows of a list, from the last one back, or the spans. The depth ends it even in a damaged table.
_row = (*prompts.c, length, before)
_last = select(*_row).where(is_last).cte("chain", recursive=True)
_chain = _last.union_all(
    select(*_row).join(
        _last,
        and_(
            prompts.c.tenant == _last.c.tenant,
            prompts.c.dialect == _last.c.dialect,
            prompts.c.digest == _last.c.before,
            prompts.c.depth == _last.c.depth - _last.c.length,
        ),
    )
)
# Some of its rows, message by message.
_kept = (*(column for column in prompts.c if column.name != "span"),)
_end = select(*_kept).where(is_last).cte("stretch", recursive=True)
_stretch = _end.union_all(
    select(*_kept).join(
        _end,
        and_(
            prompts.c.tenant == _end.c.tenant,
            prompts.c.dialect == _end.c.dialect,
            prompts.c.digest == _end.c.parent,
            prompts.c.depth == _end.c.depth - 1,
            prompts.c.depth > bindparam("of_above", type_=Integer),
        ),
    )
)

_find_head = select(prompts.c.depth, prompts.c.list_bytes, prompts.c.expires_at).where(
    is_last, prompts.c.expires_at > bindparam("now", type_=Float)
)


def _checked(rows: CTE) -> tuple[ColumnElement[Any], ...]:
    """Return what a row's checksum is of, in its order."""
    names = ("tenant", "dialect", "digest", "parent", "depth", "text", "list_bytes", "blobs")
    return tuple(rows.c[name] for name in names)


_CHECKED = 8
_expand = select(
    *_checked(_chain),
    *(_chain.c.checksum, _chain.c.expires_at),
    *(_chain.c.span, _chain.c.span_parent, _chain.c.span_checksum),
).order_by(_chain.c.depth)
_texts = select(*_checked(_stretch), _stretch.c.checksum).order_by(_stretch.c.depth)
_named_blobs = select(_stretch.c.digest, _stretch.c.blobs).where(_stretch.c.blobs != "")
_extend = (
    update(prompts)
    .where(
        tuple_(prompts.c.tenant, prompts.c.dialect, prompts.c.digest).in_(
            select(_stretch.c.tenant, _stretch.c.dialect, _stretch.c.digest)
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
_remove = delete(prompts).where(is_last)
_written = [column for column in prompts.c if not column.name.startswith("span")]
_parent = prompts.alias("parent")
_insert = insert(prompts).from_select(
    [column.name for column in _written],
    select(*(bindparam(column.name, type_=column.type) for column in _written)).where(
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
    texts: list[str] = []
    for row in rows:
        is_sound = row.checksum == prompt_checksum(*row[:_CHECKED])
        if row.span is None or row.span_parent is None:
            if not is_sound:
                raise DamagedRowError(row.tenant, row.dialect, row.digest)
            texts.append(row.text)
        else:
            at = _at(row.tenant, row.dialect, row.digest)
            if row.span_checksum != prompt_span.span_checksum(at, row.span_parent, row.span):
                raise DamagedSpanError(row.tenant, row.dialect, row.digest)
            texts += prompt_span.split(row.span)
    if not rows or rows[-1].depth != len(texts):
        return None
    last = rows[-1]
    return Expansion(texts, PromptHead(last.depth, last.list_bytes, last.expires_at))


def put_rows(connection: Connection, rows: Sequence[PromptRow]) -> int:
    """Add rows, each behind its parent, and the spans that end with them; return how many rows.

    One that is there keeps its text and takes the later expiry. One whose parent is gone is left out,
    and so is what follows it.
    """
    count = connection.execute(
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
    for row in rows:
        if row.depth % SPAN_MESSAGES == 0:
            put_span(connection, row.key, row.depth)
    return count


def put_span(connection: Connection, key: PromptKey, depth: int) -> None:
    """Give the message at this depth, which may be gone, its span, if all of that is there and sound."""
    values = _named(key) | {"of_above": depth - SPAN_MESSAGES}
    rows = connection.execute(_texts, values).all()
    is_sound = all(row.checksum == prompt_checksum(*row[:_CHECKED]) for row in rows)
    if len(rows) == SPAN_MESSAGES and is_sound:
        span = prompt_span.join([row.text for row in rows])
        prompt_span.put(connection, _named(key), span, None if span is None else rows[0].parent)


def find_stretches(connection: Connection, key: PromptKey) -> list[Stretch]:
    """Return the list in stretches that take a bounded time each, its first messages first."""
    return prompt_span.stretches(connection, _named(key))


def named_blobs(
    connection: Connection, key: PromptKey, stretch: Stretch
) -> list[tuple[Digest, Digest]]:
    """Return each prompt digest of a stretch with each blob that its message names."""
    rows = connection.execute(_named_blobs, _within(key, stretch)).all()
    return [(Digest(row.digest), Digest(blob)) for row in rows for blob in row.blobs.split(" ")]


def extend(connection: Connection, key: PromptKey, stretch: Stretch, expires_at: float) -> None:
    """Extend the rows of a stretch, and make its span if it has none.

    The stretches before it come first, so that no row expires before one behind it.
    """
    connection.execute(_extend, _within(key, stretch) | {"until": expires_at})
    if not stretch.has_span and stretch.depth % SPAN_MESSAGES == 0:
        put_span(connection, replace(key, digest=Digest(stretch.digest)), stretch.depth)


def remove_ended(connection: Connection, before: float) -> int:
    """Remove some of the rows that expired before this time, leaves first; return how many."""
    return connection.execute(_remove_ended, {"before": before}).rowcount


def remove(connection: Connection, damaged: DamagedRowError) -> None:
    """Remove a row, so that the next append of its message writes it anew; of a span the span alone."""
    if isinstance(damaged, DamagedSpanError):
        prompt_span.put(connection, damaged.named, None, None)
    else:
        connection.execute(_remove, damaged.named)


def count_live(connection: Connection, now: float) -> int:
    """Return how many messages live."""
    return connection.execute(_count_live, {"now": now}).scalar_one()


def _named(key: PromptKey) -> dict[str, str | float]:
    return _at(key.tenant, key.dialect, key.digest)


def _within(key: PromptKey, stretch: Stretch) -> dict[str, str | float]:
    return _at(key.tenant, key.dialect, stretch.digest) | {"of_above": stretch.above}


def _at(tenant: str, dialect: str, digest: str) -> dict[str, str | float]:
    return {"of_tenant": tenant, "of_dialect": dialect, "of_digest": digest}


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
