"""What an erasure removes, what it leaves, and that it looks."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import AsyncExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection

from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import (
    BlobNotFoundError,
    Erased,
    Left,
    NewUpload,
    PromptMessage,
    PromptNotFoundError,
    Receipt,
    SharedFolder,
    Store,
    StoreConfig,
    StoreUnavailableError,
    UploadNotFoundError,
)
from coatcheck.store.database import Database
from coatcheck.store.index_rows import MAX_CLAIMS

Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]
Databases = Callable[[Store], tuple[Database, Database]]

DATA = b"bytes"
DIGEST = Digest.of(DATA)
ROOT = prompt_root("d")
NOTHING = Left(rows=0, files=0, databases=0, keys=0)
DAY = 24 * 3600
HOUR = 3600


async def put(store: Store, tenant: str, data: bytes, end_user: str | None = None) -> Receipt:
    async def body() -> AsyncIterator[bytes]:
        yield data

    return await store.receive(tenant, body(), end_user=end_user)


async def chunks(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def keep(
    store: Store,
    tenant: str,
    parent: Digest,
    text: str,
    end_user: str | None = None,
    blobs: tuple[Digest, ...] = (),
) -> Digest:
    message = PromptMessage(Digest.of(f"{parent}{text}".encode()), text, blobs)
    await store.prompts.append(tenant, "d", parent, [message], end_user=end_user)
    return message.digest


async def rows_of(store: Store, databases: Databases, text: str) -> int:
    """Return how many values in all tables contain a text."""
    found = 0
    for database in databases(store):

        def count(connection: Connection) -> int:
            execute = connection.exec_driver_sql
            tables = execute("SELECT name FROM sqlite_schema WHERE type = 'table'").scalars().all()
            return sum(
                text in str(value)
                for table in tables
                for row in execute(f"SELECT * FROM {table}")
                for value in row
            )

        found += await database.read(count)
    return found


async def plan_of(database: Database, query: str) -> str:
    return await database.read(
        lambda c: str(c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
    )


def held_in_files(folder: Path, text: str) -> list[str]:
    """Return the names of all files below a folder that contain a text."""
    return [
        path.name
        for path in sorted(folder.rglob("*"))
        if path.is_file() and text.encode() in path.read_bytes()
    ]


async def test_erasing_nobody_finds_nothing(store: Store) -> None:
    assert await store.erasure.erase_tenant("a") == Erased(left=NOTHING)
    assert await store.erasure.erase_end_user("a", "ann") == Erased(left=NOTHING)


async def test_a_tenant_goes_whole_and_at_once(
    disk_store: Store, blob_path: BlobPath, databases: Databases, now: list[float]
) -> None:
    for tenant in ("aa", "bb"):
        for number in range(3):
            await put(disk_store, tenant, f"{tenant}{number}".encode(), end_user="ann")
        await put(disk_store, tenant, DATA)
        await disk_store.pin(tenant, DIGEST)
        await disk_store.files.create(tenant, DIGEST, filename=f"{tenant}.txt")
        parent = await keep(disk_store, tenant, ROOT, f'"{tenant}"', blobs=(DIGEST,))
        await keep(disk_store, tenant, parent, '"more"')
    await disk_store.stat("aa", DIGEST)  # remembered
    erased = await disk_store.erasure.erase_tenant("aa")
    assert erased == Erased(
        ended_grants=4, removed_blobs=3, removed_bytes=9, removed_prompts=2, left=NOTHING
    )
    for number in range(3):
        assert not blob_path(Digest.of(f"aa{number}".encode())).exists()
        assert await disk_store.stat("bb", Digest.of(f"bb{number}".encode())) is not None
    assert blob_path(DIGEST).read_bytes() == DATA
    assert await disk_store.stat("aa", DIGEST) is None
    assert (await disk_store.stat("bb", DIGEST)) is not None
    assert (await disk_store.files.list("bb", limit=9)).items != []
    assert await rows_of(disk_store, databases, "aa.txt") == 0
    assert await rows_of(disk_store, databases, '"aa"') == 0
    now[0] += HOUR
    stats = await disk_store.stats()
    assert (stats.blobs, stats.condemned_blobs, stats.grants) == (4, 0, 4)


async def test_an_end_user_leaves_what_is_not_theirs_alone(
    disk_store: Store, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", b"ann's", "ann")
    await put(disk_store, "a", b"ann's and bob's", "ann")
    await put(disk_store, "a", b"ann's and bob's", "bob")
    await put(disk_store, "a", b"ann's and somebody's", "ann")
    await put(disk_store, "a", b"ann's and somebody's")
    await put(disk_store, "a", b"bob's", "bob")
    await put(disk_store, "b", b"ann's", "ann")  # another tenant's: another person
    erased = await disk_store.erasure.erase_end_user("a", "ann")
    assert erased == Erased(ended_grants=1, kept_grants=2, left=NOTHING)
    assert await disk_store.stat("a", Digest.of(b"ann's")) is None
    assert await disk_store.stat("b", Digest.of(b"ann's")) is not None
    for data in (b"ann's and bob's", b"ann's and somebody's", b"bob's"):
        assert await disk_store.stat("a", Digest.of(data)) is not None
    erased = await disk_store.erasure.erase_end_user("a", "bob")
    assert (erased.ended_grants, erased.removed_blobs) == (2, 2)
    assert not blob_path(Digest.of(b"bob's")).exists()


async def test_a_pin_a_file_and_a_prompt_do_not_keep_what_is_erased(
    disk_store: Store, blob_path: BlobPath
) -> None:
    await put(disk_store, "a", DATA, "ann")
    await disk_store.pin("a", DIGEST)
    await disk_store.files.create("a", DIGEST)
    prompt = await keep(disk_store, "a", ROOT, "{}", "bob", blobs=(DIGEST,))
    assert (await disk_store.erasure.erase_end_user("a", "ann")).removed_blobs == 1
    assert not blob_path(DIGEST).exists()
    assert await disk_store.prompts.expand("a", "d", prompt) == ["{}"]
    await disk_store.prompts.flush()
    assert await disk_store.stat("a", DIGEST) is None


async def test_who_asks_what_is_missing_claims_what_is_there(store: Store) -> None:
    await put(store, "a", DATA, "ann")
    other = Digest.of(b"other")
    answer = await store.missing("a", [DIGEST, other], end_user="bob")
    assert answer.missing == [other]
    assert (await store.erasure.erase_end_user("a", "ann")).kept_grants == 1
    assert await store.stat("a", DIGEST) is not None
    assert (await store.erasure.erase_end_user("a", "bob")).ended_grants == 1
    assert (await store.missing("a", [DIGEST], end_user="bob")).missing == [DIGEST]


async def test_what_more_show_than_are_noted_is_nobodys_own(
    store: Store, databases: Databases
) -> None:
    await put(store, "a", DATA, "ann")
    names = [("a", DIGEST, f"somebody-{number}", 0.0) for number in range(MAX_CLAIMS - 2)]
    insert = "INSERT INTO end_users (tenant, digest, end_user, created_at) VALUES (?, ?, ?, ?)"
    await databases(store)[0].run(lambda c: c.exec_driver_sql(insert, names).close())

    async def claims() -> object:
        return await databases(store)[0].read(
            lambda c: c.exec_driver_sql("SELECT count(*), unnamed FROM end_users, grants").one()
        )

    for name, expected in (("bob", (1000, 0)), ("bob", (1000, 0)), ("eve", (1000, 1))):
        assert (await store.missing("a", [DIGEST], end_user=name)).missing == []
        assert await claims() == expected
    await put(store, "a", DATA, "eve")
    assert await claims() == (1000, 1)
    await databases(store)[0].run(
        lambda c: c.exec_driver_sql("DELETE FROM end_users WHERE end_user != 'ann'").close()
    )
    assert (await store.erasure.erase_end_user("a", "ann")).kept_grants == 1
    assert await store.stat("a", DIGEST) is not None


async def test_a_use_claims_nothing(store: Store) -> None:
    await put(store, "a", DATA, "ann")
    await store.stat_many("a", [DIGEST])
    assert (await store.missing("a", [DIGEST])).missing == []
    assert (await store.erasure.erase_end_user("a", "ann")).ended_grants == 1


async def test_messages_go_with_all_that_follows_them(store: Store) -> None:
    system = await keep(store, "a", ROOT, '"system"', "ann")
    assert system == await keep(store, "a", ROOT, '"system"', "bob")  # the same, for another
    anns = await keep(store, "a", system, '"I am Ann"', "ann")
    bobs = await keep(store, "a", system, '"I am Bob"', "bob")
    others = await keep(store, "a", anns, '"so you are Ann"')
    erased = await store.erasure.erase_end_user("a", "ann")
    assert erased == Erased(removed_prompts=2, left=NOTHING)
    for digest in (anns, others):
        assert await store.prompts.expand("a", "d", digest) is None
        with pytest.raises(PromptNotFoundError):  # also from what was remembered
            await keep(store, "a", digest, '"and on"')
    assert await store.prompts.expand("a", "d", bobs) == ['"system"', '"I am Bob"']


async def test_long_and_broad_conversations_go(store: Store) -> None:
    first = await keep(store, "a", ROOT, '"first"', "ann")
    for number in range(450):
        await keep(store, "a", first, f'"{number}"', "bob")
    at = first
    for number in range(450):
        at = await keep(store, "a", at, f'"deep {number}"')
    assert (await store.erasure.erase_end_user("a", "ann")).removed_prompts == 901


async def test_a_message_on_its_way_is_erased_and_its_room_given_back(
    open_store: Open, databases: Databases
) -> None:
    store = await open_store(StoreConfig(None, pending_prompt_bytes=10_000))
    parent = await keep(store, "a", ROOT, '"first"', "ann")
    erasing = asyncio.create_task(store.erasure.erase_end_user("a", "ann"))
    followers = [
        asyncio.create_task(keep(store, "a", parent, f'"{number}"', "bob")) for number in range(50)
    ]
    await erasing
    await asyncio.gather(*followers, return_exceptions=True)
    await store.prompts.flush()
    for outcome in followers:
        if outcome.exception() is None:  # it was kept for a moment
            assert await store.prompts.expand("a", "d", outcome.result()) is None
    await store.erasure.erase_tenant("a")
    assert await store.prompts.count_of("a", None) == 0
    assert await keep(store, "a", ROOT, '"new"')  # there is room


async def test_messages_hold_nothing_any_more(store: Store, now: list[float]) -> None:
    """Nor does any row name them."""
    await put(store, "a", DATA)
    await keep(store, "a", ROOT, '"look"', "ann", blobs=(DIGEST,))
    assert len(await store.release("a", DIGEST)) == 1
    await store.erasure.erase_end_user("a", "ann")
    assert await store.stat("a", DIGEST) is None
    assert (await store.stats()).condemned_blobs == 1


async def test_damaged_bytes_go_from_quarantine(
    disk_store: Store, blob_path: BlobPath, folder: Path
) -> None:
    await put(disk_store, "a", DATA)
    blob_path(DIGEST).write_bytes(b"Bytes")
    with pytest.raises(Exception, match="no such blob"):
        await disk_store.open_blob("a", DIGEST)
    assert (folder / "quarantine" / DIGEST.hex).exists()
    erased = await disk_store.erasure.erase_tenant("a")
    assert (erased.removed_blobs, erased.left) == (1, NOTHING)
    assert list((folder / "quarantine").iterdir()) == []


async def test_a_message_that_has_rotted_goes_too(store: Store, databases: Databases) -> None:
    await put(store, "a", DATA)
    await keep(store, "a", ROOT, '"look"', "ann", blobs=(DIGEST,))
    await store.prompts.flush()
    await databases(store)[1].run(
        lambda c: c.exec_driver_sql("UPDATE prompts SET digest = 'rot', blobs = 'rot'").close()
    )
    erased = await store.erasure.erase_end_user("a", "ann")
    assert (erased.removed_prompts, erased.left) == (1, NOTHING)


async def test_keys_stay_and_are_counted(store: Store, now: list[float]) -> None:
    for tenant in ("a", "b", "a"):
        made = await store.keys.create(tenant=tenant, scopes={"read"})
    await store.keys.create(tenant="a", scopes={"read"}, expires_at=now[0])
    await store.keys.revoke(made.info.id)
    erased = await store.erasure.erase_tenant("a")
    assert erased.left is not None
    assert erased.left == replace(NOTHING, keys=1)
    assert erased.left.is_nothing
    assert len(await store.keys.list()) == 4


async def test_what_was_erased_is_in_no_file(
    open_store: Open, folder: Path, now: list[float]
) -> None:
    """Not in what the databases have freed, nor in their logs."""
    store = await open_store(StoreConfig(folder))
    at = {"victim": ROOT, "bystander": ROOT}
    for number in range(150):
        for tenant, parent in at.items():
            data = f"{tenant} blob {number}".encode()
            await put(store, tenant, data, f"{tenant}-user-{number % 7}")
            text = f'"{tenant}-text-{number} ' + f"{tenant}-words " * (number * 7 % 600) + '"'
            blobs = (Digest.of(data),)
            at[tenant] = await keep(store, tenant, parent, text, f"{tenant}-user-0", blobs)
        await store.files.create("victim", Digest.of(b"victim blob %d" % number))
    await store.prompts.flush()
    assert {"index.sqlite", "prompts.sqlite"} & set(held_in_files(folder, "victim"))
    erased = await store.erasure.erase_tenant("victim")
    assert (erased.removed_blobs, erased.removed_prompts) == (150, 150)
    assert erased.left == NOTHING
    assert held_in_files(folder, "victim") == []
    assert held_in_files(folder, Digest.of(b"victim blob 7").hex) == []
    erased = await store.erasure.erase_end_user("bystander", "bystander-user-0")
    assert (erased.removed_blobs, erased.removed_prompts) == (22, 150)
    assert held_in_files(folder, "bystander-user-0") == []
    assert held_in_files(folder, "bystander-text") == []
    assert held_in_files(folder, "bystander-user-1") != []


async def test_uploads_meanwhile_are_whole_or_gone(disk_store: Store) -> None:
    """And another tenant's stay."""
    contents = [b"%d" % number for number in range(40)]
    for data in contents:
        await put(disk_store, "a", data)

    async def upload(tenant: str) -> None:
        for data in contents:
            await put(disk_store, tenant, data)

    await asyncio.gather(disk_store.erasure.erase_tenant("a"), upload("b"), upload("a"))
    for tenant in ("a", "b"):
        held = await disk_store.stat_many(tenant, [Digest.of(data) for data in contents])
        assert tenant == "a" or len(held) == len(contents)
        for digest in held:
            async with await disk_store.open_blob(tenant, digest) as reader:
                assert Digest.of(bytes(await reader.read_piece(0))) == digest
    erased = await disk_store.erasure.erase_tenant("a")
    assert erased.left == NOTHING


