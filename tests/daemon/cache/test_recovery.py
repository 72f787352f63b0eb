"""What a cache finds at its start: leftovers of the dead, an index that is gone, a lower bound."""

import fcntl
import os
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coatcheck.daemon.cache import CacheConfig, CacheUnusableError, DiskCache
from coatcheck.daemon.cache.files import CacheFiles
from coatcheck.daemon.cache.room import Resident, choose
from coatcheck.protocol import Digest

from .conftest import MIB, Clock, FakeOrigin, OpenCache, get, taken

DATA = random.Random(5).randbytes(300_000)


def folder(tmp_path: Path, name: str) -> Path:
    return tmp_path / "cache" / name


async def test_what_a_dead_process_left_is_cleared(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(DATA)
    await get(cache, digest, len(DATA))
    await cache._index.reserve(Digest.of(b"dead"), 5_000_000)  # pyright: ignore[reportPrivateUsage]
    await cache.close()
    (folder(tmp_path, "incoming") / Digest.of(b"dead").hex).write_bytes(b"half")
    (folder(tmp_path, "incoming") / Digest.of(b"other").hex).write_bytes(b"half")
    (folder(tmp_path, "blobs") / Digest.of(b"no row").hex).write_bytes(b"no row")
    (folder(tmp_path, "blobs") / "readme").write_bytes(b"not ours")
    again = await open_cache()
    assert os.listdir(folder(tmp_path, "incoming")) == []
    assert os.listdir(folder(tmp_path, "blobs")) == [digest.hex]
    sums = await again.sums()
    assert (sums.copies, sums.reserved) == (1, 0)
    assert await get(again, digest, len(DATA)) == DATA
    assert len(origin.asked) == 1


async def test_what_a_live_process_does_is_left_alone(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    await open_cache()
    name = folder(tmp_path, "incoming") / Digest.of(b"alive").hex
    with name.open("wb") as alive:
        fcntl.flock(alive, fcntl.LOCK_EX)
        await open_cache()
        assert name.exists()
    await open_cache()
    assert not name.exists()


async def test_a_copy_that_died_between_its_name_and_its_row_is_removed(
    open_cache: OpenCache, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = Digest.of(b"named")
    await cache._index.reserve(digest, 5)  # pyright: ignore[reportPrivateUsage]
    (folder(tmp_path, "blobs") / digest.hex).write_bytes(b"named")
    await open_cache()  # beside the first, as another worker does
    assert os.listdir(folder(tmp_path, "blobs")) == []
    assert (await cache.sums()).reserved == 0


@pytest.mark.parametrize("damage", [b"", b"not a database"])
async def test_without_its_index_a_cache_begins_anew(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, damage: bytes
) -> None:
    cache = await open_cache()
    digest = origin.add(DATA)
    await get(cache, digest, len(DATA))
    await cache.close()
    for path in folder(tmp_path, ".").glob("cache.sqlite*"):
        path.unlink()
    folder(tmp_path, "cache.sqlite").write_bytes(damage)
    again = await open_cache()
    assert os.listdir(folder(tmp_path, "blobs")) == []
    assert await get(again, digest, len(DATA)) == DATA
    assert len(origin.asked) == 2


async def test_a_lower_bound_holds_from_the_start(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    for seed in range(10):
        data = random.Random(seed).randbytes(400_000)
        await get(cache, origin.add(data), len(data))
    await cache.close()
    await open_cache(max_bytes=2 * MIB)
    assert taken(folder(tmp_path, ".")) <= 2 * MIB
    assert os.listdir(folder(tmp_path, "blobs"))


async def test_a_folder_that_cannot_be_used_is_the_operators(
    origin: FakeOrigin, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CacheUnusableError):
        await DiskCache.open(CacheConfig(tmp_path / "file"), origin)


async def test_a_disk_without_room_serves_all_the_same(origin: FakeOrigin, tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bavail * os.statvfs(tmp_path).f_frsize
    config = CacheConfig(tmp_path / "cache", min_free_bytes=2 * free)
    cache = await DiskCache.open(config, origin, clock=Clock())
    digest = origin.add(DATA)
    assert await get(cache, digest, len(DATA)) == DATA
    assert os.listdir(tmp_path / "cache" / "blobs") == []
    assert cache.counts.streamed_blobs == 1
    await cache.close()


@settings(max_examples=30)
@given(
    asked=st.lists(st.tuples(st.integers(0, 7), st.booleans()), min_size=1, max_size=25),
    seed=st.integers(0, 1000),
)
async def test_the_bound_holds_whatever_is_asked(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[int, bool]], seed: int
) -> None:
    """Read blobs of all sizes, some kept open meanwhile: every answer is right, and fits."""
    limit = 2 * MIB
    where = tmp_path_factory.mktemp("bounded")
    origin = FakeOrigin()
    sizes = [1, 4096, 4097, 100_000, 250_000, 400_000, 900_000, 2_200_000]
    blobs = [random.Random(f"{seed} {size}").randbytes(size) for size in sizes]
    digests = [origin.add(data) for data in blobs]
    cache = await DiskCache.open(
        CacheConfig(where, max_bytes=limit, min_free_bytes=0), origin, clock=Clock()
    )
    held = [await cache.open_blob("a", digests[0], 1)]
    for which, is_held in asked:
        reader = await cache.open_blob("a", digests[which], sizes[which])
        assert bytes(await reader.read_piece(0)) == blobs[which]
        if is_held and len(held) < 3:
            held.append(reader)
        else:
            await reader.close()
        assert taken(where) <= limit
        sums = await cache.sums()
        names = os.listdir(where / "blobs")
        assert (sums.copies, sums.reserved) == (len(names), 0)
        assert sums.allocated >= sum((where / "blobs" / name).stat().st_size for name in names)
    for reader in held:
        await reader.close()
    await cache.close()


@given(
    sizes=st.lists(st.integers(0, 100), max_size=20),
    busy=st.sets(st.integers(0, 19)),
    shortfall=st.integers(0, 1000),
)
def test_the_longest_unused_go_and_only_if_enough_can(
    sizes: list[int], busy: set[int], shortfall: int
) -> None:
    residents = [Resident(Digest.of(str(index).encode()), size) for index, size in enumerate(sizes)]
    free = {resident.digest for index, resident in enumerate(residents) if index not in busy}
    going = choose(residents, shortfall, lambda resident: resident.digest in free)
    available = [resident for resident in residents if resident.digest in free]
    if going is None:
        assert sum(resident.allocated for resident in available) < shortfall
        return
    assert going == available[: len(going)]
    assert sum(resident.allocated for resident in going) >= shortfall
    assert sum(resident.allocated for resident in going[:-1]) < shortfall or not going


def test_a_claim_keeps_readers_out_and_readers_keep_claims_out(tmp_path: Path) -> None:
    files = CacheFiles(tmp_path)
    files.make()
    digest = Digest.of(b"x")
    (tmp_path / "blobs" / digest.hex).write_bytes(b"x")
    reader = files.open(digest)
    assert reader is not None
    assert files.claim(digest) is None
    reader.close()
    claim = files.claim(digest)
    assert claim is not None
    assert files.open(digest) is None
    claim.remove()
    claim.close()
    assert files.open(digest) is None
