"""What fails beside the bytes: the index, the disk, whoever waits. Turns go on from the store."""

import asyncio
import os
import random
import secrets
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coatcheck.client import Sink
from coatcheck.daemon.cache import CacheConfig
from coatcheck.daemon.cache.counts import CacheCounts
from coatcheck.daemon.cache.errors import NoRoomError
from coatcheck.daemon.cache.fetch import Fetcher
from coatcheck.daemon.cache.files import CacheFiles
from coatcheck.daemon.cache.index import CacheIndex
from coatcheck.daemon.cache.rows import Copy
from coatcheck.daemon.cache.threads import Threads
from coatcheck.protocol import PIECE_BYTES, Digest
from coatcheck.store import StoreError

from .conftest import Clock, FakeOrigin, OpenCache, get

LARGE = random.Random(7).randbytes(2 * PIECE_BYTES + 12345)


def break_index(folder: Path) -> None:
    """Take the index's tables away behind the cache's back."""
    with closing(sqlite3.connect(folder / "cache" / "cache.sqlite")) as database:
        names = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        database.execute("PRAGMA foreign_keys=OFF")
        for (name,) in names:
            database.execute(f'DROP TABLE "{name}"')
        database.commit()


async def test_a_read_outlives_its_copy_and_the_index(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    reader = await cache.open_blob("a", digest, len(LARGE))
    parts = [bytes(await reader.read_piece(0))]
    os.truncate(tmp_path / "cache" / "blobs" / digest.hex, 0)
    break_index(tmp_path)
    parts += [bytes(await reader.read_piece(index)) for index in (1, 2)]
    await reader.close()
    assert b"".join(parts) == LARGE
    assert cache.counts.streamed_blobs == 1


async def supply(sink: Sink) -> None:
    await asyncio.to_thread(sink.write, LARGE)


class WatchedFiles(CacheFiles):
    """Files that tell when a fetch of another process was found going on."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looked = threading.Event()

    def incoming_bytes(self, digest: Digest) -> int:
        self.looked.set()
        return super().incoming_bytes(digest)


async def test_an_index_that_fails_after_another_process_has_fetched_is_no_room(
    tmp_path: Path,
) -> None:
    config = CacheConfig(tmp_path / "cache", min_free_bytes=0)
    files, threads = WatchedFiles(config.folder), Threads(2)
    files.make()
    index = await CacheIndex.open(files, config, secrets.token_bytes)
    fetcher = Fetcher(files, index, threads, CacheCounts(), Clock(), 1)
    digest = Digest.of(LARGE)
    other = files.begin(digest)
    assert other is not None
    waiting = asyncio.create_task(fetcher.fetch(digest, len(LARGE), supply))
    await asyncio.to_thread(files.looked.wait)
    break_index(tmp_path)
    other.publish()
    other.close()
    with pytest.raises(NoRoomError):
        await waiting
    await fetcher.close()
    await index.close()
    threads.close()


async def test_a_file_that_cannot_be_looked_at_is_no_copy(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    incoming = tmp_path / "cache" / "incoming"
    incoming.rmdir()
    incoming.write_bytes(b"no folder")
    assert await cache.prepare("a", [(digest, len(LARGE))]) == set()
    assert await get(cache, digest, len(LARGE)) == LARGE


class FailingIndex(CacheIndex):
    """An index whose commits fail after the file has got its name."""

    async def commit(self, copy: Copy, publish: Callable[[], None]) -> list[Digest]:
        def fail() -> None:
            publish()
            raise OSError("the disk is gone")

        return await super().commit(copy, fail)


async def test_a_commit_that_fails_leaves_no_file_without_a_row(tmp_path: Path) -> None:
    config = CacheConfig(tmp_path / "cache", min_free_bytes=0)
    files, threads = CacheFiles(config.folder), Threads(2)
    files.make()
    index = await FailingIndex.open(files, config, secrets.token_bytes)
    fetcher = Fetcher(files, index, threads, CacheCounts(), Clock(), 1)
    with pytest.raises(NoRoomError):
        await fetcher.fetch(Digest.of(LARGE), len(LARGE), supply)
    assert os.listdir(tmp_path / "cache" / "blobs") == []
    assert os.listdir(tmp_path / "cache" / "incoming") == []
    assert (await index.sums()).reserved == 0
    await fetcher.close()
    await index.close()
    threads.close()


async def test_a_fetch_that_nobody_waits_for_ends(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    origin.gate.clear()
    turn = asyncio.create_task(cache.prepare("a", [(digest, len(LARGE))]))
    await origin.begun.wait()
    turn.cancel()
    await asyncio.wait([turn])
    await origin.ended.wait()
    await cache.put(digest, LARGE)  # waits for what is being fetched
    assert os.listdir(tmp_path / "cache" / "incoming") == []
    assert (await cache.sums()).reserved == 0
    origin.gate.set()
    assert await get(cache, digest, len(LARGE)) == LARGE


async def test_all_turns_together_fetch_a_bounded_number_at_once(
    open_cache: OpenCache, origin: FakeOrigin
) -> None:
    cache = await open_cache(max_fetches=2)
    blobs = [random.Random(seed).randbytes(1000) for seed in range(6)]
    digests = [origin.add(data) for data in blobs]
    origin.gate.clear()
    turns = [asyncio.create_task(cache.prepare("a", [(digest, 1000)])) for digest in digests]
    await origin.begun.wait()
    await cache.put(Digest.of(LARGE), LARGE)  # what is at hand waits for none of them
    assert len(origin.asked) == 2
    origin.gate.set()
    assert await asyncio.gather(*turns) == [set()] * 6
    assert len(origin.asked) == 6


def rename(folder: Path, table: str, name: str) -> None:
    with closing(sqlite3.connect(folder / "cache" / "cache.sqlite")) as database:
        database.execute(f"ALTER TABLE {table} RENAME TO {name}")
        database.commit()


async def test_uses_that_could_not_be_written_are_written_later(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    await get(cache, digest, len(LARGE))
    for _ in range(3):
        await cache.prepare("a", [(digest, len(LARGE))])
    rename(tmp_path, "copies", "elsewhere")
    with pytest.raises(StoreError):
        await cache.write_notes()
    rename(tmp_path, "elsewhere", "copies")
    await cache.prepare("a", [(digest, len(LARGE))])
    assert [copy.hits for copy in await cache.newest(1)] == [4]


async def test_an_index_that_fails_does_not_end_the_noting(
    open_cache: OpenCache,
    origin: FakeOrigin,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    cache = await open_cache()
    blobs = [random.Random(seed).randbytes(10) for seed in range(300)]
    wanted = [(origin.add(data), len(data)) for data in blobs]
    await cache.prepare("a", wanted)
    await cache.write_notes()
    rename(tmp_path, "copies", "elsewhere")
    await cache.prepare("a", wanted)
    await cache.close()
    assert "uses of copies were not written yet" in caplog.text
