"""Uploads in parts: what is kept of them, on disk and in memory."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from coatcheck.protocol import Digest, InvalidMediaTypeError
from coatcheck.store import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    EmptyBlobError,
    NewUpload,
    QuotaExceededError,
    Quotas,
    Receipt,
    Store,
    StoreClosedError,
    StoreConfig,
    StoreFullError,
    StoreUnavailableError,
    TooManyUploadsError,
    UploadIncompleteError,
    UploadLengthError,
    UploadLockedError,
    UploadLostError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLongError,
)

Open = Callable[[StoreConfig], Awaitable[Store]]
Put = Callable[..., Awaitable[Receipt]]

MIB = 1024 * 1024
DAY = 24 * 3600
DATA = os.urandom(3 * MIB + 4567)
PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x20" + bytes(100)


async def chunks(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def broken(data: bytes) -> AsyncIterator[bytes]:
    """A body whose connection ends after these bytes."""
    async for chunk in chunks(data):
        yield chunk
    raise ConnectionResetError


async def read(store: Store, tenant: str, digest: Digest) -> bytes:
    async with await store.open_blob(tenant, digest) as reader:
        return b"".join([bytes(chunk) async for chunk in reader.chunks()])


def parts(folder: Path) -> list[Path]:
    """Return the files of uploads; none where the store is in memory."""
    uploads = folder / "uploads"
    return list(uploads.iterdir()) if uploads.exists() else []


async def test_parts_become_a_blob(any_store: Store) -> None:
    uploads = any_store.uploads
    upload = await uploads.create(NewUpload("a", len(DATA), "Text/X; q=1", metadata="key dmFsdWU="))
    assert (upload.offset, upload.length, upload.media_type) == (0, len(DATA), "text/x")
    assert len(upload.id) == 32
    upload = await uploads.append("a", upload.id, 0, chunks(DATA[:1_000_000]))
    upload = await uploads.append("a", upload.id, 1_000_000, chunks(DATA[1_000_000:]))
    assert upload.is_whole
    assert not upload.is_finished
    receipt = await uploads.finish("a", upload.id)
    assert receipt.created
    assert (receipt.grant.digest, receipt.grant.media_type) == (Digest.of(DATA), "text/x")
    assert await read(any_store, "a", receipt.grant.digest) == DATA
    finished = await uploads.stat("a", upload.id)
    assert finished is not None
    assert finished.digest == Digest.of(DATA)
    assert finished.metadata == "key dmFsdWU="
    again = await uploads.finish("a", upload.id)
    assert (again.grant.digest, again.created) == (receipt.grant.digest, False)
    assert any_store.counts.received_blobs == 1


async def test_an_image_in_parts_is_described_like_one_in_one_request(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", len(PNG)))
    for at in range(0, len(PNG), 7):
        await any_store.uploads.append("a", upload.id, at, chunks(PNG[at : at + 7]))
    grant = (await any_store.uploads.finish("a", upload.id)).grant
    assert (grant.media_type, grant.width, grant.height) == ("image/png", 16, 32)


async def test_the_length_may_come_later_or_never(any_store: Store) -> None:
    uploads = any_store.uploads
    first = await uploads.create(NewUpload("a"))
    await uploads.append("a", first.id, 0, chunks(PNG[:50]))
    assert (await uploads.declare_length("a", first.id, len(PNG))).length == len(PNG)
    assert (await uploads.declare_length("a", first.id, len(PNG))).offset == 50
    with pytest.raises(UploadLengthError):
        await uploads.declare_length("a", first.id, 60)
    with pytest.raises(UploadIncompleteError):
        await uploads.finish("a", first.id)
    await uploads.append("a", first.id, 50, chunks(PNG[50:]), length=len(PNG))
    second = await uploads.create(NewUpload("a"))
    with pytest.raises(EmptyBlobError):
        await uploads.finish("a", second.id)
    await uploads.append("a", second.id, 0, chunks(PNG))
    with pytest.raises(UploadLengthError):
        await uploads.append("a", second.id, len(PNG), chunks(b""), length=10)
    digests = {(await uploads.finish("a", each.id)).grant.digest for each in (first, second)}
    assert digests == {Digest.of(PNG)}


async def test_a_cut_body_keeps_what_arrived(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", len(DATA)))
    with pytest.raises(ConnectionResetError):
        await any_store.uploads.append("a", upload.id, 0, broken(DATA[:2_345_678]))
    found = await any_store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 2_345_678
    await any_store.uploads.append("a", upload.id, 2_345_678, chunks(DATA[2_345_678:]))
    receipt = await any_store.uploads.finish("a", upload.id)
    assert await read(any_store, "a", receipt.grant.digest) == DATA


async def test_a_wrong_offset_changes_nothing(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    await any_store.uploads.append("a", upload.id, 0, chunks(b"x" * 60))
    for offset in (0, 59, 61, 100):
        with pytest.raises(UploadOffsetError) as refused:
            await any_store.uploads.append("a", upload.id, offset, chunks(b"y"))
        assert refused.value.offset == 60
    assert (await any_store.uploads.stat("a", upload.id)) == await any_store.uploads.append(
        "a", upload.id, 60, chunks(b"")
    )


async def test_more_than_the_length_is_refused(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    with pytest.raises(UploadTooLongError):
        await any_store.uploads.append("a", upload.id, 0, chunks(b""), size=101)
    with pytest.raises(UploadTooLongError):
        await any_store.uploads.append("a", upload.id, 0, chunks(bytes(150), 60))
    found = await any_store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 60  # what was within it is kept
    await any_store.uploads.append("a", upload.id, 60, chunks(bytes(40)))
    await any_store.uploads.finish("a", upload.id)
    await any_store.uploads.append("a", upload.id, 100, chunks(b""))
    with pytest.raises(UploadTooLongError):
        await any_store.uploads.append("a", upload.id, 100, chunks(b"!"))


@pytest.mark.parametrize("place", ["disk", "memory"])
async def test_no_upload_is_larger_than_a_blob(open_store: Open, folder: Path, place: str) -> None:
    store = await open_store(StoreConfig(folder if place == "disk" else None, max_blob_bytes=1000))
    with pytest.raises(BlobTooLargeError):
        await store.uploads.create(NewUpload("a", 1001))
    with pytest.raises(EmptyBlobError):
        await store.uploads.create(NewUpload("a", 0))
    with pytest.raises(InvalidMediaTypeError):
        await store.uploads.create(NewUpload("a", 1, "nonsense"))
    upload = await store.uploads.create(NewUpload("a"))
    with pytest.raises(BlobTooLargeError):
        await store.uploads.append("a", upload.id, 0, chunks(bytes(1100), 300))
    with pytest.raises(BlobTooLargeError):
        await store.uploads.declare_length("a", upload.id, 1001)
    found = await store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 900


async def test_other_bytes_than_promised_are_not_kept(any_store: Store) -> None:
    promised = Digest.of(b"other")
    upload = await any_store.uploads.create(NewUpload("a", len(PNG), promised=promised))
    await any_store.uploads.append("a", upload.id, 0, chunks(PNG))
    with pytest.raises(DigestMismatchError):
        await any_store.uploads.finish("a", upload.id)
    assert await any_store.uploads.stat("a", upload.id) is None
    assert await any_store.stat("a", Digest.of(PNG)) is None
    assert any_store.counts.mismatched_uploads == 1
    kept = await any_store.uploads.create(NewUpload("a", len(PNG), promised=Digest.of(PNG)))
    await any_store.uploads.append("a", kept.id, 0, chunks(PNG))
    assert (await any_store.uploads.finish("a", kept.id)).created


async def test_one_writes_at_a_time(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 60
        begun.set()
        await may_end.wait()

    first = asyncio.create_task(any_store.uploads.append("a", upload.id, 0, slow()))
    await begun.wait()
    for attempt in (
        any_store.uploads.append("a", upload.id, 0, chunks(b"y" * 60)),
        any_store.uploads.finish("a", upload.id),
        any_store.uploads.terminate("a", upload.id),
        any_store.uploads.declare_length("a", upload.id, 100),
    ):
        with pytest.raises(UploadLockedError):
            await attempt
    assert await any_store.uploads.stat("a", upload.id) is not None
    may_end.set()
    assert (await first).offset == 60
    await any_store.uploads.terminate("a", upload.id)


@pytest.mark.parametrize("turns", range(0, 60, 4))
async def test_a_request_cancelled_at_any_moment_leaves_a_good_upload(
    open_store: Open, folder: Path, turns: int
) -> None:
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", len(DATA)))
    task = asyncio.create_task(store.uploads.append("a", upload.id, 0, chunks(DATA)))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    await store.close()
    store = await open_store(StoreConfig(folder))
    found = await store.uploads.stat("a", upload.id)
    assert found is not None
    await store.uploads.append("a", upload.id, found.offset, chunks(DATA[found.offset :]))
    digest = (await store.uploads.finish("a", upload.id)).grant.digest
    assert digest == Digest.of(DATA)
    assert await read(store, "a", digest) == DATA


async def test_who_comes_as_it_is_finished_is_told_that_it_is_locked(store: Store) -> None:
    """Whenever that is: an upload that was finished a moment ago is not unknown."""
    for turns in range(40):
        upload = await store.uploads.create(NewUpload("a", 5))
        await store.uploads.append("a", upload.id, 0, chunks(b"%05d" % turns))
        first = asyncio.create_task(store.uploads.finish("a", upload.id))
        for _ in range(turns):
            await asyncio.sleep(0)
        others = [store.uploads.finish("a", upload.id) for _ in range(20)]
        told = await asyncio.gather(*others, return_exceptions=True)
        assert {type(one) for one in told} <= {UploadLockedError, Receipt}
        assert (await first).created


async def test_a_body_for_a_finished_upload_ends_with_the_store(store: Store) -> None:
    upload = await store.uploads.create(NewUpload("a", 5))
    await store.uploads.append("a", upload.id, 0, chunks(b"12345"))
    await store.uploads.finish("a", upload.id)
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        begun.set()
        await asyncio.Event().wait()
        yield b""

    task = asyncio.create_task(store.uploads.append("a", upload.id, 5, endless()))
    await begun.wait()
    await store.close()
    with pytest.raises(StoreClosedError):
        await asyncio.wait_for(task, 10)


async def test_a_terminated_upload_is_gone(any_store: Store, folder: Path) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    await any_store.uploads.append("a", upload.id, 0, chunks(b"x" * 60))
    await any_store.uploads.terminate("a", upload.id)
    assert await any_store.uploads.stat("a", upload.id) is None
    for attempt in (
        any_store.uploads.append("a", upload.id, 60, chunks(b"y")),
        any_store.uploads.finish("a", upload.id),
        any_store.uploads.terminate("a", upload.id),
    ):
        with pytest.raises(UploadNotFoundError):
            await attempt
    assert parts(folder) == []


async def test_ending_a_finished_upload_leaves_the_blob(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", len(PNG)))
    await any_store.uploads.append("a", upload.id, 0, chunks(PNG))
    digest = (await any_store.uploads.finish("a", upload.id)).grant.digest
    await any_store.uploads.terminate("a", upload.id)
    assert await any_store.uploads.stat("a", upload.id) is None
    assert await read(any_store, "a", digest) == PNG


async def test_a_finished_upload_whose_blob_was_let_go_of_says_so(any_store: Store) -> None:
    upload = await any_store.uploads.create(NewUpload("a", len(PNG)))
    await any_store.uploads.append("a", upload.id, 0, chunks(PNG))
    digest = (await any_store.uploads.finish("a", upload.id)).grant.digest
    await any_store.release("a", digest)
    with pytest.raises(BlobNotFoundError):
        await any_store.uploads.finish("a", upload.id)


async def test_what_nobody_goes_on_with_expires(
    any_store: Store, now: list[float], folder: Path
) -> None:
    left = await any_store.uploads.create(NewUpload("a", 100))
    await any_store.uploads.append("a", left.id, 0, chunks(b"x" * 60))
    used = await any_store.uploads.create(NewUpload("a", 100))
    done = await any_store.uploads.create(NewUpload("a", len(PNG)))
    await any_store.uploads.append("a", done.id, 0, chunks(PNG))
    await any_store.uploads.finish("a", done.id)
    now[0] += DAY - 1
    assert (await any_store.uploads.append("a", used.id, 0, chunks(b"y"))).expires_at == now[
        0
    ] + DAY
    now[0] += 1
    for gone in (left, done):
        assert await any_store.uploads.stat("a", gone.id) is None
    assert (await any_store.sweep.run()).removed_uploads == 1
    assert (await any_store.sweep.run()).removed_uploads == 0
    found = await any_store.uploads.stat("a", used.id)
    assert found is not None
    assert found.offset == 1
    assert [path.name for path in parts(folder)] in ([used.id], [])


async def test_what_is_written_to_does_not_expire(any_store: Store, now: list[float]) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 60
        begun.set()
        await may_end.wait()

    task = asyncio.create_task(any_store.uploads.append("a", upload.id, 0, slow()))
    await begun.wait()
    now[0] += 2 * DAY
    assert (await any_store.sweep.run()).removed_uploads == 0
    may_end.set()
    await task
    found = await any_store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 60


async def test_another_tenants_upload_is_like_none(
    any_store: Store, watch: Callable[[Store], Awaitable[list[str]]]
) -> None:
    upload = await any_store.uploads.create(NewUpload("a", 100))
    seen = await watch(any_store)
    done: list[list[str]] = []
    for upload_id in (upload.id, "0" * 32):
        for attempt in (
            any_store.uploads.append("b", upload_id, 0, chunks(b"x")),
            any_store.uploads.finish("b", upload_id),
            any_store.uploads.declare_length("b", upload_id, 100),
            any_store.uploads.terminate("b", upload_id),
        ):
            with pytest.raises(UploadNotFoundError):
                await attempt
        assert await any_store.uploads.stat("b", upload_id) is None
        done.append([statement.replace(upload_id, "ID") for statement in seen])
        seen.clear()
    assert done[0] == done[1] != []
    await any_store.uploads.append("a", upload.id, 0, chunks(b"x" * 100))


async def test_ids_of_no_upload_open_no_file(disk_store: Store, folder: Path) -> None:
    for upload_id in ("../seed", "", "..", "/etc/passwd", "x" * 5000):
        assert await disk_store.uploads.stat("a", upload_id) is None
        with pytest.raises(UploadNotFoundError):
            await disk_store.uploads.append("a", upload_id, 0, chunks(b"x"))
    assert parts(folder) == []


async def test_a_tenant_has_so_many_unfinished_ones(open_store: Open, now: list[float]) -> None:
    store = await open_store(StoreConfig(None, max_uploads_per_tenant=2))
    first = await store.uploads.create(NewUpload("a", len(PNG)))
    await store.uploads.create(NewUpload("a"))
    with pytest.raises(TooManyUploadsError, match="at most 2"):
        await store.uploads.create(NewUpload("a"))
    await store.uploads.create(NewUpload("b"))
    await store.uploads.append("a", first.id, 0, chunks(PNG))
    await store.uploads.finish("a", first.id)
    await store.uploads.create(NewUpload("a"))
    with pytest.raises(TooManyUploadsError):
        await store.uploads.create(NewUpload("a"))
    now[0] += DAY
    await store.uploads.create(NewUpload("a"))


async def test_what_is_declared_counts_against_the_quota(open_store: Open, put: Put) -> None:
    store = await open_store(StoreConfig(None, quotas=Quotas(1000)))
    upload = await store.uploads.create(NewUpload("a", 700))
    for attempt in (put(store, "a", bytes(400)), store.uploads.create(NewUpload("a", 400))):
        with pytest.raises(QuotaExceededError) as refused:
            await attempt
        assert refused.value.used_bytes == 700
    await put(store, "b", bytes(400))
    await put(store, "a", bytes(300))
    await store.uploads.append("a", upload.id, 0, chunks(b"x" * 700))
    await store.uploads.finish("a", upload.id)
    with pytest.raises(QuotaExceededError):
        await put(store, "a", b"y")
    await store.release("a", Digest.of(b"x" * 700))
    last = await store.uploads.create(NewUpload("a", 700))
    await store.uploads.terminate("a", last.id)
    await put(store, "a", b"z" * 700)


async def test_what_grows_counts_as_it_grows(open_store: Open) -> None:
    store = await open_store(StoreConfig(None, quotas=Quotas(1000)))
    first = await store.uploads.create(NewUpload("a"))
    await store.uploads.append("a", first.id, 0, chunks(bytes(600), 100))
    second = await store.uploads.create(NewUpload("a"))
    with pytest.raises(QuotaExceededError):
        await store.uploads.append("a", second.id, 0, chunks(bytes(600), 100))
    with pytest.raises(QuotaExceededError):
        await store.uploads.append("a", second.id, 400, chunks(bytes(1)), size=1)
    with pytest.raises(QuotaExceededError):
        await store.uploads.declare_length("a", first.id, 700)
    found = await store.uploads.stat("a", second.id)
    assert found is not None
    assert found.offset == 400
    await store.uploads.finish("a", first.id)
    assert (await store.uploads.finish("a", second.id)).created


async def test_a_quota_that_shrank_keeps_the_upload(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", 700))
    await store.uploads.append("a", upload.id, 0, chunks(bytes(700)))
    await store.close()
    store = await open_store(StoreConfig(folder, quotas=Quotas(500)))
    with pytest.raises(QuotaExceededError):
        await store.uploads.finish("a", upload.id)
    assert await store.stat("a", Digest.of(bytes(700))) is None
    await store.close()
    store = await open_store(StoreConfig(folder, quotas=Quotas(700)))
    receipt = await store.uploads.finish("a", upload.id)
    assert await read(store, "a", receipt.grant.digest) == bytes(700)


async def test_what_is_declared_counts_against_the_stores_limit(
    open_store: Open, put: Put, now: list[float]
) -> None:
    store = await open_store(StoreConfig(None, max_store_bytes=1000))
    await store.uploads.create(NewUpload("a", 700))
    with pytest.raises(StoreFullError):
        await put(store, "b", bytes(400))
    with pytest.raises(StoreFullError):
        await store.uploads.create(NewUpload("b", 400))
    now[0] += DAY
    await store.sweep.run()
    await put(store, "b", bytes(400))


async def test_without_room_an_upload_is_refused_at_its_beginning(
    open_store: Open, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder, min_free_bytes=1 << 60))
    with pytest.raises(StoreFullError):
        await store.uploads.create(NewUpload("a", 100))
    upload = await store.uploads.create(NewUpload("a"))
    with pytest.raises(StoreFullError):
        await store.uploads.append("a", upload.id, 0, chunks(b"x"))
    assert (await store.stats()).disk_free_bytes == 0


async def test_a_disk_that_fills_up_keeps_what_was_written(
    disk_store: Store, largest_file: Callable[[int], AbstractContextManager[None]]
) -> None:
    upload = await disk_store.uploads.create(NewUpload("a", len(DATA)))
    with largest_file(2 * MIB + 1000), pytest.raises(StoreFullError):
        await disk_store.uploads.append("a", upload.id, 0, chunks(DATA))
    found = await disk_store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 2 * MIB
    await disk_store.uploads.append("a", upload.id, 2 * MIB, chunks(DATA[2 * MIB :]))
    digest = (await disk_store.uploads.finish("a", upload.id)).grant.digest
    assert await read(disk_store, "a", digest) == DATA


async def test_reservations_end_with_their_request(disk_store: Store) -> None:
    space = disk_store._backend._space  # type: ignore[attr-defined]  # pyright: ignore
    upload = await disk_store.uploads.create(NewUpload("a", 10 * MIB))
    with pytest.raises(ConnectionResetError):
        await disk_store.uploads.append("a", upload.id, 0, broken(DATA))
    with pytest.raises(UploadOffsetError):
        await disk_store.uploads.append("a", upload.id, 0, chunks(DATA))
    assert space._outstanding_bytes == 0  # pyright: ignore


async def test_a_failed_sync_ends_the_upload(
    disk_store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await disk_store.uploads.create(NewUpload("a", len(DATA)))
    await disk_store.uploads.append("a", upload.id, 0, chunks(DATA[:1000]))
    synced: list[int] = []

    def failing(descriptor: int) -> None:
        synced.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(UploadLostError):
            await disk_store.uploads.append("a", upload.id, 1000, chunks(DATA[1000:]))
    assert len(synced) == 1
    assert await disk_store.uploads.stat("a", upload.id) is None
    assert parts(folder) == []


@pytest.mark.parametrize("failing_call", [1, 2])
async def test_a_failed_sync_at_the_end_ends_the_upload(
    disk_store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    """The file's own, and that of the folder into which the blob came."""
    upload = await disk_store.uploads.create(NewUpload("a", len(PNG)))
    await disk_store.uploads.append("a", upload.id, 0, chunks(PNG))
    calls: list[int] = []
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(errno.EIO, "Input/output error")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(UploadLostError):
            await disk_store.uploads.finish("a", upload.id)
    assert await disk_store.uploads.stat("a", upload.id) is None
    assert await disk_store.stat("a", Digest.of(PNG)) is None
    assert parts(folder) == []


