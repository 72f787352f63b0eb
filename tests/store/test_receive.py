"""The one verified way in: what it keeps, and what it refuses without a trace."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from coatcheck.protocol import PIECE_BYTES, Digest, InvalidMediaTypeError
from coatcheck.store import (
    BlobTooLargeError,
    DigestMismatchError,
    EmptyBlobError,
    Receipt,
    SizeMismatchError,
    Store,
    StoreClosedError,
    StoreConfig,
    StoreFullError,
    StoreUnavailableError,
)

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]

PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x20" + bytes(100)


def files_in(folder: Path) -> list[Path]:
    """Return every blob and temporary."""
    found = [*(folder / "blobs").rglob("*"), *(folder / "spool").rglob("*.part")]
    return [path for path in found if path.is_file()]


async def in_one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def forever() -> AsyncIterator[bytes]:
    while True:
        yield bytes(64 * 1024)
        await asyncio.sleep(0)


async def test_an_image_is_received_described_and_readable(disk_store: Store, put: Put) -> None:
    receipt = await put(disk_store, "a", PNG, expected=Digest.of(PNG), expected_size=len(PNG))
    grant = receipt.grant
    assert receipt.created
    assert grant.digest == Digest.of(PNG)
    assert (grant.size, grant.media_type, grant.width, grant.height) == (124, "image/png", 16, 32)
    assert grant.lease_expires_at == 1_000_000 + 24 * 3600
    assert grant.descriptor.ref == f"blob:{grant.digest}"
    async with await disk_store.open_blob("a", grant.digest) as reader:
        assert bytes(await reader.read_piece(0)) == PNG


@pytest.mark.parametrize("size", [1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1])
@pytest.mark.parametrize("chunk_bytes", [1_000_003, 1 << 26])
async def test_bodies_of_any_size_and_chunking(
    disk_store: Store, put: Put, size: int, chunk_bytes: int
) -> None:
    data = os.urandom(size)
    receipt = await put(disk_store, "a", data, chunk_bytes=chunk_bytes)
    assert receipt.grant.digest == Digest.of(data)
    async with await disk_store.open_blob("a", receipt.grant.digest) as reader:
        assert b"".join([bytes(chunk) async for chunk in reader.chunks()]) == data


async def test_bytes_after_an_image_are_kept(store: Store, put: Put) -> None:
    data = PNG + b"<script>trailing</script>"
    grant = (await put(store, "a", data)).grant
    assert (grant.size, grant.media_type) == (len(data), "image/png")


async def test_the_declared_type_is_the_tenants_and_normalised(store: Store, put: Put) -> None:
    receipt = await put(store, "a", PNG, declared_type="Image/X-Thing; q=1")
    assert receipt.grant.media_type == "image/x-thing"
    assert receipt.grant.sniffed_type == "image/png"
    other = await put(store, "b", PNG)
    assert other.created
    assert other.grant.media_type == "image/png"
    unknown = await put(store, "a", b"plain")
    assert unknown.grant.media_type == "application/octet-stream"


async def test_a_later_declaration_replaces_and_none_keeps(store: Store, put: Put) -> None:
    await put(store, "a", PNG, declared_type="image/one")
    assert (await put(store, "a", PNG)).grant.media_type == "image/one"
    again = await put(store, "a", PNG, declared_type="image/two")
    assert again.grant.media_type == "image/two"
    assert not again.created


@pytest.mark.parametrize("past", ["none", "known", "held", "pinned", "let go", "condemned"])
async def test_what_an_upload_is_told_is_what_stands_in_the_index(
    open_store: Open, put: Put, folder: Path, now: list[float], past: str
) -> None:
    store = await open_store(StoreConfig(folder))
    if past != "none":
        await put(store, "b" if past == "known" else "a", PNG, declared_type="image/one")
    if past == "pinned":
        await store.pin("a", Digest.of(PNG))
    if past in ("let go", "condemned"):
        await store.release("a", Digest.of(PNG))
    if past == "condemned":
        await store.sweep.run()
    now[0] += 5
    receipt = await put(store, "a", PNG)
    assert receipt.grant == await store.stat("a", Digest.of(PNG))
    assert receipt.created == (past not in ("held", "pinned"))


async def test_a_wrong_media_type_is_refused(disk_store: Store, put: Put, folder: Path) -> None:
    with pytest.raises(InvalidMediaTypeError):
        await put(disk_store, "a", PNG, declared_type="image")
    assert files_in(folder) == []


@pytest.mark.parametrize(
    ("data", "promise", "error"),
    [
        (PNG, {"expected": Digest.of(b"other")}, DigestMismatchError),
        (b"", {}, EmptyBlobError),
        (b"", {"expected_size": 0}, EmptyBlobError),
        (b"", {"expected_size": 5}, SizeMismatchError),
        (PNG, {"expected_size": len(PNG) + 1}, SizeMismatchError),
        (PNG, {"expected_size": len(PNG) - 1}, SizeMismatchError),
        (bytes(2_000_001), {}, BlobTooLargeError),
        (bytes(2_000_001), {"expected_size": 2_000_001}, BlobTooLargeError),
    ],
)
async def test_bad_input_keeps_nothing(
    open_store: Open, put: Put, folder: Path, data: bytes, promise: Any, error: type[Exception]
) -> None:
    store = await open_store(StoreConfig(folder, max_blob_bytes=2_000_000))
    with pytest.raises(error):
        await put(store, "a", data, **promise)
    assert files_in(folder) == []
    assert await store.stat("a", Digest.of(data)) is None
    assert (await store.stats()).uploads_in_progress == 0
    assert (await put(store, "a", b"good")).created


async def test_an_oversized_declaration_is_refused_before_the_body_is_read(store: Store) -> None:
    async def body() -> AsyncIterator[bytes]:
        pytest.fail("the body was asked for")
        yield b""

    with pytest.raises(BlobTooLargeError):
        await store.receive("a", body(), expected_size=1 << 40)


async def test_an_endless_body_is_cut_at_the_limit(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder, max_blob_bytes=3_000_000))
    with pytest.raises(BlobTooLargeError):
        await store.receive("a", forever())
    assert files_in(folder) == []


async def test_a_body_that_fails_leaves_nothing(disk_store: Store, folder: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield bytes(3_000_000)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await disk_store.receive("a", body())
    assert files_in(folder) == []


async def test_a_cancelled_upload_leaves_nothing(disk_store: Store, folder: Path) -> None:
    begun = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        async for chunk in forever():
            yield chunk
            if files_in(folder):
                begun.set()

    upload = asyncio.create_task(disk_store.receive("a", body()))
    await begun.wait()
    assert (await disk_store.stats()).uploads_in_progress == 1
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await disk_store.close()
    assert files_in(folder) == []


@pytest.mark.parametrize("turns", range(0, 40, 3))
async def test_cancelling_at_any_moment_leaves_all_or_nothing(
    open_store: Open, folder: Path, blob_path: Callable[[Digest], Path], turns: int
) -> None:
    store = await open_store(StoreConfig(folder))
    upload = asyncio.create_task(store.receive("a", in_one(PNG)))
    for _ in range(turns):
        await asyncio.sleep(0)
    upload.cancel()
    await asyncio.wait([upload])
    await store.close()
    store = await open_store(StoreConfig(folder))
    blobs = [blob_path(Digest.of(PNG))]
    kept = await store.stat("a", Digest.of(PNG)) is not None
    assert files_in(folder) == (blobs if kept else [])


async def test_close_lets_a_commit_that_began_come_to_its_end(
    open_store: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_store(StoreConfig(folder))
    committing = asyncio.Event()
    loop = asyncio.get_running_loop()
    fsync = os.fsync

    def watching(descriptor: int) -> None:
        loop.call_soon_threadsafe(committing.set)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watching)
    upload = asyncio.create_task(store.receive("a", in_one(PNG)))
    await committing.wait()
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert await store.stat("a", Digest.of(PNG)) is not None


async def test_closing_ends_an_upload_that_is_still_received(
    disk_store: Store, folder: Path
) -> None:
    begun = asyncio.Event()
    stalled = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield bytes(3_000_000)
        begun.set()
        await stalled.wait()

    upload = asyncio.create_task(disk_store.receive("a", body()))
    await begun.wait()
    await disk_store.close()
    with pytest.raises(StoreClosedError):
        await upload
    assert files_in(folder) == []


async def test_closing_again_while_an_upload_takes_its_leave(disk_store: Store) -> None:
    begun, leaving, may_leave = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        try:
            begun.set()
            await asyncio.Event().wait()
            yield b""
        finally:
            leaving.set()
            await may_leave.wait()

    reception = disk_store._reception  # pyright: ignore[reportPrivateUsage]  # a store closes once
    upload = asyncio.create_task(disk_store.receive("a", body()))
    await begun.wait()
    first = asyncio.create_task(reception.close())
    await leaving.wait()
    again = asyncio.create_task(reception.close())
    may_leave.set()
    await asyncio.gather(first, again)
    with pytest.raises(StoreClosedError):
        await upload


async def test_a_timeout_of_the_body_is_its_own(store: Store) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        raise TimeoutError("too slow")

    with pytest.raises(TimeoutError, match="too slow"):
        await store.receive("a", body())


async def test_an_upload_to_a_closed_store_is_refused(store: Store, put: Put) -> None:
    await store.close()
    with pytest.raises(StoreClosedError):
        await put(store, "a", PNG)


async def test_without_room_nothing_is_written(open_store: Open, put: Put, folder: Path) -> None:
    store = await open_store(StoreConfig(folder, min_free_bytes=1 << 60))
    for promise in ({"expected_size": len(PNG)}, {}):
        with pytest.raises(StoreFullError):
            await put(store, "a", PNG, **promise)
    assert files_in(folder) == []
    assert (await store.stats()).disk_free_bytes == 0


async def test_a_disk_that_fills_up_meanwhile_loses_nothing(
    disk_store: Store,
    put: Put,
    folder: Path,
    largest_file: Callable[[int], AbstractContextManager[None]],
) -> None:
    kept = (await put(disk_store, "a", PNG)).grant
    big = os.urandom(6_000_000)
    with largest_file(3_000_000), pytest.raises(StoreFullError):
        await put(disk_store, "a", big)
    assert len(files_in(folder)) == 1
    async with await disk_store.open_blob("a", kept.digest) as reader:
        assert bytes(await reader.read_piece(0)) == PNG
    assert (await put(disk_store, "a", big)).created


async def test_a_failed_fsync_fails_the_upload_and_the_next_one_works(
    disk_store: Store, put: Put, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(StoreUnavailableError):
            await put(disk_store, "a", PNG)
    assert files_in(folder) == []
    assert await disk_store.stat("a", Digest.of(PNG)) is None
    assert (await put(disk_store, "a", PNG)).created


async def test_the_same_bytes_at_once(disk_store: Store, put: Put, folder: Path) -> None:
    data = os.urandom(1_500_000)
    receipts = await asyncio.gather(*(put(disk_store, f"t{n % 3}", data) for n in range(9)))
    assert {receipt.grant.digest for receipt in receipts} == {Digest.of(data)}
    assert sum(receipt.created for receipt in receipts) == 3
    assert len(files_in(folder)) == 1


async def test_a_known_blob_is_received_in_full_all_the_same(
    disk_store: Store, put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counting)
    data = os.urandom(1_500_000)
    await put(disk_store, "a", data)
    first, synced = synced, []
    await put(disk_store, "b", data)
    assert len(first) == len(synced) == 2
    assert first[0] == synced[0] == len(data)
    with pytest.raises(DigestMismatchError):
        await put(disk_store, "b", data[:-1], expected=Digest.of(data))
