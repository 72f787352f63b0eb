"""Several stores on one data folder, as the workers of one server have them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import Connection

from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import (
    BlobNotFoundError,
    CorruptBlobError,
    FolderInUseError,
    PromptMessage,
    Receipt,
    SharedFolder,
    SizeMismatchError,
    Store,
    StoreConfig,
    StoreUnavailableError,
)
from coatcheck.store.database import Database

DATA = b"bytes that two processes know"
DIGEST = Digest.of(DATA)
CHAT = "openai.chat"
ROOT = prompt_root(CHAT)
HELLO = PromptMessage(Digest.of(b"hello"), '{"role":"user","content":"hello"}')
MORE = PromptMessage(Digest.of(b"more"), '{"role":"user","content":"more"}')


class Put(Protocol):
    async def __call__(self, store: Store, tenant: str, data: bytes) -> Receipt: ...


Databases = Callable[[Store], tuple[Database, Database]]
Open = Callable[[], Awaitable[Store]]


@pytest.fixture
def shared(folder: Path) -> Iterator[SharedFolder]:
    taken = SharedFolder.take(folder)
    yield taken
    taken.close()


@pytest.fixture
async def open_shared(shared: SharedFolder, folder: Path, now: list[float]) -> AsyncIterator[Open]:
    """Open one more store on the folder."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Store:
            store = await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared)
            stack.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def one(open_shared: Open) -> Store:
    return await open_shared()


@pytest.fixture
async def other(open_shared: Open) -> Store:
    return await open_shared()


async def test_who_has_not_the_share_is_refused(one: Store, folder: Path) -> None:
    with pytest.raises(FolderInUseError):
        await Store.open(StoreConfig(folder))
    with pytest.raises(FolderInUseError):
        SharedFolder.take(folder)


async def test_a_new_folder_is_opened_by_many_at_once(open_shared: Open, put: Put) -> None:
    stores = await asyncio.gather(*(open_shared() for _ in range(4)))
    await put(stores[0], "a", DATA)
    for store in stores:
        async with await store.open_blob("a", DIGEST) as reader:  # all know the checksums' seed
            assert bytes(await reader.read_piece(0)) == DATA


async def test_a_release_is_seen_at_once(one: Store, other: Store, put: Put) -> None:
    await put(one, "a", DATA)
    await put(one, "b", DATA)
    for store in (one, other):
        assert await store.stat("a", DIGEST)  # and remembered
        assert await store.stat("b", DIGEST)
    await other.release("a", DIGEST)
    assert await one.stat("a", DIGEST) is None
    with pytest.raises(BlobNotFoundError):
        await one.open_blob("a", DIGEST)
    assert await one.stat("b", DIGEST)


async def test_a_release_beside_a_renewal_is_seen(
    one: Store, other: Store, put: Put, now: list[float]
) -> None:
    await put(one, "a", DATA)
    now[0] += StoreConfig(None).lease_seconds / 2  # due
    used, _ = await asyncio.gather(one.stat_many("a", [DIGEST]), other.release("a", DIGEST))
    assert await one.stat("a", DIGEST) is None, used


async def test_an_upload_revives_a_grant_for_all(one: Store, other: Store, put: Put) -> None:
    await put(one, "a", DATA)
    await other.release("a", DIGEST)
    assert (await put(other, "a", DATA)).created
    assert await one.stat("a", DIGEST)


async def test_pins_and_types_are_seen_at_once(one: Store, other: Store, put: Put) -> None:
    await put(one, "a", DATA)
    assert await one.stat("a", DIGEST)
    await other.pin("a", DIGEST)
    grant = await one.stat("a", DIGEST)
    assert grant
    assert grant.pinned


async def test_one_digest_may_be_uploaded_to_both_at_once(
    one: Store, other: Store, put: Put, blob_path: Callable[[Digest], Path]
) -> None:
    data = DATA * 100_000
    receipts = await asyncio.gather(
        *(put(store, tenant, data) for store in (one, other) for tenant in ("a", "a", "b"))
    )
    digest = receipts[0].grant.digest
    assert sum(receipt.created for receipt in receipts) == 2  # one for each tenant
    for store in (one, other):
        async with await store.open_blob("b", digest) as reader:
            assert bytes(await reader.read_piece(0)) == data
    assert blob_path(digest).read_bytes() == data


