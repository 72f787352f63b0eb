"""Copies: fetched once, bounded, verified, healed."""

import asyncio
import os
import random
from pathlib import Path

import pytest

from coatcheck.daemon.cache import DiskCache
from coatcheck.daemon.errors import BlobUnreadableError, WrongBytesError
from coatcheck.protocol import PIECE_BYTES, Digest

from .conftest import MIB, FakeOrigin, OpenCache, get, read_all, taken

LARGE = random.Random(1).randbytes(2 * PIECE_BYTES + 12345)


def noise(seed: int, size: int = 100_000) -> bytes:
    return random.Random(seed).randbytes(size)


def copy_path(folder: Path, digest: Digest) -> Path:
    return folder / "cache" / "blobs" / digest.hex


async def test_a_blob_comes_from_the_store_once(open_cache: OpenCache, origin: FakeOrigin) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    for _ in range(3):
        assert await get(cache, digest, len(LARGE)) == LARGE
    assert len(origin.asked) == 1
    await cache.close()
    again = await open_cache()
    assert await get(again, digest, len(LARGE)) == LARGE
    assert len(origin.asked) == 1


async def test_many_who_ask_at_once_cause_one_fetch(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    other = await open_cache()  # as another process does
    digest = origin.add(LARGE)
    readings = [get(cache if turn % 2 else other, digest, len(LARGE)) for turn in range(20)]
    assert set(await asyncio.gather(*readings)) == {LARGE}
    assert len(origin.asked) == 1
    assert os.listdir(tmp_path / "cache" / "incoming") == []


async def test_a_cancelled_reader_leaves_the_fetch_to_others(
    open_cache: OpenCache, origin: FakeOrigin
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    origin.gate.clear()
    first = asyncio.create_task(get(cache, digest, len(LARGE)))
    await origin.begun.wait()
    second = asyncio.create_task(get(cache, digest, len(LARGE)))
    while cache.counts.misses < 2:  # noqa: ASYNC110 - nothing else tells that it waits
        await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    origin.gate.set()
    assert await second == LARGE
    assert len(origin.asked) == 1


async def test_a_fetch_that_another_tenant_may_not_make_is_made_again(
    open_cache: OpenCache, origin: FakeOrigin
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    origin.strangers.add("b")
    origin.gate.clear()
    refused = asyncio.create_task(get(cache, digest, len(LARGE), tenant="b"))
    await origin.begun.wait()
    served = asyncio.create_task(get(cache, digest, len(LARGE), tenant="a"))
    await asyncio.sleep(0)
    origin.gate.set()
    with pytest.raises(BlobUnreadableError):
        await refused
    assert await served == LARGE


async def test_the_copy_used_longest_ago_makes_room(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache(max_bytes=2 * MIB)
    blobs = [noise(seed, 400_000) for seed in range(5)]
    digests = [origin.add(data) for data in blobs]
    for digest in digests[:4]:
        await get(cache, digest, 400_000)
    await get(cache, digests[0], 400_000)
    await get(cache, digests[4], 400_000)
    kept = {path.name for path in (tmp_path / "cache" / "blobs").iterdir()}
    assert digests[0].hex in kept
    assert digests[1].hex not in kept
    assert taken(tmp_path / "cache") <= 2 * MIB
    assert cache.counts.evicted_blobs >= 1


async def test_a_copy_in_use_stays(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache(max_bytes=2 * MIB)
    first, second = noise(1, 1_500_000), noise(2, 1_500_000)
    digest, other = origin.add(first), origin.add(second)
    reader = await cache.open_blob("a", digest, len(first))
    assert await get(cache, other, len(second)) == second  # straight from the store
    assert copy_path(tmp_path, digest).exists()
    assert not copy_path(tmp_path, other).exists()
    assert cache.counts.streamed_blobs == 1
    assert await read_all(reader) == first
    assert await get(cache, other, len(second)) == second
    assert not copy_path(tmp_path, digest).exists()


async def test_a_blob_over_the_bound_is_served_and_not_kept(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache(max_bytes=1 * MIB)
    digest = origin.add(LARGE)
    for _ in range(2):
        assert await get(cache, digest, len(LARGE)) == LARGE
    assert origin.streams == 2
    assert taken(tmp_path / "cache") <= 1 * MIB


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "empty", "folder"])
async def test_a_damaged_copy_is_fetched_again_in_the_same_read(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path, damage: str
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    await get(cache, digest, len(LARGE))
    path = copy_path(tmp_path, digest)
    match damage:
        case "flip":
            flip(path, PIECE_BYTES + 7)
        case "truncate":
            os.truncate(path, PIECE_BYTES)
        case "empty":
            os.truncate(path, 0)
        case "folder":
            path.unlink()
            path.mkdir()
            path.rmdir()
        case _:
            path.unlink()
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert path.read_bytes() == LARGE
    assert len(origin.asked) == 2
    is_rot = damage in ("flip", "truncate", "empty")
    assert cache.counts.verification_failures == is_rot
    (heal,) = cache.heals.newest()
    assert heal.digest == digest
    assert "damaged" in heal.fault or "gone" in heal.fault or "bytes" in heal.fault
    assert cache.heals.count == 1


async def test_a_piece_that_rots_while_it_is_read_heals_mid_stream(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    reader = await cache.open_blob("a", digest, len(LARGE))
    parts = [bytes(await reader.read_piece(0))]
    flip(copy_path(tmp_path, digest), PIECE_BYTES + 1)
    flip(copy_path(tmp_path, digest), 2 * PIECE_BYTES + 1)
    parts += [bytes(await reader.read_piece(index)) for index in (1, 2)]
    await reader.close()
    assert b"".join(parts) == LARGE
    assert cache.counts.verification_failures == 1


async def test_wrong_bytes_of_the_store_are_refused_and_counted(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    origin.lies[digest] = [bytes(len(LARGE))]
    with pytest.raises(WrongBytesError):
        await get(cache, digest, len(LARGE))
    assert cache.counts.verification_failures == 2
    assert taken(tmp_path / "cache" / "blobs") == 0
    assert os.listdir(tmp_path / "cache" / "incoming") == []
    assert (await cache.sums()).reserved == 0


@pytest.mark.parametrize("lie", [LARGE[:-1], LARGE + b"x", bytes(len(LARGE))])
async def test_bytes_that_were_wrong_once_are_asked_for_again(
    open_cache: OpenCache, origin: FakeOrigin, lie: bytes
) -> None:
    cache = await open_cache()
    digest = origin.add(LARGE)
    origin.lies[digest] = [lie, LARGE]
    assert await get(cache, digest, len(LARGE)) == LARGE


@pytest.mark.parametrize("lie", [LARGE[:-1], LARGE + b"x", bytes(len(LARGE))])
async def test_a_wrong_stream_never_ends_well(
    open_cache: OpenCache, origin: FakeOrigin, lie: bytes
) -> None:
    cache = await open_cache(max_bytes=1 * MIB)
    digest = origin.add(LARGE)
    origin.lies[digest] = [lie]
    with pytest.raises(WrongBytesError):
        await get(cache, digest, len(LARGE))


async def test_what_the_store_lost_is_named_before_it_is_needed(
    open_cache: OpenCache, origin: FakeOrigin
) -> None:
    cache = await open_cache()
    here, lost = origin.add(LARGE), Digest.of(b"lost")
    assert await cache.prepare("a", [(here, len(LARGE)), (lost, 4)]) == {lost}
    assert (cache.counts.hits, cache.counts.misses) == (0, 2)
    assert await cache.prepare("a", [(here, len(LARGE))]) == set()
    assert (cache.counts.hits, cache.counts.misses) == (1, 2)


async def test_bytes_at_hand_become_a_copy(open_cache: OpenCache, origin: FakeOrigin) -> None:
    cache = await open_cache()
    digest = Digest.of(LARGE)
    await cache.put(digest, LARGE)
    assert await get(cache, digest, len(LARGE)) == LARGE
    assert origin.asked == []


async def test_evicting_frees_what_was_taken(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    cache = await open_cache()
    digests = [origin.add(noise(seed)) for seed in range(3)]
    for digest in digests:
        await get(cache, digest, 100_000)
    assert await cache.evict(digests[0])
    assert not await cache.evict(digests[0])
    assert await cache.evict_all() == 2
    sums = await cache.sums()
    assert (sums.copies, sums.allocated, sums.reserved) == (0, 0, 0)
    assert taken(tmp_path / "cache" / "blobs") == 0


def flip(path: Path, at: int) -> None:
    """Turn one bit of a file over."""
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


async def seen(cache: DiskCache) -> list[Digest]:
    return [copy.digest for copy in await cache.newest(10)]


async def test_the_newest_come_first(open_cache: OpenCache, origin: FakeOrigin) -> None:
    cache = await open_cache()
    digests = [origin.add(noise(seed)) for seed in range(3)]
    for digest in digests:
        await get(cache, digest, 100_000)
    await get(cache, digests[0], 100_000)
    assert await seen(cache) == [digests[0], digests[2], digests[1]]


async def test_bits_that_flip_in_the_index_serve_no_wrong_byte(
    open_cache: OpenCache, origin: FakeOrigin, tmp_path: Path
) -> None:
    draw = random.Random(6)
    digests = {origin.add(noise(seed)): noise(seed) for seed in range(3)}
    cache = await open_cache()
    for _ in range(12):
        for digest, data in digests.items():
            assert await get(cache, digest, len(data)) == data
        await cache.close()
        index = tmp_path / "cache" / "cache.sqlite"
        flip(index, draw.randrange(index.stat().st_size))
        cache = await open_cache()
    for digest, data in digests.items():
        assert await get(cache, digest, len(data)) == data
