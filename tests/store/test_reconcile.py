"""After it, files and rows agree, and nothing that anybody holds has been lost by it."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import (
    CorruptBlobError,
    Disagreement,
    Receipt,
    SharedFolder,
    Store,
    StoreConfig,
)
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]
Databases = Callable[[Store], tuple[Database, Database]]

DATA = b"bytes"
DIGEST = Digest.of(DATA)
HOUR = 3600


async def agreement(store: Store, folder: Path, databases: Databases) -> None:
    """Assert that each file has a row of its size, and each row of good bytes its file."""
    stored = {
        f"sha256:{entry.name}": entry.stat().st_size
        for shard in (folder / "blobs" / "sha256").iterdir()
        for entry in shard.iterdir()
    }
    rows = await databases(store)[0].read(
        lambda c: {
            str(digest): int(size)
            for digest, size in c.exec_driver_sql(
                "SELECT digest, size FROM blobs WHERE state != 'quarantined'"
            )
        }
    )
    assert rows == stored


async def read(store: Store, digest: Digest) -> bytes:
    async with await store.open_blob("a", digest) as reader:
        return bytes(await reader.read_piece(0))


async def test_where_all_agrees_nothing_is_done(
    disk_store: Store, put: Put, folder: Path, databases: Databases
) -> None:
    for number in range(300):
        await put(disk_store, "a", b"%d" % number)
    done = await disk_store.reconcile.run()
    assert (done.shards, done.files, done.disagreements, done.foreign) == (256, 300, 0, 0)
    await agreement(disk_store, folder, databases)


async def test_bytes_without_a_row_are_condemned_and_revived_by_an_upload(
    disk_store: Store, put: Put, blob_path: BlobPath, folder: Path, databases: Databases
) -> None:
    blob_path(DIGEST).write_bytes(DATA)
    done = await disk_store.reconcile.run()
    assert (done.adopted, done.adopted_bytes, done.disagreements) == (1, len(DATA), 1)
    await agreement(disk_store, folder, databases)
    assert await disk_store.stat("a", DIGEST) is None
    stats = await disk_store.stats()
    assert (stats.condemned_blobs, stats.condemned_bytes) == (1, len(DATA))
    await put(disk_store, "a", DATA)
    assert await read(disk_store, DIGEST) == DATA
    assert (await disk_store.reconcile.run()).disagreements == 0


async def test_bytes_without_a_row_go_after_their_review(
    disk_store: Store, blob_path: BlobPath, now: list[float]
) -> None:
    blob_path(DIGEST).write_bytes(DATA)
    await disk_store.reconcile.run()
    now[0] += HOUR - 1
    assert (await disk_store.sweep.run()).removed_blobs == 0
    now[0] += 1
    assert (await disk_store.sweep.run()).removed_blobs == 1
    assert not blob_path(DIGEST).exists()


async def test_torn_bytes_without_a_row_do_an_upload_no_harm(
    disk_store: Store, put: Put, blob_path: BlobPath, databases: Databases
) -> None:
    """The row that stands for them has their size; the upload brings the right one."""
    blob_path(DIGEST).write_bytes(b"by")
    await disk_store.reconcile.run()
    grant = (await put(disk_store, "a", DATA)).grant
    assert grant.size == len(DATA)
    assert await read(disk_store, DIGEST) == DATA
    sums = await databases(disk_store)[0].read(
        lambda c: c.exec_driver_sql("SELECT sum(bytes) FROM blob_totals").scalar_one()
    )
    assert sums == len(DATA)


@pytest.mark.parametrize("damage", [None, b"byt", b"other"])
async def test_a_row_without_its_bytes_answers_as_not_found_and_an_upload_heals_it(
    disk_store: Store,
    put: Put,
    blob_path: BlobPath,
    folder: Path,
    databases: Databases,
    damage: bytes | None,
) -> None:
    await put(disk_store, "a", DATA)
    assert await disk_store.stat("a", DIGEST) is not None  # and remembered
    blob_path(DIGEST).unlink()
    if damage is not None:
        blob_path(DIGEST).write_bytes(damage)
    done = await disk_store.reconcile.run()
    if damage != b"other":  # of the same size: a read or a scrub finds it
        assert (done.quarantined, done.disagreements) == (1, 1)
        assert await disk_store.stat("a", DIGEST) is None
        assert (await disk_store.missing("a", [DIGEST])).missing == [DIGEST]
    else:
        with pytest.raises(CorruptBlobError):
            await disk_store.open_blob("a", DIGEST)
    await agreement(disk_store, folder, databases)
    await put(disk_store, "a", DATA)
    assert await read(disk_store, DIGEST) == DATA


async def test_a_wrong_size_in_the_index_costs_no_bytes(
    disk_store: Store, put: Put, databases: Databases, folder: Path
) -> None:
    await put(disk_store, "a", DATA)
    await databases(disk_store)[0].run(
        lambda c: c.exec_driver_sql("UPDATE blobs SET size = 1000").close()
    )
    await disk_store.reconcile.run()
    assert await read(disk_store, DIGEST) == DATA
    await agreement(disk_store, folder, databases)


async def test_damaged_bytes_that_were_not_moved_aside_are(
    disk_store: Store, put: Put, blob_path: BlobPath, folder: Path
) -> None:
    await put(disk_store, "a", DATA)
    blob_path(DIGEST).write_bytes(b"Bytes")
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", DIGEST)
    (folder / "quarantine" / DIGEST.hex).rename(blob_path(DIGEST))  # as after a power cut
    assert (await disk_store.reconcile.run()).moved_aside == 1
    assert not blob_path(DIGEST).exists()


async def test_what_is_no_blob_is_told_and_left(
    disk_store: Store, put: Put, folder: Path, blob_path: BlobPath, caplog: pytest.LogCaptureFixture
) -> None:
    await put(disk_store, "a", DATA)
    root = folder / "blobs" / "sha256"
    (root / "notes.txt").write_text("mine")
    (root / "00" / DIGEST.hex).write_bytes(DATA)  # where it does not belong
    (root / "ab" / ("ab" * 32)).symlink_to("/nowhere")
    done = await disk_store.reconcile.run()
    assert (done.foreign, done.disagreements) == (3, 0)
    assert "notes.txt" in caplog.text
    assert (root / "notes.txt").read_text() == "mine"


async def test_without_mending_it_only_says(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", DATA)
    blob_path(DIGEST).unlink()
    lone = Digest.of(b"lone")
    blob_path(lone).write_bytes(b"lone")
    said = [found async for step in disk_store.reconcile.steps(mend=False) for found in step.found]
    assert sorted(said) == sorted([(Disagreement.NO_FILE, DIGEST), (Disagreement.NO_ROW, lone)])
    assert await disk_store.stat("a", DIGEST) is not None
    assert (await disk_store.stats()).condemned_blobs == 0


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_happened_to_either_they_agree_afterwards(
    disk_store: Store,
    put: Put,
    blob_path: BlobPath,
    folder: Path,
    databases: Databases,
    seed: int,
) -> None:
    chance = random.Random(seed)
    blobs = [b"%d" % number * 3 for number in range(60)]
    untouched: list[bytes] = []
    for data in blobs:
        path = blob_path(Digest.of(data))
        match chance.randrange(6):
            case 0:
                path.write_bytes(data)
            case 1:
                await put(disk_store, "a", data)
                path.unlink()
            case 2:
                await put(disk_store, "a", data)
                path.write_bytes(data[: chance.randrange(len(data))])
            case 3:
                await put(disk_store, "a", data)
                await disk_store.release("a", Digest.of(data))
                if chance.random() < 0.5:
                    path.unlink()
            case _:
                await put(disk_store, "a", data)
                untouched.append(data)
    await disk_store.reconcile.run()
    await agreement(disk_store, folder, databases)
    assert (await disk_store.reconcile.run()).disagreements == 0
    for data in untouched:
        assert await read(disk_store, Digest.of(data)) == data
    for data in blobs:
        await put(disk_store, "a", data)
        assert await read(disk_store, Digest.of(data)) == data
    await agreement(disk_store, folder, databases)


async def test_uploads_and_removals_beside_it_are_no_disagreement(
    disk_store: Store, put: Put, folder: Path, databases: Databases, now: list[float]
) -> None:
    stop = asyncio.Event()

    async def traffic() -> None:
        number = 0
        while not stop.is_set():
            digest = (await put(disk_store, "a", b"%d" % (number % 50))).grant.digest
            await disk_store.release("a", digest)
            now[0] += HOUR
            await disk_store.sweep.run()
            number += 1

    async with asyncio.TaskGroup() as group:
        group.create_task(traffic())
        for _ in range(5):
            assert (await disk_store.reconcile.run()).disagreements == 0
        stop.set()
    await agreement(disk_store, folder, databases)


async def test_after_a_clean_end_nothing_is_looked_at(
    open_store: Open, put: Put, folder: Path, blob_path: BlobPath
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    assert await store.recovery.done() is None
    await store.close()
    assert (folder / "clean").exists()
    store = await open_store(StoreConfig(folder))
    assert not (folder / "clean").exists()
    assert await store.recovery.done() is None


async def test_after_another_end_it_runs_beside_the_first_requests(
    open_store: Open, put: Put, folder: Path, blob_path: BlobPath
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await store.close()
    (folder / "clean").unlink()
    blob_path(DIGEST).unlink()
    store = await open_store(StoreConfig(folder))
    done = await store.recovery.done()
    assert done is not None
    assert done.quarantined == 1
    assert await store.stat("a", DIGEST) is None


async def test_a_recovery_that_is_cut_off_is_begun_again(
    open_store: Open, put: Put, folder: Path, blob_path: BlobPath
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await store.close()
    (folder / "clean").unlink()
    blob_path(DIGEST).unlink()
    await (await open_store(StoreConfig(folder))).close()  # at once
    assert not (folder / "clean").exists()
    store = await open_store(StoreConfig(folder))
    done = await store.recovery.done()
    assert done is not None
    assert done.quarantined == 1


async def test_a_start_that_fails_does_not_pass_for_a_clean_end(
    open_store: Open, put: Put, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await store.close()
    (folder / "clean").unlink()
    os.rename(folder / "prompts.sqlite", folder / "elsewhere")
    (folder / "prompts.sqlite").mkdir()
    with pytest.raises(Exception, match=r"unable to open|cannot|failed"):
        await open_store(StoreConfig(folder))
    assert not (folder / "clean").exists()


async def test_of_several_processes_one_does_it(folder: Path, put: Put, now: list[float]) -> None:
    shared = SharedFolder.take(folder)
    try:
        stores = [
            await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared)
            for _ in range(3)
        ]
        await put(stores[0], "a", DATA)
        for store in stores:
            await store.recovery.done()
            assert await read(store, DIGEST) == DATA
        for store in stores:
            await store.close()
        assert not (folder / "clean").exists()
    finally:
        shared.close()


async def test_a_store_in_memory_agrees_too(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    done = await store.reconcile.run()
    assert (done.files, done.disagreements) == (1, 0)
