"""Reads what can still be read of a damaged database, row by row.

From the front until a page cannot be read, then on behind it, then from the back. A row is taken by
the places of its values, so that a damaged name of a column does not matter, and only if each value is
what its column holds.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from sqlalchemy import Column, Float, Integer, LargeBinary, Table

from coatcheck.protocol import Digest, InvalidDigestError

from .health import open_to_read

Value: TypeAlias = str | bytes | float | None
_HIGHEST_ROW: Final = 2**48
_MOST_FAILURES: Final = 10_000
_logger = logging.getLogger(__name__)


class Damaged:
    """A damaged database, open until `close`. Blocking, of one thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Called by `open`."""
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Damaged":
        """Open what is left of a file; it may be nothing at all."""
        try:
            connection = open_to_read(path)
        except sqlite3.Error:
            connection = sqlite3.connect(":memory:", isolation_level=None)
        # Lets SQLite go on when a part of the schema cannot be understood.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("PRAGMA writable_schema = ON")
        return cls(connection)

    def has(self, table: Table) -> bool:
        """Return whether its schema can be read, and names the table."""
        query = "SELECT 1 FROM sqlite_schema WHERE name = ?"
        try:
            return self._connection.execute(query, (table.name,)).fetchone() is not None
        except (sqlite3.Error, UnicodeError):
            return False

    def rows(self, table: Table) -> Generator[tuple[Value, ...]]:
        """Yield the rows of a table that can be read and make sense, some of them twice."""
        fields = [_field(column) for column in table.columns]
        failures = _Failures()
        for row in self._all(table.name, failures):
            sound = _sound(row, fields)
            if sound is not None:
                yield sound
        if failures.count:
            _logger.warning("a part of the table %s cannot be read", table.name)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _all(self, name: str, failures: "_Failures") -> Generator[tuple[object, ...]]:
        yield from self._forward(name, failures)
        if failures.count:
            yield from self._walk(f'SELECT rowid, * FROM "{name}" ORDER BY rowid DESC', failures)

    def _forward(self, name: str, failures: "_Failures") -> Generator[tuple[object, ...]]:
        after, step = -1, 1
        while after < _HIGHEST_ROW and failures.count < _MOST_FAILURES:
            before = failures.count
            query = f'SELECT rowid, * FROM "{name}" WHERE rowid > {after} ORDER BY rowid'
            for row in self._walk(query, failures):
                after, step = int(str(row[0])), 1
                yield row
            if failures.count == before:
                return
            after, step = after + step, step * 2  # look for the other side of the damage

    def _walk(self, query: str, failures: "_Failures") -> Generator[tuple[object, ...]]:
        try:
            yield from self._connection.execute(query)
        except (sqlite3.Error, UnicodeError) as error:
            failures.count += 1
            if failures.count == 1:
                _logger.warning("the damaged database: %s", error)


@dataclass(slots=True)
class _Failures:
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Field:
    """What a column holds."""

    takes: Callable[[object], bool]
    missing: Value
    """What stands for it in a row from before the column was added."""


def _field(column: Column[object]) -> _Field:
    takes = _of_type(column)
    default = column.server_default
    missing = getattr(default, "arg", None)
    if not isinstance(missing, str):
        return _Field(takes, None)
    return _Field(takes, float(missing) if isinstance(column.type, Float) else int(missing))


def _of_type(column: Column[object]) -> Callable[[object], bool]:
    kind: type | tuple[type, ...] = str
    if isinstance(column.type, Float):
        kind = (float, int)
    elif isinstance(column.type, Integer):
        kind = int
    elif isinstance(column.type, LargeBinary):
        kind = bytes
    is_digest = column.name == "digest"

    def takes(value: object) -> bool:
        if value is None:
            return bool(column.nullable)
        return isinstance(value, kind) and (not is_digest or _is_digest(value))

    return takes


def _is_digest(value: object) -> bool:
    try:
        Digest(str(value))
    except InvalidDigestError:
        return False
    return True


def _sound(row: tuple[object, ...], fields: list[_Field]) -> tuple[Value, ...] | None:
    """Return the values without the row's number, if they are what the columns hold."""
    values = [*row[1:], *(field.missing for field in fields[len(row) - 1 :])]
    if len(values) != len(fields):
        return None
    sound: list[Value] = []
    for value, field in zip(values, fields, strict=True):
        if not field.takes(value):
            return None
        assert value is None or isinstance(value, str | bytes | float | int)
        sound.append(value)
    return tuple(sound)
