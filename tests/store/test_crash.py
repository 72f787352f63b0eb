"""A process that dies while it receives: what it acknowledged is there, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import FolderInUseError, Receipt, Store, StoreConfig

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]

# Receives small blobs one after another and names each on its output once it is acknowledged,
# beside one upload that never ends.
CHILD = """
import asyncio, os, sys
from pathlib import Path
from coatcheck.store import Store, StoreConfig

async def one(data):
    yield data

async def main():
    store = await Store.open(StoreConfig(Path(sys.argv[1])), clock=lambda: 1_000_000.0)
    spooled, never = asyncio.Event(), asyncio.Event()

    async def endless():
        yield os.urandom(1 << 20)
        spooled.set()  # asked for more, so the first bytes are in their file
        await never.wait()

    hanging = asyncio.create_task(store.receive("a", endless()))
    await spooled.wait()
    for number in range(1_000_000):
        receipt = await store.receive("a", one(b"%d" % number * 1000))
        print(receipt.grant.digest, flush=True)

asyncio.run(main())
"""


@contextmanager
def child(folder: Path) -> Generator[subprocess.Popen[str]]:
    """Start the process, killed at the latest at the end."""
    command = [sys.executable, "-c", CHILD, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def temporaries(folder: Path) -> list[Path]:
    return list((folder / "spool").rglob("*.part"))


@pytest.mark.parametrize("acknowledged", [1, 20])
async def test_killed_while_receiving(open_store: Open, folder: Path, acknowledged: int) -> None:
    with child(folder) as process:
        assert process.stdout is not None
        digests = [Digest(process.stdout.readline().strip()) for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        digests += [Digest(line.strip()) for line in process.stdout if line.endswith("\n")]
        process.wait()
    assert temporaries(folder)
    store = await open_store(StoreConfig(folder))
    assert temporaries(folder) == []
    assert [entry.name for entry in (folder / "spool").iterdir() if entry.is_dir()] != []
    for digest in digests:
        async with await store.open_blob("a", digest) as reader:
            assert Digest.of(bytes(await reader.read_piece(0))) == digest
    committed = [path.name for path in (folder / "blobs").rglob("*") if path.is_file()]
    # One may have been on its way to its row when the end came.
    assert {digest.hex for digest in digests} <= set(committed)
    assert len(committed) <= len(digests) + 1


async def test_a_folder_in_use_by_another_process_is_refused(
    open_store: Open, put: Put, folder: Path
) -> None:
    with child(folder) as process:
        assert process.stdout is not None
        digest = Digest(process.stdout.readline().strip())
        with pytest.raises(FolderInUseError):
            await open_store(StoreConfig(folder))
        assert process.poll() is None
        assert temporaries(folder)
    store = await open_store(StoreConfig(folder))
    assert await store.stat("a", digest) is not None
    assert (await put(store, "a", os.urandom(10))).created


async def test_bytes_without_a_row_are_not_answered_for_and_do_no_harm(
    open_store: Open, put: Put, folder: Path, blob_path: Callable[[Digest], Path]
) -> None:
    """As after a crash between the rename and the index."""
    data = b"committed, never acknowledged"
    digest = Digest.of(data)
    store = await open_store(StoreConfig(folder))
    blob_path(digest).write_bytes(b"torn")
    assert await store.stat("a", digest) is None
    await put(store, "a", data)
    async with await store.open_blob("a", digest) as reader:
        assert bytes(await reader.read_piece(0)) == data
