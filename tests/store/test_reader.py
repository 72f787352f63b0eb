"""Verified reads: damaged bytes never leave, and are out of every answer from then on."""

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from pickle import PickleBuffer

import pytest

from coatcheck.protocol import PIECE_BYTES, Digest
from coatcheck.store import (
    BlobNotFoundError,
    BlobReader,
    CorruptBlobError,
    Receipt,
    Store,
    StoreConfig,
    StoreUnavailableError,
)
from coatcheck.store.cached_open import CachedOpener

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]

LARGE = os.urandom(2 * PIECE_BYTES + 1000)
DIGEST = Digest.of(LARGE)


def flip(path: Path, offset: int) -> None:
    """Change one bit, as a failing disk would."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def open_names() -> list[str]:
    """Return what this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [os.readlink(link) for link in links]


async def read_all(reader: BlobReader, into: bytearray) -> None:
    async for chunk in reader.chunks():
        into += chunk


async def test_pieces_in_any_order(store: Store, put: Put) -> None:
    await put(store, "a", LARGE)
    async with await store.open_blob("a", DIGEST) as reader:
        assert reader.size == len(LARGE)
        assert reader.digest == DIGEST
        assert reader.grant.tenant == "a"
        for index in (2, 0, 1, 1, 0):
            piece = await reader.read_piece(index)
            assert piece.readonly
            assert piece == LARGE[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]


async def test_there_is_no_piece_beyond_the_end(store: Store, put: Put) -> None:
    await put(store, "a", LARGE)
    async with await store.open_blob("a", DIGEST) as reader:
        for index in (3, -1):
            with pytest.raises(IndexError):
                await reader.read_piece(index)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None),
        (0, 1),
        (PIECE_BYTES - 1, PIECE_BYTES + 1),
        (PIECE_BYTES, 2 * PIECE_BYTES),
        (len(LARGE) - 1, None),
        (17, len(LARGE) + 5),
        (5, 5),
    ],
)
@pytest.mark.parametrize("chunk_bytes", [100_000, 1 << 23])
async def test_chunks_of_a_range(
    store: Store, put: Put, start: int, stop: int | None, chunk_bytes: int
) -> None:
    await put(store, "a", LARGE)
    async with await store.open_blob("a", DIGEST, start=start) as reader:
        chunks = [bytes(chunk) async for chunk in reader.chunks(start, stop, chunk_bytes)]
    assert b"".join(chunks) == LARGE[start:stop]
    assert all(0 < len(chunk) <= chunk_bytes for chunk in chunks)


@pytest.mark.parametrize("offset", [0, 12_345, len(LARGE) - 1])
async def test_a_flipped_bit_is_never_served(
    disk_store: Store, put: Put, folder: Path, blob_path: BlobPath, offset: int
) -> None:
    await put(disk_store, "a", LARGE)
    await put(disk_store, "b", LARGE)
    flip(blob_path(DIGEST), offset)
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", DIGEST, start=offset)
    for tenant in ("a", "b"):
        assert await disk_store.stat(tenant, DIGEST) is None
        assert (await disk_store.missing(tenant, [DIGEST])).missing == [DIGEST]
        assert (await disk_store.list_grants(tenant, after=None, limit=10)).items == []
        with pytest.raises(BlobNotFoundError):
            await disk_store.open_blob(tenant, DIGEST)
    assert (await disk_store.stats()).quarantined_blobs == 1
    assert disk_store.counts.damaged_blobs == 1
    assert (folder / "quarantine" / DIGEST.hex).exists()