async def test_damage_that_one_finds_is_known_to_all_and_healed_by_any(
    one: Store, other: Store, put: Put, blob_path: Callable[[Digest], Path]
) -> None:
    await put(one, "a", DATA)
    assert await other.stat("a", DIGEST)
    blob_path(DIGEST).write_bytes(DATA[::-1])
    with pytest.raises(CorruptBlobError):
        await one.open_blob("a", DIGEST)
    assert await other.stat("a", DIGEST) is None
    await put(other, "a", DATA)
    async with await one.open_blob("a", DIGEST) as reader:
        assert bytes(await reader.read_piece(0)) == DATA


async def test_uploads_beside_quarantine_leave_the_blob_whole(
    one: Store, other: Store, put: Put, blob_path: Callable[[Digest], Path]
) -> None:
    await put(one, "a", DATA)
    for _ in range(20):
        blob_path(DIGEST).write_bytes(DATA[::-1])

        async def read() -> None:
            try:
                reader = await one.open_blob("a", DIGEST)
            except BlobNotFoundError:
                return
            await reader.close()

        await asyncio.gather(read(), put(other, "a", DATA))
        async with await other.open_blob("a", DIGEST) as reader:
            assert bytes(await reader.read_piece(0)) == DATA


async def test_a_prompt_kept_by_one_is_continued_by_the_other(one: Store, other: Store) -> None:
    await one.prompts.append("a", CHAT, ROOT, [HELLO])
    assert await other.prompts.expand("a", CHAT, HELLO.digest) == [HELLO.text]
    await other.prompts.append("a", CHAT, HELLO.digest, [MORE])
    assert await one.prompts.expand("a", CHAT, MORE.digest) == [HELLO.text, MORE.text]


async def test_a_prompts_hold_counts_for_all_when_it_is_kept(
    one: Store, other: Store, put: Put
) -> None:
    await put(one, "a", DATA)
    message = PromptMessage(HELLO.digest, HELLO.text, (DIGEST,))
    await one.prompts.append("a", CHAT, ROOT, [message])
    assert [hold.name for hold in await other.release("a", DIGEST)] == [HELLO.digest]


async def test_a_prompt_that_cannot_be_written_is_not_said_to_be_kept(
    one: Store, other: Store, databases: Databases
) -> None:
    def drop(connection: Connection) -> None:
        connection.exec_driver_sql("DROP TABLE prompts")

    await databases(other)[1].run(drop)
    with pytest.raises(StoreUnavailableError):
        await one.prompts.append("a", CHAT, ROOT, [HELLO])


async def test_writers_take_turns(one: Store, other: Store, put: Put) -> None:
    blobs = [b"%d" % number for number in range(40)]
    await asyncio.gather(*(put(store, "a", data) for data in blobs for store in (one, other)))
    page = await other.list_grants("a", after=None, limit=100)
    assert {grant.digest for grant in page.items} == {Digest.of(data) for data in blobs}


async def test_a_spool_is_left_alone_while_its_owner_lives(
    one: Store, open_shared: Open, folder: Path, put: Put
) -> None:
    other = await open_shared()
    spools = [path for path in (folder / "spool").iterdir() if path.is_dir()]
    assert len(spools) == 2
    await put(one, "a", DATA)
    await other.close()
    assert len([path for path in (folder / "spool").iterdir() if path.is_dir()]) == 1
    await put(one, "a", DATA * 2)


async def test_disk_that_one_has_reserved_the_other_does_not_give_away(
    one: Store, other: Store
) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"x"
        begun.set()
        await go_on.wait()

    async def free() -> int:
        free_bytes = (await other.stats()).disk_free_bytes
        assert free_bytes is not None
        return free_bytes

    count = 256 * 1024 * 1024  # others use the disk too, but not that much
    before = await free()
    uploading = asyncio.create_task(one.receive("a", body(), expected_size=count))
    await begun.wait()
    assert before - await free() > count / 2
    go_on.set()
    with pytest.raises(SizeMismatchError):
        await uploading
    assert before - await free() < count / 2
