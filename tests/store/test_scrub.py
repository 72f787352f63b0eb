"""A scrub finds what nobody reads, at its rate, from where it stopped; seeds are changed by it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from coatcheck.protocol import PIECE_BYTES, Digest
from coatcheck.store import (
    BlobNotFoundError,
    Receipt,
    ScrubProgress,
    ScrubRunningError,
    SharedFolder,
    Store,
    StoreConfig,
)
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]
Databases = Callable[[Store], tuple[Database, Database]]

BLOBS = [b"%d" % number * 100 for number in range(100)]
LARGE = bytes(range(256)) * (2 * PIECE_BYTES // 256) + b"and some more"


async def scrub(store: Store, *, rotate_seed: bool = False) -> ScrubProgress:
    """Run one to its end and return what it said last."""
    async with aclosing(store.scrub.run(rotate_seed=rotate_seed)) as steps:
        return [step async for step in steps][-1]


async def read(store: Store, digest: Digest) -> bytes:
    async with await store.open_blob("a", digest) as reader:
        return b"".join([bytes(chunk) async for chunk in reader.chunks()])


async def rows(store: Store, databases: Databases, query: str) -> list[tuple[object, ...]]:
    return await databases(store)[0].read(
        lambda c: [tuple(row) for row in c.exec_driver_sql(query)]
    )


async def change(store: Store, databases: Databases, statement: str) -> None:
    await databases(store)[0].run(lambda c: c.exec_driver_sql(statement).close())


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


class Time:
    """Seconds that pass only by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


async def test_an_empty_store_is_clean(store: Store) -> None:
    done = await scrub(store)
    assert done.is_clean
    assert done.finished_at is not None
    assert (done.checked_blobs, done.total_blobs) == (0, 0)


@pytest.mark.parametrize("at", [0, PIECE_BYTES + 5, len(LARGE) - 1])
async def test_a_flipped_bit_that_nobody_read_is_found(
    disk_store: Store, put: Put, blob_path: BlobPath, folder: Path, at: int
) -> None:
    for data in BLOBS:
        await put(disk_store, "a", data)
    digest = (await put(disk_store, "a", LARGE)).grant.digest
    assert (await scrub(disk_store)).is_clean
    flip(blob_path(digest), at)
    done = await scrub(disk_store)
    assert (done.damaged_blobs, done.checked_blobs) == (1, len(BLOBS) + 1)
    assert disk_store.counts.damaged_blobs == 1
    assert disk_store.counts.scrubbed_blobs == 2 * len(BLOBS) + 2
    assert (folder / "quarantine" / digest.hex).exists()
    assert await disk_store.stat("a", digest) is None
    await put(disk_store, "a", LARGE)
    assert (await scrub(disk_store)).is_clean
    assert await read(disk_store, digest) == LARGE


async def test_bytes_that_are_gone_are_found(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    digest = (await put(disk_store, "a", b"bytes")).grant.digest
    blob_path(digest).unlink()
    done = await scrub(disk_store)
    assert done.reconciled == 1
    assert await disk_store.stat("a", digest) is None


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE blobs SET checksums = x'00112233445566778899aabbccddeeff'",
        "UPDATE blobs SET seed_version = 7",
        "UPDATE blobs SET size = size + 1",
        "UPDATE seeds SET seed = x'0011223344556677'",
    ],
)
@pytest.mark.parametrize("by", ["scrub", "reading"])
async def test_the_digest_decides_where_the_index_is_wrong(
    disk_store: Store, put: Put, databases: Databases, folder: Path, damage: str, by: str
) -> None:
    digest = (await put(disk_store, "a", b"bytes")).grant.digest
    await change(disk_store, databases, damage)
    disk_store._hot.forget_blob(digest)  # pyright: ignore[reportPrivateUsage]
    if by == "scrub":
        await scrub(disk_store)
    assert await read(disk_store, digest) == b"bytes"
    assert (await scrub(disk_store)).is_clean
    assert await rows(disk_store, databases, "SELECT size, state FROM blobs") == [(5, "live")]
    assert await rows(disk_store, databases, "SELECT grant_bytes FROM tenants") == [(5,)]
    assert list((folder / "quarantine").iterdir()) == []


