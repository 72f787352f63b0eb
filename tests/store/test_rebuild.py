"""An index that is lost or damaged: a new one is made, and no wrong byte is ever served."""

import asyncio
import io
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import Connection

from coatcheck.protocol import DEFAULT_TENANT, Digest, prompt_root
from coatcheck.store import (
    BlobNotFoundError,
    DamagedDatabaseError,
    PromptMessage,
    Receipt,
    SharedFolder,
    Store,
    StoreConfig,
    open_keys,
)
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
Databases = Callable[[Store], tuple[Database, Database]]

BLOBS = [b"%d" % number * (number + 1) for number in range(40)]
_file = io.BytesIO()
Image.new("RGB", (3, 2)).save(_file, "png")
PNG = _file.getvalue()


async def fill(store: Store, put: Put, *tenants: str) -> list[tuple[str, Digest]]:
    """Put blobs of every kind of hold, and return who holds what."""
    held: list[tuple[str, Digest]] = []
    for number, data in enumerate(BLOBS):
        tenant = tenants[number % len(tenants)]
        digest = (await put(store, tenant, data)).grant.digest
        if number % 3 == 0:
            await store.pin(tenant, digest)
        held.append((tenant, digest))
    return held


async def read(store: Store, tenant: str, digest: Digest) -> bytes | None:
    """Read a blob; None where it is not found."""
    try:
        reader = await store.open_blob(tenant, digest)
    except BlobNotFoundError:
        return None
    async with reader:
        return b"".join([bytes(chunk) async for chunk in reader.chunks()])


async def readable(store: Store, held: list[tuple[str, Digest]]) -> int:
    """Read all; return how many are found. What is found has its digest."""
    found = 0
    for tenant, digest in held:
        data = await read(store, tenant, digest)
        assert data is None or Digest.of(data) == digest
        found += data is not None
    return found


def aside(folder: Path) -> list[str]:
    return sorted(
        f"{entry.name}/{part.name}"
        for entry in (folder / "quarantine").iterdir()
        for part in entry.iterdir()
    )


def drop_index(folder: Path) -> None:
    for path in folder.glob("index.sqlite*"):
        path.unlink()


