"""Whether a database file is sound, and the note that it was found not to be.

A page of SQLite has no checksum. What is looked at: that the schema is the one that was made, whose
checksum stands in the file (`user_version`), and that all pages, rows and indexes fit together; of a
file that is too large for that at a start, only that each table can be read at both ends.

Whoever meets damage later leaves a note beside the file, and then the next start looks at all of it.
"""

import contextlib
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from zlib import crc32

from .durable import let_go, sync_folder
from .errors import StoreUnavailableError, disk_error, disk_errors

_WHOLE_BYTES: Final = 64 * 1024 * 1024
"""Files up to this size are looked at whole, which takes a fraction of a second."""
_DAMAGE: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_SHORT_READ: Final = sqlite3.SQLITE_IOERR_SHORT_READ
_TOUCH: Final = "SELECT 1 FROM sqlite_schema LIMIT 1"
_SCHEMA = (
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name"
)


def examine(path: Path, *, whole: bool = False) -> str | None:
    """Return what is wrong with a database, or None; changes nothing in it. Blocking.

    `whole` looks at all of it, however large it is.

    Raises:
        StoreUnavailableError: the disk does not let it be read.
    """
    try:
        with closing(open_to_read(path)) as connection:
            return _examine(connection, whole=whole or path.stat().st_size <= _WHOLE_BYTES)
    except sqlite3.DatabaseError as error:
        if is_damage(error):
            return str(error)
        raise StoreUnavailableError(f"{path.name} cannot be read: {error}") from error
    except OSError as error:
        raise disk_error(error) from error


def open_to_read(path: Path) -> sqlite3.Connection:
    """Open a database as it lies there, with what its log holds; nothing is written back.

    But a change that a crash cut off while the file was made has to be taken back first.

    Raises:
        sqlite3.Error: there is no such file, or the disk does not let it be read.
    """
    url = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(url, uri=True, isolation_level=None)
    try:
        connection.execute(_TOUCH).fetchall()
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_READONLY:
            return connection  # whatever it is, whoever reads meets it
        connection.close()
        with closing(sqlite3.connect(path)) as writable:
            writable.execute(_TOUCH).fetchall()
        connection = sqlite3.connect(url, uri=True, isolation_level=None)
    return connection


def is_damage(error: BaseException | None) -> bool:
    """Return whether an error of SQLite says that the file is damaged."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code & 0xFF in _DAMAGE or code == _SHORT_READ)


def is_damage_at_work(error: BaseException | None) -> bool:
    """Return whether an error of a statement that is right says so: a wrong statement is none."""
    return is_damage(error) and getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_ERROR


def seal(connection: sqlite3.Connection) -> None:
    """Write what stands for the schema into the file, in the connection's transaction."""
    expected = _seal_of(connection)
    if connection.execute("PRAGMA user_version").fetchone()[0] != expected:
        connection.execute(f"PRAGMA user_version = {expected}")


def has_table(path: Path, table: str) -> bool:
    """Return whether a file is there with this table; False as well when it is damaged. Blocking.

    Raises:
        StoreUnavailableError: the disk does not let it be read.
    """
    try:
        if not path.exists() or not path.stat().st_size:
            return False
        with closing(open_to_read(path)) as connection:
            found = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,))
            return found.fetchone() is not None
    except sqlite3.Error as error:
        if is_damage(error):
            return False
        raise StoreUnavailableError(f"{path.name} cannot be read: {error}") from error
    except OSError as error:
        raise disk_error(error) from error


def note_damage(path: Path, reason: str) -> None:
    """Leave a note that a database was met damaged, if the disk takes one. Blocking."""
    with contextlib.suppress(OSError):
        note = _note(path)
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, f"{reason}\n".encode())
            os.fsync(descriptor)
        finally:
            let_go(descriptor)
        sync_folder(note.parent)


@disk_errors()
def is_damage_noted(path: Path) -> bool:
    """Return whether there is such a note. Blocking."""
    return _note(path).exists()


@disk_errors()
def clear_note(path: Path) -> None:
    """Remove the note, once what it says is no longer so. Blocking.

    Raises:
        StoreUnavailableError: the disk refused.
    """
    _note(path).unlink(missing_ok=True)


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}-damaged")


def _examine(connection: sqlite3.Connection, *, whole: bool) -> str | None:
    sealed = connection.execute("PRAGMA user_version").fetchone()[0]
    if sealed and sealed != _seal_of(connection):
        return "its schema is not the one that was made"
    if whole:
        said = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        return None if said == ["ok"] else "; ".join(map(str, said))
    names = connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
    for (name,) in names:
        for order in ("ASC", "DESC"):
            connection.execute(f'SELECT * FROM "{name}" ORDER BY rowid {order} LIMIT 1').fetchall()
    return None


def _seal_of(connection: sqlite3.Connection) -> int:
    text = "\0".join(f"{kind} {name} {sql}" for kind, name, sql in connection.execute(_SCHEMA))
    return (crc32(text.encode()) & 0x7FFFFFFF) or 1