async def test_each_part_is_synced_before_it_is_acknowledged(
    disk_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def counting(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counting)
    upload = await disk_store.uploads.create(NewUpload("a", 20 * MIB))
    await disk_store.uploads.append("a", upload.id, 0, chunks(bytes(17 * MIB), MIB))
    sizes = [size for size in synced if size >= MIB]
    assert sizes == [8 * MIB, 16 * MIB, 17 * MIB]


async def test_closing_the_store_keeps_what_arrived(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", len(DATA)))
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield DATA[:1_500_000]
        begun.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.uploads.append("a", upload.id, 0, endless()))
    await begun.wait()
    assert (await store.stats()).uploads_in_progress == 1
    await store.close()
    with pytest.raises(StoreClosedError):
        await task
    store = await open_store(StoreConfig(folder))
    found = await store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 1_500_000
    await store.uploads.append("a", upload.id, 1_500_000, chunks(DATA[1_500_000:]))
    digest = (await store.uploads.finish("a", upload.id)).grant.digest
    assert await read(store, "a", digest) == DATA


async def test_bytes_behind_the_offset_are_dropped(open_store: Open, folder: Path) -> None:
    """As `kill -9` leaves them: written, and not acknowledged."""
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a"))
    await store.uploads.append("a", upload.id, 0, chunks(PNG[:50]))
    await store.close()
    with (folder / "uploads" / upload.id).open("ab") as part:
        part.write(b"never acknowledged")
    store = await open_store(StoreConfig(folder))
    await store.uploads.append("a", upload.id, 50, chunks(PNG[50:]))
    assert (await store.uploads.finish("a", upload.id)).grant.digest == Digest.of(PNG)


async def test_files_and_rows_are_reconciled(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    lost, cut, kept, empty = [await store.uploads.create(NewUpload("a", 100)) for _ in range(4)]
    for upload in (lost, cut, kept):
        await store.uploads.append("a", upload.id, 0, chunks(b"x" * 60))
    await store.close()
    (folder / "uploads" / lost.id).unlink()
    os.truncate(folder / "uploads" / cut.id, 59)
    (folder / "uploads" / ("f" * 32)).write_bytes(b"nobody's")
    store = await open_store(StoreConfig(folder))
    assert await store.uploads.stat("a", lost.id) is None
    assert await store.uploads.stat("a", cut.id) is None
    assert await store.uploads.stat("a", empty.id) is not None
    assert [path.name for path in parts(folder)] == [kept.id]
    await store.uploads.append("a", kept.id, 60, chunks(b"x" * 40))


async def test_what_is_no_uploads_is_left_alone(open_store: Open, folder: Path) -> None:
    """Whatever somebody has put there, the store opens."""
    store = await open_store(StoreConfig(folder))
    upload = await store.uploads.create(NewUpload("a", 100))
    await store.uploads.append("a", upload.id, 0, chunks(b"x" * 60))
    await store.close()
    foreign = [folder / "uploads" / name for name in ("lost+found", "F" * 32, "f" * 32)]
    for path in foreign:
        path.mkdir()
    (folder / "uploads" / ".nfs01").write_bytes(b"somebody's")
    store = await open_store(StoreConfig(folder))
    assert {path.name for path in parts(folder)} == {
        upload.id,
        ".nfs01",
        *(p.name for p in foreign),
    }
    found = await store.uploads.stat("a", upload.id)
    assert found is not None
    assert found.offset == 60


async def test_the_part_is_private(disk_store: Store, folder: Path) -> None:
    upload = await disk_store.uploads.create(NewUpload("a", 100))
    await disk_store.uploads.append("a", upload.id, 0, chunks(b"x"))
    assert (folder / "uploads").stat().st_mode & 0o777 == 0o700
    assert (folder / "uploads" / upload.id).stat().st_mode & 0o777 == 0o600


async def test_the_same_bytes_in_parts_at_once_are_one_blob(
    disk_store: Store, folder: Path
) -> None:
    async def upload(tenant: str) -> Digest:
        begun = await disk_store.uploads.create(NewUpload(tenant, len(DATA)))
        await disk_store.uploads.append(tenant, begun.id, 0, chunks(DATA))
        return (await disk_store.uploads.finish(tenant, begun.id)).grant.digest

    digests = await asyncio.gather(*(upload(f"t{number % 2}") for number in range(8)))
    assert set(digests) == {Digest.of(DATA)}
    assert await read(disk_store, "t0", digests[0]) == DATA
    assert parts(folder) == []
    blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    assert len(blobs) == 1
    assert blobs[0].stat().st_nlink == 1
    assert list((folder / "spool").rglob("*.part")) == []


async def test_a_blob_without_its_row_is_finished_again(
    disk_store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the blob's name and its row: the part still has the bytes."""
    upload = await disk_store.uploads.create(NewUpload("a", len(PNG)))
    await disk_store.uploads.append("a", upload.id, 0, chunks(PNG))
    index = disk_store._index  # pyright: ignore[reportPrivateUsage]

    async def failing(*args: object, **values: object) -> None:
        raise StoreFullError("no space left for the index")

    with monkeypatch.context() as patch:
        patch.setattr(index, "record", failing)
        with pytest.raises(StoreFullError):
            await disk_store.uploads.finish("a", upload.id)
    assert [path.stat().st_nlink for path in parts(folder)] == [2]
    assert (await disk_store.uploads.finish("a", upload.id)).created
    assert await read(disk_store, "a", Digest.of(PNG)) == PNG
    assert parts(folder) == []
    assert list((folder / "spool").rglob("*.part")) == []


async def test_finished_uploads_are_remembered_in_a_bounded_number(
    open_store: Open, now: list[float]
) -> None:
    store = await open_store(StoreConfig(None, max_uploads_per_tenant=2))
    ids: list[str] = []
    for number in range(23):
        upload = await store.uploads.create(NewUpload("a", 1, metadata="key " + "dmFs" * 100))
        await store.uploads.append("a", upload.id, 0, chunks(b"%d" % (number % 10)))
        await store.uploads.finish("a", upload.id)
        ids.append(upload.id)
        now[0] += 1
    known = [await store.uploads.stat("a", upload_id) is not None for upload_id in ids]
    assert known == [False, False] + [True] * 21
    assert await store.stat("a", Digest.of(b"0")) is not None


async def test_an_upload_that_is_erased_while_it_is_received_is_gone(any_store: Store) -> None:
    uploads, free_bytes = any_store.uploads, (await any_store.stats()).disk_free_bytes
    upload = await uploads.create(NewUpload("a"))

    async def erased_meanwhile() -> AsyncIterator[bytes]:
        yield DATA[: 2 * MIB]
        await any_store.erasure.erase_tenant("a")
        yield DATA[2 * MIB :]

    with suppress(StoreUnavailableError):  # a store in memory says so; a file is written on
        await uploads.append("a", upload.id, 0, erased_meanwhile())
    with pytest.raises(UploadNotFoundError):
        await uploads.finish("a", upload.id)
    if any_store.config.data_folder is None:
        assert (await any_store.stats()).disk_free_bytes == free_bytes


async def test_whose_an_upload_is_can_be_asked_by_its_id_alone(
    store: Store, now: list[float]
) -> None:
    upload = await store.uploads.create(NewUpload("a", length=3))
    assert await store.uploads.owner(upload.id) == "a"
    assert await store.uploads.owner("0" * 32) is None
    await store.uploads.append("a", upload.id, 0, chunks(b"abc"))
    await store.uploads.finish("a", upload.id)
    assert await store.uploads.owner(upload.id) == "a"
    now[0] += DAY
    assert await store.uploads.owner(upload.id) is None
