"""What was observed, on the disk: sums by the hour, and marks of what passed.

1. There is no text here, no image, and no digest that could be compared with one.
2. A batch is one transaction that reads what is known and adds to it, so several processes write
   into one file.
3. Everything here ends: hours after `keep_seconds`, marks after the time that they are known, and
   before that the oldest when there are too many.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self, TypeAlias

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import PrefixOutcome
from coatcheck.store import Database

from .marks import SALT_BYTES, Mark, Marker, Seen, TurnMarks
from .observation_schema import FIGURES, breaks, hours, marks, salts
from .observed_figures import Figures, Request, Terms, judge

FILE_NAME = "observations.db"
HOUR_SECONDS = 3600
MAX_INDEX = 1000
"""Breaks at this message or later are counted together."""

MAX_ROLE = 32

MIGRATIONS = Path(__file__).resolve().parent / "migrations"
_ASKED_AT_ONCE = 900

Judged: TypeAlias = tuple[Request, TurnMarks | None]
_Scope: TypeAlias = tuple[int, str, str, str]


@dataclass(frozen=True, slots=True)
class ObservationLimits:
    """What is remembered, and for how long."""

    terms: Terms = field(default_factory=Terms)

    keep_seconds: float = 90 * 24 * 3600
    """The hours in the report: a quarter of a year. An hour of one upstream takes 200 bytes."""

    max_marks: int = 1_000_000
    """Some 70 MB of disk. A turn leaves one for each of its messages and images, and two more."""

    renew_seconds: float = 300
    """A mark's time is written again when it is this much older: each turn shows all of its own."""


class Observations:
    """The file of one installation. `write` may be called by several processes."""

    def __init__(self, database: Database, limits: ObservationLimits, marker: Marker) -> None:
        self._database = database
        self._limits = limits
        self.marker = marker
        """Makes the marks of this file."""

    @classmethod
    async def open(
        cls, path: Path | None, limits: ObservationLimits, random: Callable[[int], bytes]
    ) -> Self:
        """Open the file, or a new one in memory.

        Raises:
            StoreError: it is not ours, or the disk refused.
        """
        database = await Database.open(
            path, history="observations", synchronous="NORMAL", migrations=MIGRATIONS
        )
        try:
            salt = await database.run(lambda connection: _salt(connection, random))
        except BaseException:
            await database.close()
            raise
        return cls(database, limits, Marker(salt))

    async def write(self, batch: Sequence[Judged]) -> Sequence[PrefixOutcome | None]:
        """Judge requests, in the order in which they came, and add what they say.

        Returns what became of the prefix of each.

        Raises:
            StoreError: the disk refused; nothing was added.
        """
        return await self._database.run(lambda connection: self._write(connection, batch))

    async def trim(self, now: float) -> None:
        """Remove what has grown old.

        Raises:
            StoreError: the disk refused.
        """
        await self._database.run(lambda connection: self._trim(connection, now))

    async def close(self) -> None:
        """Close the file. May be called twice."""
        await self._database.close()

    def _write(
        self, connection: Connection, batch: Sequence[Judged]
    ) -> Sequence[PrefixOutcome | None]:
        asked = {mark for _, turn_marks in batch if turn_marks for mark in turn_marks.all()}
        stored = _seen(connection, asked)
        memory = dict(stored)
        sums: dict[_Scope, Figures] = {}
        broken: dict[tuple[_Scope, int, str], int] = {}
        prefixes: list[PrefixOutcome | None] = []
        for request, turn_marks in batch:
            outcome = judge(request, turn_marks, memory, self._limits.terms)
            memory |= outcome.seen
            scope = _scope(request)
            sums.setdefault(scope, Figures()).add(outcome.figures)
            prefixes.append(outcome.prefix)
            if outcome.broke_at is not None:
                place = scope, min(outcome.broke_at, MAX_INDEX), _role(outcome.broke_in)
                broken[place] = broken.get(place, 0) + 1
        _put_seen(connection, self._changed(stored, memory))
        _add_sums(connection, sums)
        _add_breaks(connection, broken)
        return prefixes

    def _changed(
        self, stored: Mapping[Mark, Seen], memory: Mapping[Mark, Seen]
    ) -> dict[Mark, Seen]:
        return {
            mark: seen
            for mark, seen in memory.items()
            if mark not in stored
            or seen.depth != stored[mark].depth
            or seen.at - stored[mark].at >= self._limits.renew_seconds
        }

    def _trim(self, connection: Connection, now: float) -> None:
        for table in (hours, breaks):
            connection.execute(delete(table).where(table.c.hour < now - self._limits.keep_seconds))
        seconds = self._limits.terms.known_seconds
        connection.execute(delete(marks).where(marks.c.seen_at < now - seconds))
        count = connection.execute(select(func.count()).select_from(marks)).scalar_one()
        if count > self._limits.max_marks:
            _remove_oldest(connection, count - self._limits.max_marks)