@contextmanager
def unremovable(paths: Iterable[Path]) -> Generator[None]:
    """Put folders where files were, which no unlink removes, as on a disk that refuses to."""
    moved = [(path, path.with_name(f"{path.name}-aside")) for path in paths]
    for path, aside in moved:
        path.rename(aside)
        path.mkdir()
    yield
    for path, aside in moved:
        path.rmdir()
        aside.rename(path)


async def test_erasing_again_goes_on_where_it_ended(disk_store: Store, blob_path: BlobPath) -> None:
    """Nobody can use meanwhile what was about to go."""
    digests = [(await put(disk_store, "a", b"%d" % n, "ann")).grant.digest for n in range(50)]
    for digest in digests:
        await disk_store.pin("a", digest)
    with unremovable(blob_path(digest) for digest in digests[5:]):
        with pytest.raises(StoreUnavailableError):
            await disk_store.erasure.erase_end_user("a", "ann")
        held = await disk_store.stat_many("a", digests)
        dead = [digest for digest in digests[5:] if digest not in held]
        assert dead  # begun, and not finished
        assert (await disk_store.missing("a", dead, end_user="bob")).missing == dead
    erased = await disk_store.erasure.erase_end_user("a", "ann")
    assert erased.left == NOTHING
    assert not any(blob_path(digest).exists() for digest in digests)


