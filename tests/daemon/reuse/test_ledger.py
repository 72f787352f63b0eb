"""The ledger: what is noted for whom, until when, and what two processes make of it."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from coatcheck.daemon import Ledger
from coatcheck.daemon.reuse.ledger import MIGRATIONS, Entry, FileKey
from coatcheck.daemon.reuse.schema import reuse_metadata
from coatcheck.protocol import Digest
from coatcheck.store.migrate import migrate

RED, BLUE = Digest.of(b"red"), Digest.of(b"blue")
KEY = FileKey("a", RED, "owner", "use")
FILE = Entry("file-1", "file-1", 100.0)


async def opened(path: Path | None = None, seed: int = 1) -> Ledger:
    return await Ledger.open(path, Random(seed).randbytes)


@pytest.fixture
async def ledger() -> AsyncIterator[Ledger]:
    ledger = await opened()
    yield ledger
    await ledger.close()


async def test_an_entry_holds_until_its_end(ledger: Ledger) -> None:
    assert await ledger.put(KEY, RED, FILE, 1.0) == FILE
    assert await ledger.find([KEY], 99.9) == {KEY: FILE}
    assert await ledger.find([KEY], 100.0) == {}


@pytest.mark.parametrize(
    "other",
    [
        FileKey("b", RED, "owner", "use"),
        FileKey("a", BLUE, "owner", "use"),
        FileKey("a", RED, "other", "use"),
        FileKey("a", RED, "owner", "other"),
    ],
)
async def test_an_entry_is_of_all_that_names_it(ledger: Ledger, other: FileKey) -> None:
    await ledger.put(KEY, RED, FILE, 1.0)
    assert await ledger.find([other], 2.0) == {}


async def test_the_first_file_that_is_noted_is_used(ledger: Ledger) -> None:
    await ledger.put(KEY, RED, FILE, 1.0)
    assert await ledger.put(KEY, RED, Entry("file-2", "file-2", 200.0), 2.0) == FILE
    later = Entry("file-3", "file-3", 300.0)
    assert await ledger.put(KEY, RED, later, 100.0) == later


async def test_a_failure_gives_way_to_a_file(ledger: Ledger) -> None:
    await ledger.put(KEY, RED, Entry(None, None, 100.0), 1.0)
    assert await ledger.put(KEY, RED, FILE, 2.0) == FILE


async def test_a_newer_file_is_not_forgotten_for_an_older_one(ledger: Ledger) -> None:
    await ledger.put(KEY, RED, FILE, 1.0)
    await ledger.forget({KEY: "file-0"})
    assert await ledger.find([KEY], 2.0)
    await ledger.forget({KEY: "file-1"})
    assert not await ledger.find([KEY], 2.0)


async def test_more_keys_than_a_statement_takes(ledger: Ledger) -> None:
    keys = [FileKey("a", Digest.of(bytes([n % 256, n // 256])), "owner", "use") for n in range(700)]
    for key in keys[::7]:
        await ledger.put(key, key.digest, FILE, 1.0)
    assert set(await ledger.find(keys, 2.0)) == set(keys[::7])
    assert await ledger.find([], 2.0) == {}


async def test_what_is_beyond_the_room_goes(ledger: Ledger) -> None:
    for number in range(5):
        key = FileKey("a", Digest.of(bytes([number])), "owner", "use")
        await ledger.put(key, key.digest, Entry("f", "f", 10.0 * number), float(number))
    await ledger.trim(10.0, 2)
    left = await ledger.page(None, 10)
    assert {noted.made_at for noted in left} == {3.0, 4.0}


async def test_all_rows_are_gone_through(ledger: Ledger) -> None:
    keys = [FileKey(t, Digest.of(bytes([n])), "o", "u") for t in "ab" for n in range(5)]
    for key in keys:
        await ledger.put(key, key.digest, FILE, 1.0)
    seen: list[FileKey] = []
    while page := await ledger.page(seen[-1] if seen else None, 3):
        seen += [noted.key for noted in page]
    assert sorted(map(repr, seen)) == sorted(map(repr, keys))
    await ledger.drop(seen[:4])
    assert len(await ledger.page(None, 100)) == 6


async def test_processes_of_a_folder_share_what_is_noted_and_the_secret(tmp_path: Path) -> None:
    first, second = [await opened(tmp_path / "reuse.sqlite", seed) for seed in (1, 2)]
    assert first.secret == second.secret
    await first.put(KEY, RED, FILE, 1.0)
    assert await second.find([KEY], 2.0) == {KEY: FILE}
    await first.close()
    await second.close()


async def test_what_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "reuse.sqlite"
    path.write_bytes(b"something" * 1000)
    ledger = await opened(path)
    await ledger.put(KEY, RED, FILE, 1.0)
    await ledger.close()


def test_the_migrations_build_the_tables() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        with connection.begin():
            migrate(connection, "reuse", folder=MIGRATIONS)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert not compare_metadata(context, reuse_metadata)
    engine.dispose()