async def test_a_lost_index_of_a_store_without_keys_comes_back(
    open_store: Open, put: Put, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    held = await fill(store, put, DEFAULT_TENANT)
    await put(store, DEFAULT_TENANT, PNG)
    await store.close()
    drop_index(folder)
    store = await open_store(StoreConfig(folder))
    assert await readable(store, held) == len(BLOBS)
    grant = await store.stat(DEFAULT_TENANT, Digest.of(PNG))
    assert grant is not None
    assert (grant.media_type, grant.width, grant.height) == ("image/png", 3, 2)
    stats = await store.stats()
    assert (stats.blobs, stats.grants) == (len(BLOBS) + 1, len(BLOBS) + 1)
    assert (await store.missing(DEFAULT_TENANT, [digest for _, digest in held])).missing == []
    assert await store.recovery.done() is None
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert await readable(store, held) == len(BLOBS)


async def test_a_lost_index_of_a_store_with_keys_opens_to_nobody(
    open_store: Open, put: Put, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = await open_store(StoreConfig(folder))
    made = await store.keys.create(tenant="a", scopes={"read"})
    held = await fill(store, put, "a", "b")
    await store.close()
    drop_index(folder)
    store = await open_store(StoreConfig(folder))
    assert await store.keys.any_exist()
    assert await store.keys.verify(made.key.text) is None
    assert "keys create" in caplog.text
    assert await readable(store, held) == 0
    assert await readable(store, [(DEFAULT_TENANT, digest) for _, digest in held]) == 0
    stats = await store.stats()
    assert (stats.blobs, stats.condemned_blobs, stats.grants) == (len(BLOBS), len(BLOBS), 0)
    await put(store, "a", BLOBS[0])  # an upload revives it
    assert await read(store, "a", Digest.of(BLOBS[0])) == BLOBS[0]


async def test_a_store_that_had_keys_before_there_was_the_mark(
    open_store: Open, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    await store.keys.create(tenant="a", scopes={"read"})
    await store.close()
    (folder / "keyed").unlink()
    await (await open_store(StoreConfig(folder))).close()
    assert (folder / "keyed").exists()


async def test_keys_are_not_made_in_a_folder_that_lost_its_index(
    open_store: Open, put: Put, folder: Path
) -> None:
    """A new, empty index would let the blobs be swept."""
    store = await open_store(StoreConfig(folder))
    await put(store, DEFAULT_TENANT, b"bytes")
    await store.close()
    drop_index(folder)
    with pytest.raises(DamagedDatabaseError, match="start the server"):
        async with open_keys(folder):
            pass
    store = await open_store(StoreConfig(folder))
    assert await read(store, DEFAULT_TENANT, Digest.of(b"bytes")) == b"bytes"


async def test_what_the_folder_lacks_is_not_found_until_it_is_uploaded(
    open_store: Open, put: Put, folder: Path, blob_path: Callable[[Digest], Path]
) -> None:
    store = await open_store(StoreConfig(folder))
    held = await fill(store, put, "a")
    await store.close()
    gone, torn = Digest.of(BLOBS[3]), Digest.of(BLOBS[5])
    blob_path(gone).unlink()
    blob_path(torn).write_bytes(b"to")
    damage(folder / "index.sqlite", "schema")
    store = await open_store(StoreConfig(folder))
    assert await readable(store, held) == len(BLOBS) - 2
    for data in (BLOBS[3], BLOBS[5]):
        await put(store, "a", data)
    assert await readable(store, held) == len(BLOBS)
    await assert_sound(store, folder)


def damage(path: Path, how: str, seed: int = 0) -> None:
    """Damage a database that nobody has open."""
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    match how:
        case "flip":
            for _ in range(chance.choice((1, 1, 4))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case "zero":
            at = chance.randrange(len(data) // 4096) * 4096
            data[at : at + 4096] = bytes(4096)
        case "noise":
            at = chance.randrange(len(data) // 4096) * 4096
            data[at : at + 4096] = chance.randbytes(4096)
        case "header":
            data[:100] = bytes(100)
        case "first":
            data[:4096] = chance.randbytes(4096)
        case "half":
            data = data[: len(data) // 2]
        case "random":
            data[:] = chance.randbytes(len(data))
        case "empty":
            data.clear()
        case "schema":
            data[:] = data.replace(b"CREATE TABLE seeds", b"CREATE TABLE seedz")
        case _:
            raise AssertionError(how)
    path.write_bytes(data)


async def assert_sound(store: Store, folder: Path) -> None:
    """The index is whole, and its sums are what its rows add up to."""
    with closing(sqlite3.connect(folder / "index.sqlite")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert (
            connection.execute(
                "SELECT count(*) FROM blob_totals AS t WHERE (blobs, bytes) != "
                "(SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE state = t.state)"
            ).fetchone()[0]
            == 0
        )
        assert (
            connection.execute(
                "SELECT count(*) FROM tenants AS t WHERE (grants, grant_bytes) != "
                "(SELECT count(*), coalesce(sum(size), 0) FROM grants JOIN blobs USING (digest) "
                "WHERE grants.tenant = t.tenant)"
            ).fetchone()[0]
            == 0
        )


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tenants and a key, well closed; only to be copied."""
    folder = tmp_path_factory.mktemp("rebuild") / "template"

    async def make() -> None:
        async with await Store.open(StoreConfig(folder), clock=lambda: 1_000_000.0) as store:
            for number, data in enumerate(BLOBS):
                receipt = await store.receive("ab"[number % 2], whole(data))
                if number % 3 == 0:
                    await store.pin("ab"[number % 2], receipt.grant.digest)
            await store.keys.create(tenant="a", scopes={"read"}, label="laptop")

    asyncio.run(make())
    return folder


async def whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def template(made_once: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return shutil.copytree(made_once, tmp_path / "template")


CASES = [
    *[("flip", seed) for seed in range(24)],
    *[("zero", seed) for seed in range(8)],
    *[("noise", seed) for seed in range(8)],
    *[(how, 0) for how in ("half", "random", "empty", "schema", "header", "first")],
]


@pytest.mark.parametrize(("how", "seed"), CASES)
async def test_however_it_is_damaged_a_working_store_comes_of_it(
    open_store: Open, put: Put, template: Path, how: str, seed: int
) -> None:
    folder = template
    damage(folder / "index.sqlite", how, seed)
    held = [("ab"[number % 2], Digest.of(data)) for number, data in enumerate(BLOBS)]
    store = await open_store(StoreConfig(folder))
    found = await readable(store, held)
    assert await readable(store, [("ba"[number % 2], d) for number, (_, d) in enumerate(held)]) == 0
    if how in ("header", "first"):
        assert found == len(BLOBS)
        assert [info.label for info in await store.keys.list()] == ["laptop"]
    if how in ("flip", "schema"):
        assert found >= len(BLOBS) - 4
    assert await store.keys.any_exist()  # never open to everybody
    for (tenant, _), data in zip(held, BLOBS, strict=True):
        await put(store, tenant, data)
    assert await readable(store, held) == len(BLOBS)
    await store.close()
    await assert_sound(store, folder)


async def test_the_damaged_files_are_kept(template: Path, open_store: Open) -> None:
    for number in (1, 2):
        damage(template / "index.sqlite", "schema")
        store = await open_store(StoreConfig(template))
        assert f"index-{number}/index.sqlite" in aside(template)
        await store.close()
    assert not {"index.sqlite-damaged", "index.sqlite.rebuilt"} & set(os.listdir(template))


async def test_grants_keys_and_types_are_salvaged(open_store: Open, put: Put, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    made = await store.keys.create(tenant="a", scopes={"read", "write"}, label="laptop")
    revoked = await store.keys.create(tenant="a", scopes={"read"})
    await store.keys.revoke(revoked.key.id)
    digest = (await put(store, "a", PNG, declared_type="image/x")).grant.digest
    before = await store.pin("a", digest)
    await store.close()
    damage(folder / "index.sqlite", "schema")
    store = await open_store(StoreConfig(folder))
    assert await store.stat("a", digest) == before
    info = await store.keys.verify(made.key.text)
    assert info is not None
    assert (info.tenant, info.label) == ("a", "laptop")
    assert info.scopes == {"read", "write"}
    assert await store.keys.verify(revoked.key.text) is None
    assert await read(store, "b", digest) is None


async def test_what_was_condemned_is_not_given_away(
    open_store: Open, put: Put, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    digest = (await put(store, DEFAULT_TENANT, PNG)).grant.digest
    await store.release(DEFAULT_TENANT, digest)
    await store.close()
    damage(folder / "index.sqlite", "schema")
    store = await open_store(StoreConfig(folder))
    assert await store.stat(DEFAULT_TENANT, digest) is None
    assert (await store.stats()).condemned_blobs == 1


async def test_damage_met_later_is_noted_and_put_right_at_the_next_start(
    open_store: Open, put: Put, folder: Path, databases: Databases
) -> None:
    store = await open_store(StoreConfig(folder))
    held = await fill(store, put, "a")
    await store.close()
    store = await open_store(StoreConfig(folder))
    blank_pages(folder / "index.sqlite")

    def look(connection: Connection) -> None:
        for table in ("blobs", "holds", "keys"):
            connection.exec_driver_sql(f"SELECT * FROM {table}").all()

    with pytest.raises(DamagedDatabaseError, match="restart"):
        await databases(store)[0].read(look)
    assert (folder / "index.sqlite-damaged").exists()
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert not (folder / "index.sqlite-damaged").exists()
    await readable(store, held)
    for data in BLOBS:
        await put(store, "a", data)
    assert await readable(store, held) == len(BLOBS)


def blank_pages(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for at in range(4096 * 2, size, 4096):
            file.seek(at)
            file.write(bytes(64))


async def test_a_note_about_a_sound_index_goes(open_store: Open, put: Put, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", PNG)
    await store.close()
    (folder / "index.sqlite-damaged").write_text("a cable was loose")
    store = await open_store(StoreConfig(folder))
    assert not (folder / "index.sqlite-damaged").exists()
    assert await read(store, "a", Digest.of(PNG)) == PNG
    assert list((folder / "quarantine").iterdir()) == []


@pytest.mark.parametrize("name", ["index.sqlite", "prompts.sqlite"])
async def test_a_change_that_a_crash_cut_off_is_taken_back(
    open_store: Open, put: Put, folder: Path, name: str
) -> None:
    """With a journal beside it, which SQLite has until the file has its log."""
    store = await open_store(StoreConfig(folder))
    held = await fill(store, put, "a")
    await store.close()
    await asyncio.to_thread(leave_a_journal, folder / name)
    store = await open_store(StoreConfig(folder))
    assert await readable(store, held) == len(BLOBS)
    assert list((folder / "quarantine").iterdir()) == []


def leave_a_journal(path: Path) -> None:
    """Change a database, and leave it as a process that was killed does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE more AS SELECT zeroblob(100000) AS filler")
        for part in ("", "-journal"):
            there = path.with_name(path.name + part)
            shutil.copyfile(there, there.with_name(f"left{part}"))
    for part in ("", "-journal"):
        path.with_name(f"left{part}").rename(path.with_name(path.name + part))


async def test_damaged_prompts_are_begun_anew(open_store: Open, put: Put, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    held = await fill(store, put, "a")
    message = PromptMessage(Digest.of(b"p"), "[1]")
    await store.prompts.append("a", "d", prompt_root("d"), [message])
    await store.close()
    damage(folder / "prompts.sqlite", "random")
    store = await open_store(StoreConfig(folder))
    assert await store.prompts.expand("a", "d", message.digest) is None
    await store.prompts.append("a", "d", prompt_root("d"), [message])
    assert await store.prompts.expand("a", "d", message.digest) == ["[1]"]
    assert "prompts-1/prompts.sqlite" in aside(folder)
    assert await readable(store, held) == len(BLOBS)


async def test_an_index_that_others_have_open_is_not_taken_away(
    put: Put, folder: Path, now: list[float]
) -> None:
    shared = SharedFolder.take(folder)
    try:
        one = await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared)
        await put(one, "a", PNG)
        (folder / "index.sqlite").rename(folder / "elsewhere")
        with pytest.raises(DamagedDatabaseError):
            await Store.open(StoreConfig(folder), shared=shared)
        (folder / "elsewhere").rename(folder / "index.sqlite")
        async with await Store.open(
            StoreConfig(folder), clock=lambda: now[0], shared=shared
        ) as other:
            assert await read(other, "a", Digest.of(PNG)) == PNG
        await one.close()
    finally:
        shared.close()


# Opens the folder that each line of its input names, in a fork of itself, since to import the store
# takes longer than to open one. A fork is killed at its n-th look at the folder, else tells how often
# it looked; -1 stands for one that was killed.
CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from coatcheck.store import Store, StoreConfig

async def look(folder, asked):
    seen = 0

    def watch(event, args):
        nonlocal seen
        if args and folder in str(args[0]):
            seen += 1
            if seen == asked:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    async with await Store.open(StoreConfig(Path(folder))):
        pass
    print(seen, flush=True)

for line in sys.stdin:
    asked, folder = line.rstrip().split(" ", 1)
    if not (pid := os.fork()):
        asyncio.run(look(folder, int(asked)))
        os._exit(0)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if ended:
        print(-1 if ended == -signal.SIGKILL else "failed", flush=True)
"""


@contextmanager
def opener() -> Generator[Callable[[Path, int], int]]:
    """Open a store in a process of its own, killed at its n-th look at the folder.

    Returns how often it looked; -1 if it was killed.
    """
    command = [sys.executable, "-c", CHILD]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, back = process.stdin, process.stdout

        def run(folder: Path, at: int) -> int:
            to.write(f"{at} {folder}\n")
            return int(back.readline())

        try:
            yield run
        finally:
            process.kill()


async def test_killed_anywhere_in_a_rebuild(
    template: Path, tmp_path: Path, open_store: Open
) -> None:
    """Whatever was reached, the next start ends with all of it."""
    damage(template / "index.sqlite", "schema")
    held = [("ab"[number % 2], Digest.of(data)) for number, data in enumerate(BLOBS)]
    chance = random.Random(0)
    with opener() as run:
        total = run(shutil.copytree(template, tmp_path / "whole"), 0)
        assert total > 0
        killed = 0
        for number in range(6):
            folder = tmp_path / f"killed-{number}"
            shutil.copytree(template, folder)
            for _ in range(2):
                # The end is where names change; most of what comes before is listing folders.
                at = total - chance.randrange(40) if number % 2 else chance.randrange(1, total)
                killed += run(folder, at) < 0
            store = await open_store(StoreConfig(folder))
            assert await readable(store, held) == len(BLOBS)
            assert (await store.keys.list())[0].label == "laptop"
            await store.close()
    assert killed >= 6
