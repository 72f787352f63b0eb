"""Sections: what comes of an upload in any order, on disk and in memory."""

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import (
    NewUpload,
    QuotaExceededError,
    Quotas,
    SectionNotFoundError,
    SharedFolder,
    SizeMismatchError,
    Store,
    StoreConfig,
    TooManySectionsError,
    TooManyUploadsError,
    Upload,
    UploadFinishedError,
    UploadNotFoundError,
    UploadTooLongError,
)

PIECES = [os.urandom(size) for size in (1_500_000, 7, 300_000, 1)]
DATA = b"".join(PIECES)


async def body(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def begin(store: Store, length: int = len(DATA), tenant: str = "a") -> Upload:
    return await store.uploads.create(NewUpload(tenant, length=length, metadata="begun"))


async def add(store: Store, whole: Upload, data: bytes) -> str:
    return (await store.sections.add("a", whole.id, body(data))).section_name


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "uploads").iterdir())


async def test_sections_that_come_at_once_are_joined_in_the_order_given(any_store: Store) -> None:
    whole = await begin(any_store)
    ids = await asyncio.gather(*(add(any_store, whole, piece) for piece in PIECES))
    seen = hashlib.md5(usedforsecurity=False)
    await any_store.sections.join("a", whole.id, ids, seen.update)
    assert seen.digest() == hashlib.md5(DATA, usedforsecurity=False).digest()
    receipt = await any_store.uploads.finish("a", whole.id)
    assert receipt.grant.digest == Digest.of(DATA)
    await any_store.sections.remove("a", whole.id)
    with pytest.raises(UploadFinishedError):
        await add(any_store, whole, b"x")


async def test_another_order_is_another_blob(any_store: Store) -> None:
    whole = await begin(any_store)
    ids = [await add(any_store, whole, piece) for piece in PIECES]
    await any_store.sections.join("a", whole.id, ids)
    await any_store.sections.join("a", whole.id, ids[::-1])
    receipt = await any_store.uploads.finish("a", whole.id)
    assert receipt.grant.digest == Digest.of(b"".join(PIECES[::-1]))


async def test_what_was_sent_twice_is_chosen_by_its_id(any_store: Store) -> None:
    whole = await begin(any_store, 6)
    await add(any_store, whole, b"xxx")
    ids = [await add(any_store, whole, piece) for piece in (b"def", b"abc")]
    await any_store.sections.join("a", whole.id, ids[::-1])
    assert (await any_store.uploads.finish("a", whole.id)).grant.digest == Digest.of(b"abcdef")


@pytest.mark.parametrize("chosen", [[0], [0, 1, 2], [], [0, 0, 1, 2, 3]])
async def test_sections_that_are_not_the_whole_are_not_joined(
    any_store: Store, chosen: list[int]
) -> None:
    whole = await begin(any_store)
    ids = [await add(any_store, whole, piece) for piece in PIECES]
    with pytest.raises(SizeMismatchError):
        await any_store.sections.join("a", whole.id, [ids[index] for index in chosen])
    await any_store.sections.join("a", whole.id, ids)


async def test_no_other_uploads_section_is_joined(any_store: Store) -> None:
    first, second = await begin(any_store, 1), await begin(any_store, 1)
    theirs = await add(any_store, second, b"x")
    for name in (theirs, first.id, second.id, "0" * 32, "", "-", "%"):
        with pytest.raises(SectionNotFoundError):
            await any_store.sections.join("a", first.id, [name])


async def test_another_tenants_upload_takes_nothing(any_store: Store) -> None:
    whole = await begin(any_store, 3, tenant="b")
    section = await any_store.sections.add("b", whole.id, body(b"abc"))
    for ask in (
        any_store.sections.add("a", whole.id, body(b"abc")),
        any_store.sections.join("a", whole.id, [section.section_name]),
        any_store.sections.add("b", section.id, body(b"abc")),
    ):
        with pytest.raises(UploadNotFoundError):
            await ask


