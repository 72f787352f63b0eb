"""Files: names for blobs that hold them, by ids of their own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from coatcheck.protocol import FILE_ID_BYTES, Digest, file_id_of, is_file_id
from coatcheck.store import (
    BlobNotFoundError,
    HoldKind,
    InvalidCursorError,
    Receipt,
    Store,
    StoredFile,
    StoredFileNotFoundError,
)
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Watch = Callable[[Store], Awaitable[list[str]]]

DATA = b"bytes"
DIGEST = Digest.of(DATA)
DAY = 24 * 3600
MINUTE = 60


async def plan_of(database: Database, query: str) -> str:
    return await database.read(
        lambda c: str(c.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}").all())
    )


async def test_a_file_is_found_by_its_id(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA, declared_type="text/plain")
    file = await store.files.create("a", DIGEST, filename="ä.txt", purpose="vision")
    assert is_file_id(file.id)
    assert (file.filename, file.purpose, file.created_at) == ("ä.txt", "vision", now[0])
    assert (file.grant.digest, file.grant.media_type) == (DIGEST, "text/plain")
    assert await store.files.find("a", file.id) == file


async def test_two_files_may_name_one_blob(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    first, second = [await store.files.create("a", DIGEST) for _ in range(2)]
    assert first.id != second.id
    assert await store.files.find_many("a", [second.id, "file-else", first.id]) == {
        first.id: first,
        second.id: second,
    }


async def test_a_file_is_made_once_by_an_id_that_is_given(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    given = file_id_of(b"x" * FILE_ID_BYTES)
    made = await asyncio.gather(*[store.files.create("a", DIGEST, file_id=given) for _ in range(3)])
    assert {file.id for file in made} == {given}
    assert (await store.files.list("a", limit=9)).items == [made[0]]
    again = await store.files.create("a", DIGEST, filename="another", file_id=given)
    assert again == made[0]
    await put(store, "b", DATA)
    assert (await store.files.create("b", DIGEST, file_id=given)).grant.tenant == "b"


async def test_a_blob_that_the_tenant_does_not_hold_becomes_no_file(store: Store, put: Put) -> None:
    await put(store, "b", DATA)
    with pytest.raises(BlobNotFoundError):
        await store.files.create("a", DIGEST)
    assert (await store.files.list("a", limit=1)).items == []


async def test_another_tenants_file_costs_and_says_what_none_does(
    store: Store, put: Put, watch: Watch
) -> None:
    await put(store, "b", DATA)
    theirs = (await store.files.create("b", DIGEST)).id
    nobodys = theirs[:-1] + ("a" if theirs[-1] != "a" else "b")
    asked: list[list[str]] = []
    for file_id in (theirs, nobodys):
        seen = await watch(store)
        assert await store.files.find("a", file_id) is None
        with pytest.raises(StoredFileNotFoundError):
            await store.files.remove("a", file_id)
        asked.append([text.replace(file_id, "ID") for text in seen])
    assert asked[0] == asked[1]
    assert await store.files.find("b", theirs) is not None


async def test_a_file_holds_its_blob_until_it_is_removed(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    file = await store.files.create("a", DIGEST, purpose="vision")
    held = await store.release("a", DIGEST)
    assert [(hold.kind, hold.name, hold.purpose) for hold in held] == [
        (HoldKind.FILE, file.id, "vision")
    ]
    now[0] += 10 * DAY
    await store.sweep.run()
    assert await store.stat("a", DIGEST) is not None
    await store.files.remove("a", file.id)
    assert await store.files.find("a", file.id) is None
    assert await store.stat("a", DIGEST) is None
    assert (await store.stats()).condemned_blobs == 1
    with pytest.raises(StoredFileNotFoundError):
        await store.files.remove("a", file.id)


async def test_what_else_holds_the_blob_outlives_the_file(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    file = await store.files.create("a", DIGEST)
    await store.files.remove("a", file.id)
    assert await store.stat("a", DIGEST) is not None


async def test_a_file_is_dead_from_its_expiry_on(
    store: Store,
    put: Put,
    now: list[float],
    databases: Callable[[Store], tuple[Database, Database]],
) -> None:
    await put(store, "a", DATA)
    file = await store.files.create("a", DIGEST, expires_at=now[0] + 2 * DAY)
    now[0] += 2 * DAY - 1
    assert await store.files.find("a", file.id) is not None
    assert await store.stat("a", DIGEST) is not None
    now[0] += 1
    assert await store.files.find("a", file.id) is None
    assert (await store.files.list("a", limit=9)).items == []
    assert await store.stat("a", DIGEST) is None
    now[0] += MINUTE
    assert (await store.sweep.run()).ended_grants == 1
    holds = await databases(store)[0].read(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM holds").scalar_one()
    )
    assert holds == 0


async def test_a_list_goes_on_where_a_page_or_a_file_ends(
    store: Store, put: Put, now: list[float]
) -> None:
    files: list[StoredFile] = []
    for number in range(5):
        await put(store, "a", b"%d" % number)
        purpose = "even" if number % 2 == 0 else "odd"
        digest = Digest.of(b"%d" % number)
        files.append(await store.files.create("a", digest, purpose=purpose))
        now[0] += number % 2  # some are of one second
    await put(store, "b", DATA)
    await store.files.create("b", DIGEST)
    oldest = sorted(files, key=lambda file: (file.created_at, file.id))
    for order in (False, True):
        found: list[StoredFile] = []
        after: str | None = None
        while True:
            page = await store.files.list("a", limit=2, after=after, oldest_first=order)
            found += page.items
            after = page.next_cursor
            if after is None:
                break
        assert found == (oldest if order else oldest[::-1])
    even = await store.files.list("a", limit=9, purpose="even", oldest_first=True)
    assert [file.purpose for file in even.items] == ["even"] * 3
    behind = await store.files.list("a", limit=9, after=oldest[2].cursor, oldest_first=True)
    assert behind.items == oldest[3:]
    with pytest.raises(InvalidCursorError):
        await store.files.list("a", limit=9, after="nonsense")
    blobs = await store.list_grants("a", after=None, limit=1)
    with pytest.raises(InvalidCursorError):  # a cursor of another list
        await store.files.list("a", limit=9, after=blobs.next_cursor)
    with pytest.raises(ValueError, match="at least one"):
        await store.files.list("a", limit=0)


async def test_ids_are_found_and_lists_are_made_by_their_indexes(
    store: Store, put: Put, databases: Callable[[Store], tuple[Database, Database]], watch: Watch
) -> None:
    """However many other holds there are."""
    await put(store, "a", DATA)
    file = await store.files.create("a", DIGEST)
    seen = await watch(store)
    await store.files.find("a", file.id)
    await store.files.list("a", limit=1)
    await store.files.list("a", limit=1, oldest_first=True, purpose="x")
    queries = [text for text in seen if text.startswith("SELECT holds.name")]
    assert len(queries) == 3
    plans = [await plan_of(databases(store)[0], query) for query in queries]
    assert not any("TEMP B-TREE" in plan for plan in plans)
    assert "USING INDEX holds_files (name=?)" in plans[0]
    assert all("USING INDEX holds_files_newest (tenant=? AND " in plan for plan in plans[1:])