async def test_the_rate_is_kept_by_the_given_time(disk_store: Store, put: Put) -> None:
    for number in range(20):
        await put(disk_store, "a", bytes([number]) * 100_000)
    await put(disk_store, "a", LARGE)
    time = Time()
    total = 20 * 100_000 + len(LARGE)
    run = disk_store.scrub.run(bytes_per_second=1e6, monotonic=time, pause=time.pause)
    async with aclosing(run) as steps:
        async for step in steps:
            # Never ahead of the rate by more than one step.
            assert step.checked_bytes <= time.now * 1e6 + 2 * PIECE_BYTES + len(LARGE)
            if step.finished_at is not None:
                assert step.checked_bytes == total
    assert time.now >= (total - PIECE_BYTES) / 1e6
    assert time.now <= (total + 2 * PIECE_BYTES) / 1e6


async def test_without_a_rate_nothing_waits(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", LARGE)
    time = Time()
    async with aclosing(disk_store.scrub.run(monotonic=time, pause=time.pause)) as steps:
        assert [step async for step in steps][-1].finished_at is not None
    assert time.pauses == []


async def test_it_goes_on_where_it_stopped_also_after_a_restart(
    open_store: Open, put: Put, folder: Path, now: list[float]
) -> None:
    store = await open_store(StoreConfig(folder))
    for data in BLOBS:
        await put(store, "a", data)
    time = Time()
    run = store.scrub.run(bytes_per_second=4096, monotonic=time, pause=time.pause)
    async with aclosing(run) as steps:
        async for step in steps:
            if step.checked_blobs >= 64:  # each took a second, and its place is kept
                break
    status = await store.scrub.status()
    assert status is not None
    assert 0 < status.checked_blobs <= 64
    assert status.finished_at is None
    await store.close()
    now[0] += 100
    store = await open_store(StoreConfig(folder))
    async with aclosing(store.scrub.run()) as steps:
        first = await anext(steps)
        assert (first.checked_blobs, first.started_at) == (status.checked_blobs, now[0] - 100)
        last = [step async for step in steps][-1]
    # The last one before the stop is checked again.
    assert (last.checked_blobs, last.finished_at) == (len(BLOBS) + 1, now[0])
    assert store.counts.scrubbed_blobs == len(BLOBS) + 1 - status.checked_blobs
    assert (await scrub(store)).started_at == now[0]  # it was over, so it begins anew


async def test_it_can_be_begun_anew(disk_store: Store, put: Put) -> None:
    for data in BLOBS:
        await put(disk_store, "a", data)
    time = Time()
    run = disk_store.scrub.run(bytes_per_second=4096, monotonic=time, pause=time.pause)
    async with aclosing(run) as steps:
        async for step in steps:
            if step.checked_blobs:
                break
    async with aclosing(disk_store.scrub.run(restart=True)) as steps:
        assert (await anext(steps)).checked_blobs == 0


async def test_one_runs_at_a_time(folder: Path, put: Put, now: list[float]) -> None:
    shared = SharedFolder.take(folder)
    try:
        async with (
            await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared) as one,
            await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared) as other,
        ):
            await put(one, "a", b"bytes")
            async with aclosing(one.scrub.run()) as steps:
                await anext(steps)
                for store in (one, other):
                    with pytest.raises(ScrubRunningError):
                        await scrub(store)
            assert (await scrub(other)).is_clean
    finally:
        shared.close()


async def test_rows_that_do_not_agree_are_mended(
    disk_store: Store, put: Put, databases: Databases
) -> None:
    kept = (await put(disk_store, "a", b"kept")).grant.digest
    lone = (await put(disk_store, "a", b"lone")).grant.digest
    for statement in (
        "UPDATE blob_totals SET blobs = 17",
        "UPDATE tenants SET grant_bytes = 4",
        f"UPDATE blobs SET state = 'condemned' WHERE digest = '{kept}'",
        f"DELETE FROM holds WHERE digest = '{lone}'",
    ):
        await change(disk_store, databases, statement)
    await scrub(disk_store)
    assert await rows(disk_store, databases, "SELECT state, blobs FROM blob_totals") == [
        ("live", 1),
        ("condemned", 1),
        ("quarantined", 0),
    ]
    assert await rows(disk_store, databases, "SELECT grants, grant_bytes FROM tenants") == [(1, 4)]
    assert await read(disk_store, kept) == b"kept"
    assert await disk_store.stat("a", lone) is None


