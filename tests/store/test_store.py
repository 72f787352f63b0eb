"""Grants and what holds them."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import (
    BlobNotFoundError,
    DigestMismatchError,
    FolderInUseError,
    HoldKind,
    InvalidCursorError,
    PromptMessage,
    Receipt,
    SchemaError,
    Store,
    StoreClosedError,
    StoreConfig,
    StoreCounts,
    StoreFullError,
    StoreUnavailableError,
)
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
Databases = Callable[[Store], tuple[Database, Database]]

DAY = 24 * 3600
DATA = b"a photograph of a coat"
DIGEST = Digest.of(DATA)
ABSENT = Digest.of(b"never uploaded")
ROOT = prompt_root("openai.chat")


async def test_a_grant_ends_with_its_lease(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    now[0] += DAY - 1
    assert await store.stat("a", DIGEST) is not None
    now[0] += 1
    assert await store.stat("a", DIGEST) is None
    assert await store.stat_many("a", [DIGEST]) == {}
    assert (await store.list_grants("a", after=None, limit=10)).items == []
    with pytest.raises(BlobNotFoundError):
        await store.open_blob("a", DIGEST)
    now[0] += 60
    await store.sweep.run()
    assert (await store.stats()).grants == 0


async def test_stat_is_no_use_and_stat_many_is(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    now[0] += DAY / 2
    grant = await store.stat("a", DIGEST)
    assert grant is not None
    assert grant.lease_expires_at == 1_000_000 + DAY
    used = await store.stat_many("a", [DIGEST, ABSENT])
    assert used.keys() == {DIGEST}
    assert used[DIGEST].lease_expires_at == now[0] + DAY
    assert await store.stat("a", DIGEST) == used[DIGEST]


async def test_opening_is_a_use(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    now[0] += DAY / 2
    async with await store.open_blob("a", DIGEST) as reader:
        assert reader.grant.lease_expires_at == now[0] + DAY


async def test_a_look_is_no_use(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    now[0] += DAY / 2
    async with await store.open_blob("a", DIGEST, renew=False) as reader:
        assert bytes(await reader.read_piece(0)) == DATA
    grant = await store.stat("a", DIGEST)
    assert grant is not None
    assert grant.lease_expires_at == 1_000_000 + DAY
    with pytest.raises(BlobNotFoundError):
        await store.open_blob("b", DIGEST, renew=False)


async def test_a_lease_is_not_rewritten_in_its_first_sixteenth(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    now[0] += DAY / 16 - 1
    assert (await store.stat_many("a", [DIGEST]))[DIGEST].lease_expires_at == 1_000_000 + DAY
    now[0] += 1
    assert (await store.stat_many("a", [DIGEST]))[DIGEST].lease_expires_at == now[0] + DAY


async def test_a_blob_is_used_though_its_lease_cannot_be_written(
    disk_store: Store,
    put: Put,
    now: list[float],
    largest_file: Callable[[int], AbstractContextManager[None]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    grant = (await put(disk_store, "a", DATA)).grant
    now[0] += DAY / 2
    with largest_file(1):
        assert await disk_store.stat_many("a", [DIGEST]) == {DIGEST: grant}
        await (await disk_store.open_blob("a", DIGEST)).close()
        with pytest.raises(StoreUnavailableError):
            await disk_store.pin("a", DIGEST)
    assert "could not be renewed" in caplog.text
    assert (await disk_store.pin("a", DIGEST)).pinned


async def test_missing_names_what_is_absent_and_renews_the_rest(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    now[0] += DAY / 2
    answer = await store.missing("a", [ABSENT, DIGEST, ABSENT])
    assert answer.missing == [ABSENT]
    assert answer.lease_expires_at == now[0] + DAY
    now[0] += DAY - 1
    assert await store.stat("a", DIGEST) is not None
    assert (await store.missing("b", [DIGEST])).missing == [DIGEST]
    assert (await store.missing("a", [])).missing == []


async def test_missing_promises_no_more_than_the_first_lease_to_end(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    now[0] += 60
    await put(store, "a", b"another")
    answer = await store.missing("a", [DIGEST, Digest.of(b"another")])
    assert answer.lease_expires_at == 1_000_000 + DAY


async def test_a_pin_holds_without_end(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    assert (await store.pin("a", DIGEST)).pinned
    assert (await store.pin("a", DIGEST)).pinned
    now[0] += 1000 * DAY
    grant = await store.stat("a", DIGEST)
    assert grant is not None
    assert (grant.pinned, grant.lease_expires_at) == (True, None)
    unpinned = await store.unpin("a", DIGEST)
    assert (unpinned.pinned, unpinned.lease_expires_at) == (False, now[0] + DAY)
    assert await store.unpin("a", DIGEST) == unpinned
    now[0] += DAY
    assert await store.stat("a", DIGEST) is None


async def test_release_ends_lease_and_pin(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    await put(store, "b", DATA)
    await store.pin("a", DIGEST)
    assert await store.release("a", DIGEST) == []
    assert await store.stat("a", DIGEST) is None
    assert await store.stat("b", DIGEST) is not None
    with pytest.raises(BlobNotFoundError):
        await store.release("a", DIGEST)
    assert (await put(store, "a", DATA)).created


async def test_a_released_blob_resolves_while_a_prompt_names_it(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    message = PromptMessage(Digest.of(b"p1"), "{}", blobs=(DIGEST, ABSENT))
    await store.prompts.append("a", "openai.chat", ROOT, [message])
    holds = await store.release("a", DIGEST)
    assert [(hold.kind, hold.name) for hold in holds] == [(HoldKind.PROMPT, Digest.of(b"p1"))]
    assert holds[0].expires_at == now[0] + DAY
    now[0] += DAY - 1
    async with await store.open_blob("a", DIGEST) as reader:
        assert bytes(await reader.read_piece(0)) == DATA
    now[0] += 1
    assert await store.stat("a", DIGEST) is None


async def test_a_use_gives_no_lease_back_and_missing_does(
    store: Store, put: Put, now: list[float]
) -> None:
    await put(store, "a", DATA)
    message = PromptMessage(Digest.of(b"p1"), "{}", blobs=(DIGEST,))
    await store.prompts.append("a", "openai.chat", ROOT, [message])
    await store.release("a", DIGEST)
    now[0] += DAY / 2
    assert (await store.stat_many("a", [DIGEST]))[DIGEST].lease_expires_at is None
    assert (await store.missing("a", [DIGEST])).lease_expires_at == now[0] + DAY
    grant = await store.stat("a", DIGEST)
    assert grant is not None
    assert grant.lease_expires_at == now[0] + DAY


async def test_a_prompt_revives_no_dead_grant(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA)
    now[0] += DAY
    message = PromptMessage(Digest.of(b"p1"), "{}", blobs=(DIGEST,))
    await store.prompts.append("a", "openai.chat", ROOT, [message])
    await store.prompts.flush()
    assert await store.stat("a", DIGEST) is None


async def test_a_dead_grant_begins_anew(store: Store, put: Put, now: list[float]) -> None:
    await put(store, "a", DATA, declared_type="image/old")
    now[0] += DAY
    receipt = await put(store, "a", DATA)
    assert receipt.created
    assert receipt.grant.created_at == now[0]
    assert receipt.grant.media_type == "application/octet-stream"


async def test_a_list_is_newest_first_and_paged(store: Store, put: Put, now: list[float]) -> None:
    uploaded: list[Digest] = []
    for number in range(7):
        now[0] += number % 2  # some share their time
        uploaded.append((await put(store, "a", b"%d" % number)).grant.digest)
    await put(store, "b", b"not a's")
    seen: list[Digest] = []
    times: list[float] = []
    cursor: str | None = None
    for expected in (3, 3, 1):
        page = await store.list_grants("a", after=cursor, limit=3)
        assert len(page.items) == expected
        seen += [grant.digest for grant in page.items]
        times += [grant.created_at for grant in page.items]
        cursor = page.next_cursor
    assert cursor is None
    assert sorted(seen) == sorted(uploaded)
    assert times == sorted(times, reverse=True)


async def test_a_page_that_ends_the_list_has_no_cursor(store: Store, put: Put) -> None:
    await put(store, "a", DATA)
    page = await store.list_grants("a", after=None, limit=1)
    assert [grant.digest for grant in page.items] == [DIGEST]
    assert page.next_cursor is None
    assert (await store.list_grants("nobody", after=None, limit=1)).items == []


@pytest.mark.parametrize("cursor", ["", "x", "%%", "bm90IG91cnM", "MS4wIHNoYTI1NjphYmM", "é"])
async def test_a_foreign_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidCursorError):
        await store.list_grants("a", after=cursor, limit=1)


async def test_a_page_has_at_least_one_item(store: Store) -> None:
    with pytest.raises(ValueError, match="at least one"):
        await store.list_grants("a", after=None, limit=0)


async def test_everything_is_there_after_reopening(
    open_store: Open, put: Put, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    grant = (await put(store, "a", DATA, declared_type="image/x")).grant
    await store.pin("a", DIGEST)
    await store.prompts.append("a", "d", prompt_root("d"), [PromptMessage(ABSENT, "[1]")])
    await store.close()
    store = await open_store(StoreConfig(folder))
    again = await store.stat("a", DIGEST)
    assert again is not None
    assert again.descriptor == grant.descriptor
    assert again.pinned
    assert await store.prompts.expand("a", "d", ABSENT) == ["[1]"]


async def test_a_second_store_on_the_folder_is_refused(
    open_store: Open, put: Put, folder: Path
) -> None:
    first = await open_store(StoreConfig(folder))
    await put(first, "a", DATA)
    with pytest.raises(FolderInUseError, match=str(folder)):
        await open_store(StoreConfig(folder))
    assert await first.stat("a", DIGEST) is not None
    await first.close()
    await open_store(StoreConfig(folder))


async def test_a_closed_store_answers_nothing(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", DATA)
    await disk_store.stat("a", DIGEST)
    await disk_store.close()
    await disk_store.close()
    with pytest.raises(StoreClosedError):
        await disk_store.stat("a", DIGEST)
    with pytest.raises(StoreClosedError):
        await disk_store.pin("a", DIGEST)
    with pytest.raises(StoreClosedError):
        await disk_store.prompts.append("a", "d", prompt_root("d"), [])


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_release_leaves_no_contradiction(
    disk_store: Store, put: Put, turns: int
) -> None:
    await put(disk_store, "a", DATA)
    await disk_store.stat("a", DIGEST)
    release = asyncio.create_task(disk_store.release("a", DIGEST))
    for _ in range(turns):
        await asyncio.sleep(0)
    release.cancel()
    await asyncio.wait([release])
    listed = (await disk_store.list_grants("a", after=None, limit=1)).items
    grant = await disk_store.stat("a", DIGEST)
    assert ([grant] if grant else []) == listed


async def test_the_files_are_the_owners_alone(disk_store: Store, put: Put, folder: Path) -> None:
    await put(disk_store, "a", DATA)
    modes = {entry.name: entry.stat().st_mode & 0o077 for entry in os.scandir(folder)}
    assert set(modes.values()) == {0}, modes


async def test_a_folder_that_cannot_be_made(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnavailableError):
        await open_store(StoreConfig(tmp_path / "file" / "data"))


async def test_an_index_that_cannot_be_opened(open_store: Open, folder: Path) -> None:
    (folder / "index.sqlite").mkdir(parents=True)
    with pytest.raises(StoreUnavailableError):
        await open_store(StoreConfig(folder))


async def test_memory_is_bounded_by_the_machine(store: Store, put: Put) -> None:
    before = (await store.stats()).disk_free_bytes
    assert before is not None
    await put(store, "a", DATA)
    assert (await store.stats()).disk_free_bytes == before - len(DATA)


async def test_stats(disk_store: Store, put: Put) -> None:
    await put(disk_store, "a", DATA)
    await put(disk_store, "b", DATA)
    await put(disk_store, "b", b"more")
    await disk_store.prompts.append("a", "d", prompt_root("d"), [PromptMessage(ABSENT, "[1]")])
    await disk_store.prompts.flush()
    stats = await disk_store.stats()
    assert (stats.blobs, stats.blob_bytes, stats.grants, stats.prompts) == (2, 26, 3, 1)
    assert stats.disk_free_bytes


async def test_counts_are_taken_once_in_a_few_seconds(
    open_store: Open, put: Put, now: list[float]
) -> None:
    store = await open_store(StoreConfig(None, count_seconds=5))

    async def blobs() -> int:
        return (await store.stats()).blobs

    assert await blobs() == 0
    await put(store, "a", DATA)
    now[0] += 4.9
    assert await blobs() == 0
    now[0] += 0.1
    assert await blobs() == 1
    await put(store, "a", b"another")
    now[0] -= 1  # a clock that is set back
    assert await blobs() == 2


async def test_many_who_ask_at_once_are_told_one_count(
    store: Store, watch: Callable[[Store], Awaitable[list[str]]]
) -> None:
    statements = await watch(store)
    await asyncio.gather(*(store.stats() for _ in range(10)))
    assert len([text for text in statements if "FROM blob_totals" in text]) == 1
    assert len([text for text in statements if "count(" in text]) == 1


async def test_a_store_in_order_passes_its_check(store: Store, disk_store: Store) -> None:
    await store.check()
    await disk_store.check()


@pytest.mark.parametrize("broken", [0, 1])
async def test_a_database_that_cannot_be_used_fails_the_check(
    disk_store: Store, databases: Databases, broken: int
) -> None:
    table = ("holds", "prompts")[broken]
    await databases(disk_store)[broken].run(lambda c: c.exec_driver_sql(f"DROP TABLE {table}"))
    with pytest.raises(StoreUnavailableError):
        await disk_store.check()


async def test_a_disk_without_room_fails_the_check(open_store: Open, folder: Path) -> None:
    store = await open_store(StoreConfig(folder, min_free_bytes=1 << 60))
    with pytest.raises(StoreFullError):
        await store.check()


async def test_a_disk_that_was_made_read_only_fails_the_check(
    disk_store: Store, put: Put, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = list(os.statvfs(folder))
    values[8] |= os.ST_RDONLY
    monkeypatch.setattr(os, "statvfs", lambda path: os.statvfs_result(values))  # pyright: ignore
    with pytest.raises(StoreUnavailableError, match="Read-only"):
        await disk_store.check()
    with pytest.raises(StoreUnavailableError, match="Read-only"):
        await put(disk_store, "a", DATA, expected_size=len(DATA))


async def test_a_folder_that_is_gone_fails_the_check(disk_store: Store, folder: Path) -> None:
    elsewhere = folder.with_name("elsewhere")
    os.rename(folder, elsewhere)
    try:
        with pytest.raises(StoreUnavailableError):
            await disk_store.check()
    finally:
        os.rename(elsewhere, folder)


async def test_a_closed_store_fails_the_check(store: Store) -> None:
    await store.close()
    with pytest.raises(StoreClosedError):
        await store.check()


async def test_a_file_where_the_folder_should_be(open_store: Open, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "index.sqlite").write_bytes(b"not a database" * 100)
    with pytest.raises(SchemaError):
        await open_store(StoreConfig(tmp_path / "data"))


async def test_a_full_index_refuses_and_loses_nothing(
    disk_store: Store, put: Put, databases: Databases
) -> None:
    await put(disk_store, "a", DATA)
    database, _ = databases(disk_store)
    pages = await database.run(lambda c: c.exec_driver_sql("PRAGMA page_count").scalar_one())
    await database.run(lambda c: c.exec_driver_sql(f"PRAGMA max_page_count={pages}"))

    async def fill() -> None:
        for number in range(200):
            await put(disk_store, "a", b"%d" % number, declared_type="x/" + "y" * 127)

    with pytest.raises(StoreFullError):
        await fill()
    await database.run(lambda c: c.exec_driver_sql("PRAGMA max_page_count=1000000"))
    assert await disk_store.stat("a", DIGEST) is not None
    assert (await put(disk_store, "a", b"room again")).created


@pytest.mark.parametrize("field", ["lease_seconds", "hot_entries", "min_free_bytes"])
def test_limits_out_of_range_are_refused(field: str) -> None:
    with pytest.raises(ValueError, match=field):
        StoreConfig(None, **dict.fromkeys([field], -1))  # type: ignore[arg-type]  # any limit


async def test_what_was_received_and_read_is_counted(disk_store: Store, put: Put) -> None:
    await put(disk_store, "t", b"bytes")
    await put(disk_store, "t", b"bytes")
    with pytest.raises(DigestMismatchError):
        await put(disk_store, "t", b"other", expected=Digest.of(b"bytes"))
    async with await disk_store.open_blob("t", Digest.of(b"bytes")):
        pass
    assert disk_store.counts == StoreCounts(
        received_blobs=2, received_bytes=10, opened_blobs=1, mismatched_uploads=1
    )