async def test_what_a_crash_left_half_erased_a_sweep_ends(
    disk_store: Store, now: list[float], blob_path: BlobPath
) -> None:
    await put(disk_store, "a", DATA)
    await disk_store.pin("a", DIGEST)
    with unremovable([blob_path(DIGEST)]), pytest.raises(StoreUnavailableError):
        await disk_store.erasure.erase_tenant("a")
    assert blob_path(DIGEST).exists()
    assert (await disk_store.sweep.run()).ended_grants == 1
    now[0] += HOUR
    assert (await disk_store.sweep.run()).removed_blobs == 1


async def test_uploads_in_parts_go_with_their_bytes(disk_store: Store, folder: Path) -> None:
    uploads = disk_store.uploads
    for tenant, end_user in (("a", "ann"), ("a", "bob"), ("a", None), ("b", "ann")):
        begun = await uploads.create(NewUpload(tenant, length=20, end_user=end_user))
        await uploads.append(tenant, begun.id, 0, chunks(b"half of it"))
        whole = await uploads.create(NewUpload(tenant, length=5, end_user=end_user))
        await uploads.append(tenant, whole.id, 0, chunks(DATA))
        await uploads.finish(tenant, whole.id)
    erased = await disk_store.erasure.erase_end_user("a", "ann")
    assert erased == Erased(kept_grants=1, removed_uploads=1, left=NOTHING)
    assert len(list((folder / "uploads").iterdir())) == 3
    erased = await disk_store.erasure.erase_tenant("a")
    assert erased == Erased(ended_grants=1, removed_uploads=2, left=NOTHING)
    assert len(list((folder / "uploads").iterdir())) == 1
    assert await disk_store.stat("b", DIGEST) is not None