async def test_a_rotated_seed_is_used_by_all(
    open_store: Open, put: Put, databases: Databases, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    for data in (*BLOBS, LARGE):
        await put(store, "a", data)
    before = (folder / "seed").read_text()
    async with await store.open_blob("a", Digest.of(LARGE)) as reader:
        async with aclosing(store.scrub.run(rotate_seed=True)) as steps:
            await anext(steps)
            await put(store, "a", b"meanwhile")
            assert (await rows(store, databases, "SELECT max(seed_version) FROM blobs")) == [(2,)]
            last = [step async for step in steps][-1]
        # Who has the old checksums goes on with them.
        assert b"".join([bytes(chunk) async for chunk in reader.chunks()]) == LARGE
    assert (last.rewritten_blobs, last.damaged_blobs) == (len(BLOBS) + 1, 0)
    assert await rows(store, databases, "SELECT version FROM seeds") == [(2,)]
    assert await rows(store, databases, "SELECT DISTINCT seed_version FROM blobs") == [(2,)]
    after = (folder / "seed").read_text()
    assert after.startswith("2 ")
    assert after.split()[1] != before.split()[1]
    await store.close()
    store = await open_store(StoreConfig(folder))
    for data in (*BLOBS, LARGE, b"meanwhile"):
        assert await read(store, Digest.of(data)) == data
    assert (folder / "seed").read_text() == after


async def test_another_process_learns_of_a_new_seed(
    folder: Path, put: Put, databases: Databases, now: list[float]
) -> None:
    shared = SharedFolder.take(folder)
    try:
        async with (
            await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared) as one,
            await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared) as other,
        ):
            await put(other, "a", b"before")
            await scrub(one, rotate_seed=True)
            await put(one, "a", b"after")
            await put(other, "a", b"with the old seed, which nobody has any more")
            for data in (b"before", b"after", b"with the old seed, which nobody has any more"):
                for store in (one, other):
                    assert await read(store, Digest.of(data)) == data
            now[0] += 61
            await put(other, "a", b"a minute later")
            assert (await rows(one, databases, "SELECT min(seed_version) FROM blobs")) == [(2,)]
    finally:
        shared.close()


async def test_beside_readers_uploads_and_releases(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    stop = asyncio.Event()
    for data in BLOBS:
        await put(disk_store, "a", data)

    async def traffic(offset: int) -> int:
        turns = 0
        while not stop.is_set():
            data = BLOBS[(turns * 7 + offset) % len(BLOBS)]
            await put(disk_store, "a", data)
            try:
                assert await read(disk_store, Digest.of(data)) == data
                if turns % 3 == 0:
                    await disk_store.release("a", Digest.of(data))
            except BlobNotFoundError:
                pass  # the other one has let go of it
            turns += 1
        return turns

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(traffic(offset)) for offset in (0, 50)]
        for _ in range(3):
            done = await scrub(disk_store, rotate_seed=True)
            assert (done.damaged_blobs, done.unreadable_blobs) == (0, 0)
            now[0] += 3700
            await disk_store.sweep.run()
        stop.set()
    assert all(task.result() for task in tasks)
    assert (await scrub(disk_store)).is_clean


CHILD = """
import asyncio, sys
from pathlib import Path
from coatcheck.store import Store, StoreConfig

async def main():
    async with await Store.open(StoreConfig(Path(sys.argv[1])), clock=lambda: 1e6) as store:
        async for step in store.scrub.run(rotate_seed=len(sys.argv) > 2):
            print(step.checked_blobs, flush=True)

asyncio.run(main())
"""


def kill_in_the_middle(folder: Path, *arguments: str, steps: int) -> None:
    command = [sys.executable, "-c", CHILD, str(folder), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for _ in range(steps):
                assert process.stdout.readline()
        finally:
            process.send_signal(signal.SIGKILL)


async def test_killed_in_the_middle_of_a_rotation(
    open_store: Open, put: Put, folder: Path, blob_path: BlobPath
) -> None:
    store = await open_store(StoreConfig(folder))
    blobs = [os.urandom(100) for _ in range(400)]
    for at in range(0, len(blobs), 50):  # at once, so that they share commits
        await asyncio.gather(*[put(store, "a", data) for data in blobs[at : at + 50]])
    await store.close()
    for steps in (1, 3, 5):
        await asyncio.to_thread(kill_in_the_middle, folder, "rotate", steps=steps)
        store = await open_store(StoreConfig(folder))
        for data in blobs:
            assert await read(store, Digest.of(data)) == data
        await store.close()
    flip(blob_path(Digest.of(blobs[0])), 0)
    store = await open_store(StoreConfig(folder))
    done = await scrub(store)
    assert done.damaged_blobs == 1
    assert (await scrub(store)).rewritten_blobs == 0