async def test_damage_in_a_later_piece_breaks_the_stream_before_it(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", LARGE)
    flip(blob_path(DIGEST), PIECE_BYTES + 5)
    served = bytearray()
    reader = await disk_store.open_blob("a", DIGEST)
    with pytest.raises(CorruptBlobError):
        await read_all(reader, served)
    await reader.close()
    assert served == LARGE[:PIECE_BYTES]
    assert await disk_store.stat("a", DIGEST) is None


async def test_damage_that_comes_after_a_good_read_is_found(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", b"short")
    digest = Digest.of(b"short")
    for _ in range(2):
        await (await disk_store.open_blob("a", digest)).close()
    flip(blob_path(digest), 2)
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", digest)


@pytest.mark.parametrize("damage", ["shorter", "longer", "gone"])
async def test_a_file_of_another_size_or_none(
    disk_store: Store, put: Put, blob_path: BlobPath, damage: str
) -> None:
    await put(disk_store, "a", LARGE)
    path = blob_path(DIGEST)
    if damage == "shorter":
        os.truncate(path, 100)
    elif damage == "longer":
        os.truncate(path, len(LARGE) + 1)
    else:
        path.unlink()
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", DIGEST)
    assert await disk_store.stat("a", DIGEST) is None


async def test_an_upload_heals_for_every_tenant(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", LARGE)
    await put(disk_store, "b", LARGE)
    flip(blob_path(DIGEST), 0)
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", DIGEST)
    assert (await put(disk_store, "b", LARGE)).created
    for tenant in ("a", "b"):
        async with await disk_store.open_blob(tenant, DIGEST) as reader:
            assert bytes(await reader.read_piece(2)) == LARGE[2 * PIECE_BYTES :]
    assert (await disk_store.stats()).quarantined_blobs == 0


async def test_damage_of_replaced_bytes_leaves_the_new_ones_alone(
    disk_store: Store, put: Put, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", LARGE)
    reader = await disk_store.open_blob("a", DIGEST)
    flip(blob_path(DIGEST), PIECE_BYTES + 5)
    await put(disk_store, "a", LARGE)
    with pytest.raises(CorruptBlobError):
        await reader.read_piece(1)
    await reader.close()
    async with await disk_store.open_blob("a", DIGEST) as healed:
        assert await healed.read_piece(1) == LARGE[PIECE_BYTES : 2 * PIECE_BYTES]


async def test_a_reader_goes_on_after_its_blob_is_replaced_or_released(
    disk_store: Store, put: Put
) -> None:
    await put(disk_store, "a", LARGE)
    reader = await disk_store.open_blob("a", DIGEST)
    await put(disk_store, "a", LARGE)
    await disk_store.release("a", DIGEST)
    assert await reader.read_piece(2) == LARGE[2 * PIECE_BYTES :]
    await reader.close()


async def test_one_piece_in_memory_takes_no_turn_in_a_thread(
    store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    for data in (b"short", LARGE[:PIECE_BYTES], LARGE[: PIECE_BYTES + 1]):
        await put(store, "a", data)
        await (await store.open_blob("a", Digest.of(data))).close()  # the grant is known, too
    loop = asyncio.get_running_loop()
    turns: list[object] = []
    in_executor = loop.run_in_executor

    def counted(
        executor: Executor | None, work: Callable[..., object], *args: object
    ) -> asyncio.Future[object]:
        turns.append(work)
        return in_executor(executor, work, *args)

    monkeypatch.setattr(loop, "run_in_executor", counted)
    for data, expected in ((b"short", 0), (LARGE[:PIECE_BYTES], 0), (LARGE[: PIECE_BYTES + 1], 2)):
        async with await store.open_blob("a", Digest.of(data)) as reader:
            assert b"".join([bytes(chunk) async for chunk in reader.chunks()]) == data
        assert len(turns) == expected


@pytest.mark.parametrize("cached", ["nothing", "a part", "all"])
async def test_what_is_not_in_memory_is_read_in_a_thread(
    disk_store: Store, put: Put, monkeypatch: pytest.MonkeyPatch, cached: str
) -> None:
    data = LARGE[:100_000]
    await put(disk_store, "a", data)
    preadv = os.preadv
    readers: list[int] = []

    def slow(descriptor: int, buffers: list[memoryview], offset: int, flags: int = 0) -> int:
        if not flags:
            readers.append(threading.get_ident())
        elif cached == "nothing":
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        elif cached == "a part":
            buffers = [buffers[0][:10_000]]
        return preadv(descriptor, buffers, offset)

    def opened(opener: CachedOpener, path: str) -> int:
        return os.open(path, os.O_RDONLY)

    monkeypatch.setattr(os, "preadv", slow)
    # As every system does that has `openat2`.
    monkeypatch.setattr(CachedOpener, "open", opened)
    async with await disk_store.open_blob("a", Digest.of(data)) as reader:
        assert await reader.read_piece(0) == data
    assert threading.get_ident() not in readers
    assert bool(readers) == (cached != "all")


async def test_a_cancelled_read_does_not_disturb_the_next(store: Store, put: Put) -> None:
    await put(store, "a", LARGE)
    async with await store.open_blob("a", DIGEST) as reader:
        for _ in range(20):
            reading = asyncio.create_task(reader.read_piece(1))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            assert await reader.read_piece(0) == LARGE[:PIECE_BYTES]


async def test_a_view_ends_with_its_reader(store: Store, put: Put) -> None:
    await put(store, "a", LARGE)
    reader = await store.open_blob("a", DIGEST)
    piece = await reader.read_piece(0)
    await reader.close()
    with pytest.raises(ValueError, match="released"):
        bytes(piece)


def by_a_slice_of_a_slice(piece: memoryview) -> memoryview:
    return piece[10:20][5:]


def by_a_cast(piece: memoryview) -> memoryview:
    return piece.cast("B")


# A `PickleBuffer` exports the view itself, as a thread that encodes it does.
@pytest.mark.parametrize("hold", [PickleBuffer, by_a_slice_of_a_slice, by_a_cast])
async def test_memory_that_somebody_still_reads_is_not_lent_again(
    store: Store, put: Put, hold: Callable[[memoryview], PickleBuffer | memoryview]
) -> None:
    await put(store, "a", LARGE)
    await put(store, "a", b"other bytes" * 100)
    reader = await store.open_blob("a", DIGEST)
    reading = hold(await reader.read_piece(0))
    before = bytes(reading)
    await reader.close()
    async with await store.open_blob("a", Digest.of(b"other bytes" * 100)) as other:
        await other.read_piece(0)
    assert bytes(reading) == before
    reading.release()


async def test_memory_that_nobody_reads_any_more_is_lent_again(store: Store, put: Put) -> None:
    await put(store, "a", LARGE)
    lent: list[object] = []
    for _ in range(5):
        async with await store.open_blob("a", DIGEST) as reader:
            for index in range(3):
                piece = await reader.read_piece(index)
                lent.append(piece.obj)
    assert all(buffer is lent[0] for buffer in lent)


async def test_a_reader_is_closed_while_a_cancelled_read_still_runs(
    disk_store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(disk_store, "a", LARGE)
    reader = await disk_store.open_blob("a", DIGEST)
    reading, go_on = threading.Event(), threading.Event()
    preadv = os.preadv

    def slow(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        reading.set()
        go_on.wait()
        return preadv(descriptor, buffers, offset)

    monkeypatch.setattr(os, "preadv", slow)
    read = asyncio.create_task(reader.read_piece(1))
    await asyncio.to_thread(reading.wait)
    read.cancel()
    await asyncio.wait([read])
    await reader.close()
    assert [name for name in open_names() if DIGEST.hex in name]
    go_on.set()
    await disk_store.close()
    assert not [name for name in open_names() if DIGEST.hex in name]


async def test_bytes_that_cannot_be_moved_aside_are_out_of_every_answer_too(
    disk_store: Store, put: Put, folder: Path, blob_path: BlobPath, caplog: pytest.LogCaptureFixture
) -> None:
    await put(disk_store, "a", LARGE)
    flip(blob_path(DIGEST), 0)
    (folder / "quarantine" / DIGEST.hex).mkdir()
    with pytest.raises(CorruptBlobError):
        await disk_store.open_blob("a", DIGEST)
    assert "could not be moved aside" in caplog.text
    assert await disk_store.stat("a", DIGEST) is None
    assert (await put(disk_store, "a", LARGE)).created


async def test_a_disk_that_does_not_answer_is_no_damage(
    disk_store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(disk_store, "a", LARGE)

    def failing(descriptor: int, buffers: list[memoryview], offset: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "preadv", failing)
        with pytest.raises(StoreUnavailableError):
            await disk_store.open_blob("a", DIGEST)
    await (await disk_store.open_blob("a", DIGEST)).close()


async def test_a_closed_reader_cannot_be_read(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", LARGE)
    reader = await disk_store.open_blob("a", DIGEST)
    await reader.close()
    await reader.close()
    with pytest.raises(StoreUnavailableError):
        await reader.read_piece(0)


async def test_a_reader_may_be_closed_after_its_store(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", LARGE)
    reader = await disk_store.open_blob("a", DIGEST)
    await disk_store.close()
    await reader.close()
    assert not [name for name in open_names() if DIGEST.hex in name]


async def test_readers_leave_no_open_files(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", b"short")
    digest = Digest.of(b"short")
    for _ in range(20):
        await (await disk_store.open_blob("a", digest)).close()
    await disk_store.close()
    assert not [name for name in open_names() if digest.hex in name]
