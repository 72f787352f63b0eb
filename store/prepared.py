"""Statements that every upload and every question runs: written with SQLAlchemy, run by the driver.

What SQLAlchemy does around an execution costs several times what SQLite takes for it, and holds
the interpreter meanwhile. Errors are the driver's; `Database` names them as it names SQLAlchemy's.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from sqlalchemy import ClauseElement, Connection
from sqlalchemy.dialects import sqlite

Value: TypeAlias = str | bytes | float | None
Row: TypeAlias = Mapping[str, Value]
_dialect = sqlite.dialect(paramstyle="named")


class Prepared:
    """One statement, compiled once. Its parameters are named as its columns and bind parameters."""

    def __init__(self, statement: ClauseElement, columns: Sequence[str] | None = None) -> None:
        """Compile; an insert writes the `columns`, and all of the table's without."""
        compiled = statement.compile(dialect=_dialect, column_keys=columns)
        self._text = str(compiled)
        self._constants: Row = {
            name: _plain(value) for name, value in (compiled.params or {}).items()
        }

    def run(self, connection: Connection, values: Row) -> Sequence[tuple[Any, ...]]:
        """Run it in the connection's transaction; return all rows.

        Raises:
            sqlite3.Error: SQLite refused.
        """
        rows: Sequence[tuple[Any, ...]] = self._execute(connection, values).fetchall()
        return rows

    def change(self, connection: Connection, values: Row) -> int:
        """Run it in the connection's transaction; return how many rows it changed.

        Raises:
            sqlite3.Error: SQLite refused.
        """
        return self._execute(connection, values).rowcount

    def _execute(self, connection: Connection, values: Row) -> sqlite3.Cursor:
        plain = {name: _plain(value) for name, value in values.items()}
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        return driver.execute(self._text, {**self._constants, **plain})


def _plain(value: Value) -> Value:
    """Return a digest or an enumeration's member as a plain text: the driver knows those fastest."""
    return str(value) if isinstance(value, str) else value
