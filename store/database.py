"""One SQLite file and the one thread of this process that talks to it.

SQLite has one writer, so one thread loses nothing. Other processes may have the file open too: work
that writes begins as the writer and has its turn, so that what it reads is what it writes upon; work
that only reads sees one state of the file and waits for no turn of its own. It does wait for what was
asked of the thread before, and so, behind work that writes, for other processes' turns. What waits to
be written is written together (`batch.py`). What is deleted is overwritten. WAL with synchronous=FULL lost no acknowledged row in
simulated power cuts; WAL with NORMAL lost some and is for what may be lost.
"""

import asyncio
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import StaticPool

from .batch import Waiting, do_all
from .errors import (
    DamagedDatabaseError,
    SchemaError,
    StoreClosedError,
    StoreFullError,
    StoreUnavailableError,
    disk_error,
)
from .health import is_damage_at_work, note_damage, open_to_read, seal
from .migrate import MIGRATIONS, migrate
from .turn import Turn

T = TypeVar("T")

_TO_READ, _TO_WRITE = "BEGIN", "BEGIN IMMEDIATE"
_BEGIN = "coatcheck.begin"
# Other processes wait for their turn meanwhile.
_MOST_AT_ONCE = 32
# For those who write without a turn, such as a command beside a running server.
_BUSY_SECONDS = 10.0
_LASTING = frozenset(
    {
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class Database:
    """A database that is open from `open` until `close`."""

    def __init__(
        self,
        path: Path | None,
        thread: ThreadPoolExecutor,
        turn: Turn | None,
        engine: Engine,
        connection: Connection,
    ) -> None:
        """Called by `open`."""
        self._path = path
        self._thread = thread
        self._turn = turn
        self._engine = engine
        self._connection = connection
        self._waiting: deque[Waiting[Any]] = deque()
        self._closed = False

    @classmethod
    async def open(
        cls,
        path: Path | None,
        *,
        history: str,
        synchronous: Literal["FULL", "NORMAL"],
        migrations: Path = MIGRATIONS,
    ) -> "Database":
        """Open the file, or a new database in memory, and bring it to the newest schema.

        `history` names the folder of migrations it follows, which lies in `migrations`, and its
        thread.

        Raises:
            SchemaError: the file belongs to a newer program, or is no database of ours.
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix=f"coatcheck-{history}")
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(
                thread, cls._open, thread, path, migrations / history, synchronous
            )
        except BaseException:
            thread.shutdown(wait=False)
            raise

    @classmethod
    def _open(
        cls,
        thread: ThreadPoolExecutor,
        path: Path | None,
        history: Path,
        synchronous: Literal["FULL", "NORMAL"],
    ) -> "Database":
        turn = Turn(path.with_name(f"{path.name}-turn")) if path else None
        try:
            with _have(turn):  # two processes must not bring one file to a schema
                return cls(path, thread, turn, *_connect(path, history, synchronous))
        except BaseException:
            if turn:
                turn.close()
            raise

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in the thread, as the one writer, after all that was asked before.

        It is one transaction, or part of one with what else waits. Cancelling the caller does not stop
        work that has begun. Nothing is kept of work that raises. It changes nothing but the database,
        since it is done again if what was done together had to be taken back.

        Raises:
            StoreClosedError: `close` was called before.
            StoreFullError, StoreUnavailableError: SQLite failed.
        """
        if self._closed:
            raise StoreClosedError
        waiting = Waiting(work)
        self._waiting.append(waiting)
        self._thread.submit(self._write_waiting)  # finds nothing if the call before took it along
        return await asyncio.wrap_future(waiting.told)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work`, which only reads, beside the writer of another process; else as `run` does.

        Raises:
            StoreClosedError: `close` was called before.
            StoreUnavailableError: SQLite failed, or the work would write what is out of date.
        """
        if self._closed:
            raise StoreClosedError
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._read, work)

    async def inspect(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which reads much, beside everything else: over a connection of its own.

        A database in memory has one connection; all else waits for it then.

        Raises:
            StoreClosedError: `close` was called before.
            DamagedDatabaseError, StoreUnavailableError: SQLite failed.
        """
        if self._closed:
            raise StoreClosedError
        if self._path is None:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._thread, self._inspect_here, work)
        return await asyncio.to_thread(_inspect, self._path, work)

    async def note_damage(self, reason: str) -> None:
        """Let the next start look at all of the file, because it was found damaged."""
        if self._path is not None:
            await asyncio.to_thread(note_damage, self._path, reason)

    def _inspect_here(self, work: Callable[[sqlite3.Connection], T]) -> T:
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            return work(driver)
        except sqlite3.Error as error:
            raise sql_error(error) from error

    async def clear_log(self, *, rewrite: bool) -> bool:
        """Bring the log into the file, and cut it to nothing: what was deleted is in neither then.

        But for fragments: SQLite leaves some in pages from which it once moved rows to others. To
        `rewrite` the file is rid of those too. Nobody writes meanwhile, about 10 s for a gigabyte, and
        it takes the file's size again on the disk, and in the system's folder for temporary files.

        Returns whether the log was cut; not while another process reads for longer than ten seconds.

        Raises:
            StoreClosedError: `close` was called before.
            StoreFullError, StoreUnavailableError: SQLite failed; the file is as it was.
        """
        if self._closed:
            raise StoreClosedError
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._clear_log, rewrite)

    def _clear_log(self, rewrite: bool) -> bool:
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        try:
            with _have(self._turn):
                if rewrite:
                    driver.execute("VACUUM").close()
                busy, *_ = driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from error
        return not busy

    def _write_waiting(self) -> None:
        batch: list[Waiting[Any]] = []
        while self._waiting and len(batch) < _MOST_AT_ONCE:
            waiting = self._waiting.popleft()
            if waiting.begin():
                batch.append(waiting)
        if len(batch) < 2 or not self._write_together(batch):
            for waiting in batch:
                waiting.settle(partial(self._write, waiting.work))

    def _write_together(self, batch: Sequence[Waiting[Any]]) -> bool:
        """Write a batch and tell the outcomes; False if all of it was taken back, and nobody told."""
        try:
            outcomes = self._write(lambda connection: do_all(connection, batch))
        except Exception:  # noqa: BLE001 - whatever it was, each alone is told of its own
            return False
        for waiting, outcome in zip(batch, outcomes, strict=True):
            waiting.settle(outcome)
        return True

    def _write(self, work: Callable[[Connection], T]) -> T:
        with _have(self._turn):
            return self._transact(work, _TO_WRITE)

    def _read(self, work: Callable[[Connection], T]) -> T:
        return self._transact(work, _TO_READ)

    def _transact(self, work: Callable[[Connection], T], begin: str) -> T:
        try:
            self._connection.info[_BEGIN] = begin
            with self._connection.begin():
                return work(self._connection)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise self._failure(error) from error

    def _failure(
        self, error: SQLAlchemyError | sqlite3.Error
    ) -> StoreFullError | StoreUnavailableError:
        """See to it that what comes next can work, and return the error to raise."""
        self._let_go_of_what_failed(error)
        failure = sql_error(error)
        if isinstance(failure, DamagedDatabaseError) and self._path is not None:
            note_damage(self._path, str(failure))
        return failure

    def _let_go_of_what_failed(self, error: SQLAlchemyError | sqlite3.Error) -> None:
        """Let the next work open the file anew, where this connection would go on failing.

        After an error of the disk SQLite may hold the file to be read-only, or a lock to be its own,
        for as long as the connection lives.
        """
        if self._turn is not None and _code(error) in _LASTING:
            self._connection.invalidate()

    async def close(self) -> None:
        """Close the database after all that was asked before. May be called twice."""
        if self._closed:
            return
        self._closed = True
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._thread, self._disconnect)
        finally:
            self._thread.shutdown(wait=False)

    def _disconnect(self) -> None:
        self._connection.close()
        self._engine.dispose()
        if self._turn:
            self._turn.close()


def sql_error(
    error: SQLAlchemyError | sqlite3.Error,
) -> StoreFullError | StoreUnavailableError:
    """Name an error of SQLite in the store's terms."""
    if _code(error) == sqlite3.SQLITE_FULL:
        return StoreFullError("no space left for the index")
    cause = _cause(error)
    if is_damage_at_work(cause):
        return DamagedDatabaseError(f"the index is damaged; a restart makes a new one: {cause}")
    return StoreUnavailableError(f"the index failed: {cause or error}")


def _cause(error: SQLAlchemyError | sqlite3.Error) -> sqlite3.Error | None:
    cause = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
    return cause if isinstance(cause, sqlite3.Error) else None


def _code(error: SQLAlchemyError | sqlite3.Error) -> int | None:
    """Return SQLite's primary result code; None for an error that is not SQLite's."""
    code = getattr(_cause(error), "sqlite_errorcode", None)  # the driver's own errors have none
    return None if code is None else code & 0xFF


def _inspect(path: Path, work: Callable[[sqlite3.Connection], T]) -> T:
    try:
        with closing(open_to_read(path)) as connection:
            return work(connection)
    except sqlite3.Error as error:
        raise sql_error(error) from error


def _have(turn: Turn | None) -> AbstractContextManager[object]:
    return nullcontext() if turn is None else turn


def _make_private(path: Path) -> None:
    """Make the file, readable by its owner alone; SQLite gives its log files the same mode."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise disk_error(error) from error


def _connect(
    path: Path | None, history: Path, synchronous: Literal["FULL", "NORMAL"]
) -> tuple[Engine, Connection]:
    """Open the file and bring it to its schema.

    What reads as corrupt is read twice before that is believed: SQLite calls a read so that failed
    with EIO (SQLITE_IOERR_CORRUPTFS).
    """
    if path:
        _make_private(path)
    try:
        return _connect_once(path, history, synchronous)
    except SchemaError as error:
        if not isinstance(error.__cause__, SQLAlchemyError | sqlite3.Error) or (
            _code(error.__cause__) != sqlite3.SQLITE_CORRUPT
        ):
            raise
        return _connect_once(path, history, synchronous)


def _connect_once(
    path: Path | None, history: Path, synchronous: Literal["FULL", "NORMAL"]
) -> tuple[Engine, Connection]:
    url = URL.create("sqlite", database=str(path) if path else None)
    engine = create_engine(url, poolclass=StaticPool, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def set_up(database: sqlite3.Connection, record: object) -> None:
        # The driver would begin transactions late and end them before a CREATE TABLE; with
        # this it leaves them to the next listener.
        database.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            # Free pages are written with zeros. Sweeps pay for it, and uploads delete nothing.
            "secure_delete=ON",
        ):
            database.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(connection.info.get(_BEGIN, _TO_WRITE)).close()

    try:
        connection = engine.connect()
        with connection.begin():
            migrate(connection, history.name, folder=history.parent)
            driver = connection.connection.driver_connection
            assert isinstance(driver, sqlite3.Connection)
            seal(driver)
    except (SQLAlchemyError, sqlite3.Error) as error:
        engine.dispose()
        cause = _cause(error)
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(
            cause, sqlite3.OperationalError
        ):
            raise SchemaError(f"{path} is not a database of this program: {cause}") from error
        raise sql_error(error) from error
    except SchemaError:
        engine.dispose()
        raise
    return engine, connection
