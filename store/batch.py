"""Work that waits for the one writer, done together.

Bringing a transaction to the disk costs several times what most work in it does. So what waits when
the writer is free goes into one transaction: each piece is whole or not there, as alone, and all are
told their outcome when all of it is on the disk.
"""

import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Generic, TypeAlias, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

T = TypeVar("T")

Outcome: TypeAlias = Callable[[], T]
"""Returns what the work returned, or raises what it raised."""


class Waiting(Generic[T]):
    """One piece of work and the future of whoever asked for it."""

    def __init__(self, work: Callable[[Connection], T]) -> None:
        self.work = work
        self.told: Future[T] = Future()

    def begin(self) -> bool:
        """Return whether it is still wanted; from then on it cannot be cancelled."""
        return self.told.set_running_or_notify_cancel()

    def settle(self, outcome: Outcome[T]) -> None:
        """Tell the outcome to whoever asked."""
        try:
            result = outcome()
        except BaseException as error:  # noqa: BLE001 - as an executor does: it is theirs
            self.told.set_exception(error)
        else:
            self.told.set_result(result)


def do_all(connection: Connection, batch: Sequence[Waiting[Any]]) -> list[Outcome[Any]]:
    """Do the pieces one after another in the connection's transaction; return their outcomes.

    What a piece did that raised is taken back, and no other's.

    Raises:
        SQLAlchemyError, sqlite3.Error: SQLite failed in one of them, and may have taken back all.
    """
    return [_do(connection, waiting) for waiting in batch]


def _do(connection: Connection, waiting: Waiting[T]) -> Outcome[T]:
    driver = connection.connection.driver_connection
    assert driver is not None
    driver.execute("SAVEPOINT piece")
    done: Future[T] = Future()
    try:
        done.set_result(waiting.work(connection))
    except (SQLAlchemyError, sqlite3.Error):
        raise
    except BaseException as error:  # noqa: BLE001 - told to whoever asked
        driver.execute("ROLLBACK TO piece")
        done.set_exception(error)
    driver.execute("RELEASE piece")
    return done.result
