"""What waits for the one writer is written together, and each piece is whole or not there."""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from coatcheck.protocol import Digest
from coatcheck.store import BlobNotFoundError, StoreUnavailableError
from coatcheck.store.database import Database

NOBODYS = Digest.of(b"nobody's")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """A file with one empty table beside the schema's."""
    opened = await Database.open(tmp_path / "index.sqlite", history="index", synchronous="FULL")
    await opened.run(lambda c: c.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")))
    yield opened
    await opened.close()


@asynccontextmanager
async def occupied(database: Database) -> AsyncGenerator[None]:
    """Keep the writer's thread busy, so that what is asked meanwhile waits."""
    begun, over = threading.Event(), threading.Event()

    def work(connection: Connection) -> None:
        begun.set()
        over.wait(10)

    task = asyncio.create_task(database.run(work))
    await asyncio.to_thread(begun.wait, 10)
    yield
    over.set()
    await task


def adding(number: int) -> Callable[[Connection], int]:
    """Return work that adds a number and returns it."""

    def work(connection: Connection) -> int:
        connection.execute(text(f"INSERT INTO numbers VALUES ({number})"))
        return number

    return work


async def kept(database: Database) -> list[int]:
    """Return the numbers that are there."""
    return await database.read(
        lambda c: [int(row[0]) for row in c.execute(text("SELECT n FROM numbers ORDER BY n"))]
    )


async def commits(database: Database) -> list[str]:
    """Begin to note every commit."""
    seen: list[str] = []

    def note(statement: str) -> None:
        if statement == "COMMIT":
            seen.append(statement)

    def trace(connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.set_trace_callback(note)

    await database.run(trace)
    seen.clear()
    return seen


async def test_what_waits_is_committed_once_and_in_order(database: Database) -> None:
    seen = await commits(database)
    async with occupied(database):
        tasks = [asyncio.create_task(database.run(adding(number))) for number in range(5)]
        await asyncio.sleep(0)
    assert await asyncio.gather(*tasks) == list(range(5))
    assert len(seen) == 2
    assert await kept(database) == list(range(5))


async def test_a_piece_that_raises_takes_back_its_own_alone(database: Database) -> None:
    def failing(connection: Connection) -> None:
        adding(100)(connection)
        raise BlobNotFoundError(NOBODYS)

    async with occupied(database):
        works = [adding(1), failing, adding(2)]
        tasks = [asyncio.create_task(database.run(work)) for work in works]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], BlobNotFoundError)
    assert (results[0], results[2]) == (1, 2)
    assert await kept(database) == [1, 2]


async def test_a_failure_of_sqlite_in_one_is_no_other_ones(database: Database) -> None:
    async with occupied(database):
        works = [adding(1), adding(1), adding(2)]
        tasks = [asyncio.create_task(database.run(work)) for work in works]
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], StoreUnavailableError)
    assert (results[0], results[2]) == (1, 2)
    assert await kept(database) == [1, 2]


async def test_work_that_is_cancelled_while_it_waits_is_not_done(database: Database) -> None:
    async with occupied(database):
        tasks = [asyncio.create_task(database.run(adding(number))) for number in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[1], asyncio.CancelledError)
    assert await kept(database) == [0, 2]


async def test_a_read_sees_what_was_asked_before_it(database: Database) -> None:
    async with occupied(database):
        writing = asyncio.create_task(database.run(adding(7)))
        reading = asyncio.create_task(kept(database))
        await asyncio.sleep(0)
    assert await reading == [7]
    await writing


async def test_a_connection_that_would_go_on_failing_is_opened_anew(database: Database) -> None:
    """As after a disk that failed as the file was opened, which SQLite then holds to be read-only."""
    await database.run(lambda c: c.execute(text("PRAGMA query_only=ON")))
    with pytest.raises(StoreUnavailableError, match="readonly"):
        await database.run(adding(1))
    assert await database.run(adding(2)) == 2
    assert await kept(database) == [2]


async def test_a_log_that_cannot_be_cleared_is_cleared_over_a_new_connection(
    database: Database,
) -> None:
    await database.run(lambda c: c.execute(text("PRAGMA query_only=ON")))
    with pytest.raises(StoreUnavailableError, match="readonly"):
        await database.clear_log(rewrite=True)
    assert await database.clear_log(rewrite=True)
    assert await database.run(adding(2)) == 2


async def test_a_database_in_memory_is_never_opened_anew() -> None:
    database = await Database.open(None, history="index", synchronous="FULL")
    await database.run(lambda c: c.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")))
    await database.run(adding(1))
    await database.run(lambda c: c.execute(text("PRAGMA query_only=ON")))
    for number in (2, 3):
        with pytest.raises(StoreUnavailableError, match="readonly"):
            await database.run(adding(number))
    assert await kept(database) == [1]
    await database.close()
