"""A process that is killed in the middle of a part, and another one that goes on."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import NewUpload, SharedFolder, Store, StoreConfig, UploadLockedError

Open = Callable[[StoreConfig], Awaitable[Store]]

MIB = 1024 * 1024
SIZE = 24 * MIB + 12_345
DATA = random.Random(7).randbytes(SIZE)

# Goes on with an upload from where it is, in small chunks, and tells each byte count it has handed
# over; finishes it, too. Killed somewhere in between.
CHILD = f"""
import asyncio, random, sys
from pathlib import Path
from coatcheck.store import Store, StoreConfig

DATA = random.Random(7).randbytes({SIZE})

async def main():
    store = await Store.open(StoreConfig(Path(sys.argv[1])), clock=lambda: 1_000_000.0)
    upload = await store.uploads.stat("a", sys.argv[2])

    async def body():
        for at in range(upload.offset, len(DATA), 300_000):
            yield DATA[at : at + 300_000]
            print(at, flush=True)

    await store.uploads.append("a", upload.id, upload.offset, body())
    print("whole", flush=True)
    await store.uploads.finish("a", upload.id)
    print("finished", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def rest(offset: int) -> AsyncIterator[bytes]:
    for at in range(offset, SIZE, MIB):
        yield DATA[at : at + MIB]


def run_until(folder: Path, upload_id: str, lines: int, last: str = "") -> list[str]:
    """Run the child for so many lines, or until this one, and kill it."""
    command = [sys.executable, "-c", CHILD, str(folder), upload_id]
    said: list[str] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                said.append(line.strip())
                if len(said) == lines or said[-1] == last:
                    break
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return said


async def test_killed_again_and_again_and_resumed_each_time(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", SIZE, promised=Digest.of(DATA)))
    await store.close()
    acknowledged = 0
    for lines in (1, 5, 30, 33):
        run_until(folder, upload.id, lines)
        store = await open_store(StoreConfig(folder))
        found = await store.uploads.stat("a", upload.id)
        assert found is not None
        assert found.offset >= acknowledged
        acknowledged = found.offset
        await store.close()
    assert acknowledged >= 16 * MIB  # what is synced every few mebibytes is not sent again
    store = await open_store(StoreConfig(folder))
    await store.uploads.append("a", upload.id, acknowledged, rest(acknowledged))
    digest = (await store.uploads.finish("a", upload.id)).grant.digest
    async with await store.open_blob("a", digest) as reader:
        assert b"".join([bytes(chunk) async for chunk in reader.chunks()]) == DATA


@pytest.mark.parametrize("last", ["whole", "finished"])
async def test_killed_at_the_end(open_store: Open, folder: Path, last: str) -> None:
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", SIZE))
    await store.close()
    assert run_until(folder, upload.id, 1000, last)[-1] == last
    store = await open_store(StoreConfig(folder))
    found = await store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.is_whole
    assert found.is_finished or last == "whole"
    digest = (await store.uploads.finish("a", upload.id)).grant.digest
    async with await store.open_blob("a", digest) as reader:
        assert b"".join([bytes(chunk) async for chunk in reader.chunks()]) == DATA
    assert list((folder / "uploads").iterdir()) == []


async def test_several_processes_go_on_with_one_upload(folder: Path) -> None:
    """One after another at each byte; at once, one is told to wait."""
    shared = SharedFolder.take(folder)
    stores = [
        await Store.open(StoreConfig(folder), clock=lambda: 1_000_000.0, shared=shared)
        for _ in range(3)
    ]
    try:
        upload = await stores[0].uploads.create(NewUpload("a", 5 * MIB))
        for number in range(5):
            at = number * MIB

            async def body(at: int = at, number: int = number) -> AsyncIterator[bytes]:
                yield DATA[at : at + MIB // 2]
                other = stores[(number + 1) % 3]
                with pytest.raises(UploadLockedError):
                    await other.uploads.append("a", upload.id, at, rest(0))
                beside = await Store.open(StoreConfig(folder), shared=shared)  # looks through it
                await beside.close()
                yield DATA[at + MIB // 2 : at + MIB]

            await stores[number % 3].uploads.append("a", upload.id, at, body())
        receipt = await stores[2].uploads.finish("a", upload.id)
        assert receipt.grant.digest == Digest.of(DATA[: 5 * MIB])
        for store in stores:
            found = await store.uploads.stat("a", upload.id)
            assert found is not None
            assert found.digest == receipt.grant.digest
        assert os.listdir(folder / "uploads") == []
    finally:
        for store in stores:
            await store.close()
        shared.close()