async def test_a_section_that_breaks_off_leaves_nothing(disk_store: Store, folder: Path) -> None:
    class BrokenError(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"a" * 200_000
        raise BrokenError

    whole = await begin(disk_store)
    with pytest.raises(BrokenError):
        await disk_store.sections.add("a", whole.id, broken())
    with pytest.raises(UploadTooLongError):
        await disk_store.sections.add("a", whole.id, body(DATA + b"x"))
    with pytest.raises(UploadTooLongError):
        await disk_store.sections.add("a", whole.id, body(b"x"), size=len(DATA) + 1)
    assert left(folder) == []


@pytest.mark.parametrize("is_finished", [False, True])
async def test_a_section_whose_upload_ends_meanwhile_leaves_nothing(
    disk_store: Store, folder: Path, is_finished: bool
) -> None:
    whole = await begin(disk_store)
    uploads, sections = disk_store.uploads, disk_store.sections
    ids = [await add(disk_store, whole, piece) for piece in PIECES]

    async def ended_meanwhile() -> AsyncIterator[bytes]:
        yield b"a" * 200_000
        if is_finished:
            await sections.join("a", whole.id, ids)
            await uploads.finish("a", whole.id)
        else:
            await uploads.terminate("a", whole.id)
        await sections.remove("a", whole.id)
        yield b"a"

    with pytest.raises(UploadFinishedError if is_finished else UploadNotFoundError):
        await sections.add("a", whole.id, ended_meanwhile())
    assert left(folder) == []


async def test_sections_are_bounded_in_their_bytes(any_store: Store) -> None:
    whole = await begin(any_store, 10)
    ids = [await add(any_store, whole, b"0123456789") for _ in range(2)]
    with pytest.raises(TooManySectionsError):
        await add(any_store, whole, b"x")
    await any_store.sections.join("a", whole.id, ids[:1])


async def test_the_whole_claims_its_bytes_and_its_sections_nothing_more(folder: Path) -> None:
    quotas = Quotas(default_bytes=len(DATA))
    config = StoreConfig(folder, quotas=quotas, min_free_bytes=0)
    async with await Store.open(config) as store:
        whole = await begin(store)
        ids = [await add(store, whole, piece) for piece in PIECES]
        with pytest.raises(QuotaExceededError):
            await begin(store, 1)
        await store.sections.join("a", whole.id, ids)
        receipt = await store.uploads.finish("a", whole.id)
        assert receipt.grant.size == len(DATA)


async def test_sections_are_no_uploads_of_their_own(folder: Path) -> None:
    config = StoreConfig(folder, max_uploads_per_tenant=2, min_free_bytes=0)
    async with await Store.open(config) as store:
        whole = await begin(store)
        await asyncio.gather(*(add(store, whole, piece) for piece in PIECES))
        await begin(store)
        with pytest.raises(TooManyUploadsError):
            await begin(store)


async def test_sections_outlive_the_process_and_go_on_in_another(folder: Path) -> None:
    config = StoreConfig(folder, min_free_bytes=0)
    async with await Store.open(config) as store:
        whole = await begin(store)
        ids = [await add(store, whole, piece) for piece in PIECES[:2]]
    async with await Store.open(config) as store:
        ids += [await add(store, whole, piece) for piece in PIECES[2:]]
        await store.sections.join("a", whole.id, ids[::-1])  # and broke off
    async with await Store.open(config) as store:
        await store.sections.join("a", whole.id, ids)
        assert (await store.uploads.finish("a", whole.id)).grant.digest == Digest.of(DATA)
        found = await store.uploads.stat("a", whole.id)
        assert found is not None
        assert await store.sections.note(found, "said")
        assert not await store.sections.note(found, "said by another")
        found = await store.uploads.stat("a", whole.id)
        assert found is not None
        assert (found.metadata, found.digest) == ("said", Digest.of(DATA))
        await store.sections.remove("a", whole.id)
        assert left(folder) == []


async def test_sections_expire_with_their_bytes(folder: Path) -> None:
    now = 1000.0
    config = StoreConfig(folder, min_free_bytes=0)
    async with await Store.open(config, clock=lambda: now) as store:
        whole = await begin(store)
        section = await add(store, whole, PIECES[0])
        assert left(folder) == [f"{whole.id}-{section}"]
        now += config.upload_seconds + 1
        with pytest.raises(UploadNotFoundError):
            await add(store, whole, b"x")
        await store.sweep.run()
        assert left(folder) == []


async def test_two_joins_at_once_end_in_one_blob(any_store: Store) -> None:
    whole = await begin(any_store)
    ids = [await add(any_store, whole, piece) for piece in PIECES]
    outcomes: list[Any] = await asyncio.gather(
        *(any_store.sections.join("a", whole.id, ids) for _ in range(2)), return_exceptions=True
    )
    assert None in outcomes
    assert (await any_store.uploads.finish("a", whole.id)).grant.digest == Digest.of(DATA)


async def test_several_processes_take_sections_of_one_upload(folder: Path) -> None:
    shared = SharedFolder.take(folder)
    config = StoreConfig(folder, min_free_bytes=0)
    async with AsyncExitStack() as stack:
        stack.callback(shared.close)
        stores = [
            await stack.enter_async_context(await Store.open(config, shared=shared))
            for _ in range(3)
        ]
        whole = await begin(stores[0])
        names = await asyncio.gather(
            *(add(stores[n % 3], whole, piece) for n, piece in enumerate(PIECES))
        )
        await stores[2].sections.join("a", whole.id, names)
        assert (await stores[1].uploads.finish("a", whole.id)).grant.digest == Digest.of(DATA)
        await stores[0].sections.remove("a", whole.id)
    assert left(folder) == []


# Takes a section, says its name, then takes another one and never gets to its end.
CHILD = """
import asyncio, sys
from pathlib import Path
from coatcheck.store import Store, StoreConfig

async def main():
    store = await Store.open(StoreConfig(Path(sys.argv[1]), min_free_bytes=0))

    async def whole():
        yield b"abc"

    async def half():
        yield b"x" * 3
        print("half", flush=True)
        await asyncio.Event().wait()

    section = await store.sections.add("a", sys.argv[2], whole())
    print(section.section_name, flush=True)
    await store.sections.add("a", sys.argv[2], half())

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill(folder: Path) -> None:
    config = StoreConfig(folder, min_free_bytes=0)
    async with await Store.open(config) as store:
        upload = await begin(store, 6)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(folder), upload.id, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    name = (await process.stdout.readline()).decode().strip()
    assert await process.stdout.readline() == b"half\n"
    process.kill()
    await process.communicate()
    async with await Store.open(config) as store:
        last = await add(store, upload, b"def")
        await store.sections.join("a", upload.id, [name, last])
        receipt = await store.uploads.finish("a", upload.id)
        assert receipt.grant.digest == Digest.of(b"abcdef")


async def test_an_erased_tenants_sections_go_too(folder: Path) -> None:
    async with await Store.open(StoreConfig(folder, min_free_bytes=0)) as store:
        whole = await begin(store)
        await add(store, whole, PIECES[0])
        await store.erasure.erase_tenant("a")
        assert left(folder) == []
        with pytest.raises(UploadNotFoundError):
            await add(store, whole, b"x")