async def test_bytes_of_an_upload_that_cannot_be_removed_are_found_again(
    disk_store: Store, folder: Path
) -> None:
    uploads = disk_store.uploads
    begun = await uploads.create(NewUpload("a", length=20, end_user="ann"))
    await uploads.append("a", begun.id, 0, chunks(b"half of it"))
    part = folder / "uploads" / begun.id
    part.rename(folder / "aside")
    part.mkdir()  # which no unlink removes
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            await disk_store.erasure.erase_end_user("a", "ann")
    part.rmdir()
    (folder / "aside").rename(part)
    erased = await disk_store.erasure.erase_end_user("a", "ann")
    assert erased == Erased(removed_uploads=1, left=NOTHING)
    assert not part.exists()


async def test_an_upload_that_is_being_written_to_is_gone(disk_store: Store, folder: Path) -> None:
    uploads = disk_store.uploads
    begun = await uploads.create(NewUpload("a", length=20))
    come, go_on = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"half of it"
        come.set()
        await go_on.wait()
        yield b"the second"

    writing = asyncio.create_task(uploads.append("a", begun.id, 0, body()))
    await come.wait()
    assert (await disk_store.erasure.erase_tenant("a")).left == NOTHING
    go_on.set()
    await asyncio.gather(writing, return_exceptions=True)
    with pytest.raises(UploadNotFoundError):
        await uploads.finish("a", begun.id)
    assert list((folder / "uploads").iterdir()) == []
    assert (await disk_store.erasure.erase_tenant("a")).left == NOTHING


