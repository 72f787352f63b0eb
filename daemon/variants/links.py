"""Which variant was made of which original, for each tenant; and which originals go as they are.

A row is a note, not a right: whoever asks has found that the tenant holds the original. Each tenant
has rows of its own, so that how long a turn takes tells nobody what another tenant sent.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeAlias

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest
from coatcheck.store import Database

from .schema import variants

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_ASKED_AT_ONCE = 400  # pairs: SQLite takes a thousand variables where it is old

Derivation: TypeAlias = tuple[Digest, str]
"""What a variant is derived from: its original, and the name of the recipe."""


@dataclass(frozen=True, slots=True)
class Link:
    """What goes to the upstream for an original: `digest`, or without one the original itself.

    `until` is when that is to be tried again, in Unix seconds.
    """

    digest: Digest | None
    size: int
    media_type: str
    scale: float
    used_at: float
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Holding:
    """An original that links of a tenant's name."""

    tenant: str
    original: Digest


class Links:
    """The links of one folder, which several processes may share. What it raises is StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open the file, or a new one.

        Raises:
            StoreError: it is not ours, or the disk refused.
        """
        return cls(
            await Database.open(
                path, history="variants", synchronous="NORMAL", migrations=MIGRATIONS
            )
        )

    async def close(self) -> None:
        """Close the file. May be called twice."""
        await self._database.close()

    async def find(
        self, tenant: str, derivations: Sequence[Derivation], now: float
    ) -> Mapping[Derivation, Link]:
        """Return the links there are, but for those that are to be tried again by now."""
        found = await self._database.read(lambda c: _find(c, tenant, derivations))
        return {
            derivation: link
            for derivation, link in found.items()
            if link.until is None or link.until > now
        }

    async def put(self, tenant: str, derivation: Derivation, link: Link) -> None:
        """Add a link, in place of one that is there."""
        original, recipe = derivation
        values = {
            "digest": link.digest,
            "size": link.size,
            "media_type": link.media_type,
            "scale": link.scale,
            "used_at": link.used_at,
            "until": link.until,
        }
        key = {"tenant": tenant, "original": original, "recipe": recipe}
        putting = insert(variants).values({**key, **values})
        upsert = putting.on_conflict_do_update(index_elements=list(key), set_=values)
        await self._database.run(lambda c: c.execute(upsert).close())

    async def touch(self, tenant: str, derivations: Sequence[Derivation], now: float) -> None:
        """Note a use."""

        def work(connection: Connection) -> None:
            for pairs in _portions(derivations):
                connection.execute(update(variants).where(_are(tenant, pairs)).values(used_at=now))

        await self._database.run(work)

    async def originals(self, after: Holding | None, limit: int) -> list[Holding]:
        """Return up to `limit` originals with their tenants, in order, behind the one given."""
        columns = variants.c.tenant, variants.c.original
        wanted = select(*columns).distinct().order_by(*columns).limit(limit)
        if after is not None:
            wanted = wanted.where(tuple_(*columns) > (after.tenant, after.original))
        rows = await self._database.read(lambda c: c.execute(wanted).all())
        return [Holding(tenant, Digest(original)) for tenant, original in rows]

    async def drop(self, holdings: Sequence[Holding], used_before: float) -> list[Digest]:
        """Remove the links of originals, but those used since; return variants that nobody has now."""

        def work(connection: Connection) -> list[Digest]:
            gone: set[str] = set()
            for holding in holdings:
                gone |= _remove(
                    connection,
                    and_(
                        variants.c.tenant == holding.tenant,
                        variants.c.original == holding.original,
                        variants.c.used_at < used_before,
                    ),
                )
            return _left_alone(connection, gone)

        return await self._database.run(work)

    async def trim(self, max_links: int) -> list[Digest]:
        """Remove the links used longest ago beyond a number; return variants that nobody has now."""

        def work(connection: Connection) -> list[Digest]:
            count = connection.execute(select(func.count()).select_from(variants)).scalar_one()
            if count <= max_links:
                return []
            key = tuple_(variants.c.tenant, variants.c.original, variants.c.recipe)
            oldest = (
                select(variants.c.tenant, variants.c.original, variants.c.recipe)
                .order_by(variants.c.used_at)
                .limit(count - max_links)
            )
            return _left_alone(connection, _remove(connection, key.in_(oldest)))

        return await self._database.run(work)


def _find(
    connection: Connection, tenant: str, derivations: Sequence[Derivation]
) -> dict[Derivation, Link]:
    found: dict[Derivation, Link] = {}
    for pairs in _portions(derivations):
        for row in connection.execute(select(variants).where(_are(tenant, pairs))):
            found[Digest(row.original), row.recipe] = _link(row)
    return found


def _link(row: "Row[tuple[object, ...]]") -> Link:
    digest = None if row.digest is None else Digest(row.digest)
    return Link(digest, row.size, row.media_type, row.scale, row.used_at, row.until)


def _are(tenant: str, pairs: Sequence[Derivation]) -> ColumnElement[bool]:
    return and_(
        variants.c.tenant == tenant, tuple_(variants.c.original, variants.c.recipe).in_(pairs)
    )


def _portions(derivations: Sequence[Derivation]) -> Iterable[Sequence[Derivation]]:
    for start in range(0, len(derivations), _ASKED_AT_ONCE):
        yield derivations[start : start + _ASKED_AT_ONCE]


def _remove(connection: Connection, which: ColumnElement[bool]) -> set[str]:
    """Remove links; return the variants that they named."""
    going = delete(variants).where(which).returning(variants.c.digest)
    return {digest for digest in connection.execute(going).scalars() if digest is not None}


def _left_alone(connection: Connection, digests: Iterable[str]) -> list[Digest]:
    """Return those that no link names any more."""
    return [
        Digest(digest)
        for digest in digests
        if not connection.execute(
            select(variants.c.digest).where(variants.c.digest == digest).limit(1)
        ).first()
    ]