def _salt(connection: Connection, random: Callable[[int], bytes]) -> bytes:
    offered = insert(salts).on_conflict_do_nothing()
    connection.execute(offered, {"id": 1, "salt": random(SALT_BYTES)})
    salt: bytes = connection.execute(select(salts.c.salt)).scalar_one()
    return salt


def _scope(request: Request) -> _Scope:
    hour = int(request.at // HOUR_SECONDS * HOUR_SECONDS)
    return hour, request.tenant, request.upstream, request.mode


def _seen(connection: Connection, asked: Collection[Mark]) -> dict[Mark, Seen]:
    wanted = list(asked)
    seen: dict[Mark, Seen] = {}
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        portion = wanted[start : start + _ASKED_AT_ONCE]
        for row in connection.execute(_find_marks, {"wanted": portion}):
            seen[row.mark] = Seen(row.seen_at, row.depth)
    return seen


def _put_seen(connection: Connection, seen: Mapping[Mark, Seen]) -> None:
    rows = [{"mark": mark, "seen_at": item.at, "depth": item.depth} for mark, item in seen.items()]
    if rows:
        connection.execute(_put_mark, rows)


def _add_sums(connection: Connection, sums: Mapping[_Scope, Figures]) -> None:
    rows = [_named(scope) | asdict(figures) for scope, figures in sums.items()]
    if rows:
        connection.execute(_add_hour, rows)


def _role(text: str) -> str:
    """Return a role as it is kept: what clients make up as they like is not."""
    return text if text.isascii() and text.isidentifier() and len(text) <= MAX_ROLE else ""


def _add_breaks(connection: Connection, broken: Mapping[tuple[_Scope, int, str], int]) -> None:
    rows = [
        _named(scope) | {"message": message, "role": role, "count": count}
        for (scope, message, role), count in broken.items()
    ]
    if rows:
        connection.execute(_add_break, rows)


def _named(scope: _Scope) -> dict[str, int | str]:
    return dict(zip(("hour", "tenant", "upstream", "mode"), scope, strict=True))


def _remove_oldest(connection: Connection, count: int) -> None:
    oldest = select(marks.c.mark).order_by(marks.c.seen_at).limit(count)
    connection.execute(delete(marks).where(marks.c.mark.in_(oldest)))


_find_marks = select(marks).where(marks.c.mark.in_(bindparam("wanted", expanding=True)))
_insert_mark = insert(marks)
_put_mark = _insert_mark.on_conflict_do_update(
    index_elements=[marks.c.mark],
    set_={
        "seen_at": func.max(marks.c.seen_at, _insert_mark.excluded.seen_at),
        "depth": _insert_mark.excluded.depth,
    },
)
_insert_hour = insert(hours)
_add_hour = _insert_hour.on_conflict_do_update(
    index_elements=list(hours.primary_key.columns),
    set_={name: hours.c[name] + _insert_hour.excluded[name] for name in FIGURES},
)
_insert_break = insert(breaks)
_add_break = _insert_break.on_conflict_do_update(
    index_elements=list(breaks.primary_key.columns),
    set_={"count": breaks.c.count + _insert_break.excluded.count},
)
