"""A disk that is small, takes no writes, has something else in a name's place, or loses the folder."""

import logging
import os
import random
import secrets
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from coatcheck.client import Sink
from coatcheck.daemon.cache import CacheConfig
from coatcheck.daemon.cache.counts import CacheCounts
from coatcheck.daemon.cache.fetch import Fetcher
from coatcheck.daemon.cache.files import CacheFiles
from coatcheck.daemon.cache.index import CacheIndex
from coatcheck.daemon.cache.threads import Threads
from coatcheck.protocol import PIECE_BYTES, Digest

from .conftest import MIB, Clock, FakeOrigin, OpenCache, get, taken

LARGE = random.Random(9).randbytes(2 * PIECE_BYTES + 12345)


class SmallDisk(CacheFiles):
    """Files on a disk of so many bytes, which has nothing else on it."""

    def __init__(self, folder: Path, size: int) -> None:
        super().__init__(folder)
        self._root = folder
        self._size = size

    def free_bytes(self) -> int:
        return self._size - taken(self._root)


async def test_a_blob_that_fits_the_disk_once_is_kept(tmp_path: Path) -> None:
    config = CacheConfig(tmp_path / "cache", min_free_bytes=0)
    files, threads = SmallDisk(config.folder, 6 * MIB), Threads(2)
    files.make()
    index = await CacheIndex.open(files, config, secrets.token_bytes)
    fetcher = Fetcher(files, index, threads, CacheCounts(), Clock(), 1)
    data = random.Random(1).randbytes(3_200_000)

    async def supply(sink: Sink) -> None:
        sink.begin(len(data))
        sink.write(data)

    assert await fetcher.fetch(Digest.of(data), len(data), supply)
    assert await index.find(Digest.of(data)) is not None
    await fetcher.close()
    await index.close()
    threads.close()


async def test_what_could_not_be_kept_is_not_fetched_again_at_once(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    blobs = tmp_path / "cache" / "blobs"
    blobs.rmdir()
    blobs.write_bytes(b"no folder")  # found out when all of it is there
    assert await cache.prepare("a", [(digest, len(LARGE))]) == set()
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert (len(origin.asked), origin.streams) == (2, 1)
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert (len(origin.asked), origin.streams) == (3, 2)


def damage(path: Path) -> None:
    os.truncate(path, 10)


@pytest.mark.parametrize("harm", [damage, Path.unlink])
async def test_a_copy_that_cannot_be_removed_is_passed_by(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """As in a folder that takes no writes any more; a trigger stands in, since root may all."""
    cache = await open_cache()
    digest = origin.add(LARGE)
    await get(cache, digest, len(LARGE))
    with closing(sqlite3.connect(tmp_path / "cache" / "cache.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER stuck BEFORE DELETE ON copies BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        database.commit()
    harm(tmp_path / "cache" / "blobs" / digest.hex)
    for _ in range(2):
        assert await get(cache, digest, len(LARGE)) == LARGE
        assert await cache.prepare("a", [(digest, len(LARGE))]) == set()


async def test_a_blobs_folder_that_is_none_is_passed_by(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    await get(cache, digest, len(LARGE))
    blobs = tmp_path / "cache" / "blobs"
    shutil.rmtree(blobs)
    blobs.write_bytes(b"no folder")
    caplog.clear()
    for _ in range(2):
        assert await get(cache, digest, len(LARGE)) == LARGE
    said = [each for each in caplog.records if each.levelno == logging.WARNING]
    assert len(said) == 1


async def test_a_folder_that_takes_no_writes_is_said(open_cache: OpenCache, tmp_path: Path) -> None:
    cache = await open_cache()
    (tmp_path / "cache" / "incoming").rmdir()
    assert "no writes" in (await cache.fault() or "")


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_bytes(b"in the way")


def put_link(path: Path) -> None:
    path.symlink_to("/nowhere")


@pytest.mark.parametrize("put", [put_folder, put_link, os.mkfifo])
@pytest.mark.parametrize("has_copy", [True, False])
async def test_what_stands_in_a_copys_place_is_cleared(
    open_cache: OpenCache,
    origin: FakeOrigin,
    tmp_path: Path,
    put: Callable[[Path], None],
    has_copy: bool,
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    path = tmp_path / "cache" / "blobs" / digest.hex
    if has_copy:
        await get(cache, digest, len(LARGE))
        path.unlink()
    put(path)
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert path.is_file() or not path.exists()


@pytest.mark.parametrize("put", [put_folder, put_link, os.mkfifo])
async def test_what_stands_in_an_unfinished_copys_place_is_cleared(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    put(tmp_path / "cache" / "incoming" / digest.hex)
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert len(origin.asked) == 1
    assert origin.streams == 0


@pytest.mark.parametrize("put", [put_folder, put_link, os.mkfifo])
async def test_a_start_clears_what_stands_in_the_way(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, put: Callable[[Path], None]
) -> None:
    cache = await open_cache()
    digest, other = origin.add(LARGE), origin.add(b"other")
    await get(cache, digest, len(LARGE))
    await cache.close()
    (tmp_path / "cache" / "blobs" / digest.hex).unlink()
    for folder in ("blobs", "incoming"):
        put(tmp_path / "cache" / folder / digest.hex)
        put(tmp_path / "cache" / folder / other.hex)
    again = await open_cache()
    for folder in ("blobs", "incoming"):
        assert os.listdir(tmp_path / "cache" / folder) == []
    assert await get(again, digest, len(LARGE)) == LARGE


async def test_a_folder_that_was_removed_is_said(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    cache = await open_cache()
    assert await cache.fault() is None
    shutil.rmtree(tmp_path / "cache")
    for size in (1000, 2000, 3000):
        data = bytes(size)
        assert await get(cache, origin.add(data), size) == data
    assert len(caplog.records) == 1
    assert "restart" in (await cache.fault() or "")