async def test_reports_come_while_it_goes_on(store: Store) -> None:
    for number in range(100):
        await put(store, "a", b"%d" % number)
    reports = [report async for report in store.erasure.run("a", None)]
    assert [report.ended_grants for report in reports][:4] == [32, 64, 96, 100]
    assert all(report.left is None for report in reports[:-1])
    assert reports[-1].left == NOTHING


async def test_a_log_that_somebody_reads_is_told(
    disk_store: Store, folder: Path, databases: Databases
) -> None:
    await put(disk_store, "a", DATA)

    def wait_for_nobody(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA busy_timeout = 1")

    for database in databases(disk_store):
        await database.read(wait_for_nobody)
    reader = sqlite3.connect(folder / "index.sqlite", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM grants").fetchall()
    erased = await disk_store.erasure.erase_tenant("a")
    reader.execute("COMMIT")
    reader.close()
    assert erased.left == replace(NOTHING, databases=1)
    assert erased.left is not None
    assert not erased.left.is_nothing
    assert (await disk_store.erasure.erase_tenant("a")).left == NOTHING


@pytest.mark.parametrize("end_user", [None, "ann"])
async def test_another_process_forgets_what_it_knew(
    folder: Path, now: list[float], end_user: str | None
) -> None:
    async with AsyncExitStack() as stack:
        shared = SharedFolder.take(folder)
        stack.callback(shared.close)
        one, other = [
            await stack.enter_async_context(
                await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared)
            )
            for _ in range(2)
        ]
        await put(one, "a", DATA, "ann")
        prompt = await keep(one, "a", ROOT, '"hello"', "ann")
        assert await other.stat("a", DIGEST) is not None
        longer = await keep(other, "a", prompt, '"more"', "bob")
        if end_user is None:
            erased = await one.erasure.erase_tenant("a")
        else:
            erased = await one.erasure.erase_end_user("a", end_user)
        assert (erased.removed_blobs, erased.removed_prompts) == (1, 2)
        assert erased.left == NOTHING
        assert await other.stat("a", DIGEST) is None
        with pytest.raises(BlobNotFoundError):
            await other.open_blob("a", DIGEST)
        for digest in (prompt, longer):
            assert await other.prompts.expand("a", "d", digest) is None
            with pytest.raises(PromptNotFoundError):
                await keep(other, "a", digest, '"and on"', "bob")


async def test_two_processes_erase_and_upload_at_once(folder: Path, now: list[float]) -> None:
    """What a tenant's neighbour uploaded stays, whoever removes the bytes."""
    contents = [b"%d" % number for number in range(30)]
    async with AsyncExitStack() as stack:
        shared = SharedFolder.take(folder)
        stack.callback(shared.close)
        one, other = [
            await stack.enter_async_context(
                await Store.open(StoreConfig(folder), clock=lambda: now[0], shared=shared)
            )
            for _ in range(2)
        ]
        for data in contents:
            await put(one, "a", data, "ann")

        async def upload() -> None:
            for data in contents:
                await put(other, "b", data, "ann")

        await asyncio.gather(
            one.erasure.erase_end_user("a", "ann"), other.erasure.erase_tenant("a"), upload()
        )
        for data in contents:
            assert await other.stat("a", Digest.of(data)) is None
            async with await one.open_blob("b", Digest.of(data)) as reader:
                assert bytes(await reader.read_piece(0)) == data


async def test_what_goes_is_found_by_indexes(
    store: Store, databases: Databases, watch: Callable[[Store], Awaitable[list[str]]]
) -> None:
    """However much of other tenants and end users there is."""
    await put(store, "a", DATA, "ann")
    await keep(store, "a", await keep(store, "a", ROOT, "1", "ann"), "2", "bob")
    seen = await watch(store)
    await store.erasure.erase_end_user("a", "ann")
    wanted = {
        "SELECT end_users.digest": "INDEX end_users_blobs (tenant=? AND end_user=?)",
        "SELECT prompts.dialect": "INDEX prompts_end_user (tenant=? AND end_user=?)",
        "UPDATE prompts SET end_user": "INDEX prompts_parent (tenant=? AND dialect=? AND parent=?)",
    }
    for start, index in wanted.items():
        query = next(text for text in seen if text.startswith(start))
        assert index in await plan_of(databases(store)["prompts" in start], query)


async def test_a_prompt_of_who_has_not_the_blob_keeps_nothing(
    disk_store: Store, blob_path: BlobPath
) -> None:
    """Another tenant may name a digest that it has heard of; that makes it no holder."""
    await put(disk_store, "aa", DATA)
    await keep(disk_store, "bb", ROOT, '"it"', blobs=(DIGEST,))
    erased = await disk_store.erasure.erase_tenant("aa")
    assert (erased.ended_grants, erased.removed_blobs, erased.left) == (1, 1, NOTHING)
    assert not blob_path(DIGEST).exists()
