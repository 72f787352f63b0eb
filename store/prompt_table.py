"""Kept messages in SQL: a row for each, pointing at the one before.

A row expires no earlier than any row behind it, because whoever extends a row extends the rows
before it to the same time. So a list is whole as long as its last row lives.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import CTE, Connection, and_, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest

from .schema import prompts


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


def find_head(connection: Connection, key: PromptKey, now: float) -> PromptHead | None:
    """The prompt's last row, if it lives."""
    row = connection.execute(
        select(prompts.c.depth, prompts.c.list_bytes, prompts.c.expires_at).where(
            prompts.c.tenant == key.tenant,
            prompts.c.dialect == key.dialect,
            prompts.c.digest == key.digest,
            prompts.c.expires_at > now,
        )
    ).one_or_none()
    return None if row is None else PromptHead(row.depth, row.list_bytes, row.expires_at)


def expand(connection: Connection, key: PromptKey) -> Expansion | None:
    """All of the prompt in one query, if it is there and whole; it may have expired."""
    chain = _chain(key)
    rows = connection.execute(
        select(chain.c.depth, chain.c.text, chain.c.list_bytes, chain.c.expires_at).order_by(
            chain.c.depth
        )
    ).all()
    if not rows or rows[-1].depth != len(rows):
        return None
    last = rows[-1]
    return Expansion(
        [row.text for row in rows], PromptHead(last.depth, last.list_bytes, last.expires_at)
    )


def put_rows(connection: Connection, rows: Sequence[PromptRow]) -> None:
    """Adds rows; one that is there keeps its text and takes the later expiry."""
    statement = insert(prompts)
    later = func.max(prompts.c.expires_at, statement.excluded.expires_at)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[prompts.c.tenant, prompts.c.dialect, prompts.c.digest],
            set_={"expires_at": later},
        ),
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
            }
            for row in rows
        ],
    )


def named_blobs(connection: Connection, key: PromptKey) -> list[tuple[Digest, Digest]]:
    """Each prompt digest of the list with each blob that its message names."""
    chain = _chain(key)
    rows = connection.execute(
        select(chain.c.digest, chain.c.blobs).where(chain.c.blobs != "")
    ).all()
    return [(Digest(row.digest), Digest(blob)) for row in rows for blob in row.blobs.split(" ")]


def extend(connection: Connection, key: PromptKey, expires_at: float) -> None:
    """Extends the list's last row and all before it."""
    chain = _chain(key)
    connection.execute(
        update(prompts)
        .where(
            tuple_(prompts.c.tenant, prompts.c.dialect, prompts.c.digest).in_(
                select(chain.c.tenant, chain.c.dialect, chain.c.digest)
            ),
            prompts.c.expires_at < expires_at,
        )
        .values(expires_at=expires_at)
    )


def count_live(connection: Connection, now: float) -> int:
    """How many messages live."""
    live = select(func.count()).select_from(prompts).where(prompts.c.expires_at > now)
    return connection.execute(live).scalar_one()


def _chain(key: PromptKey) -> CTE:
    """The rows of a list, from the last one back. The depth ends it even in a damaged table."""
    chain = (
        select(prompts)
        .where(
            prompts.c.tenant == key.tenant,
            prompts.c.dialect == key.dialect,
            prompts.c.digest == key.digest,
        )
        .cte("chain", recursive=True)
    )
    before = and_(
        prompts.c.tenant == chain.c.tenant,
        prompts.c.dialect == chain.c.dialect,
        prompts.c.digest == chain.c.parent,
        prompts.c.depth == chain.c.depth - 1,
    )
    return chain.union_all(select(prompts).join(chain, before))
