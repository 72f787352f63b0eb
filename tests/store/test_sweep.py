"""What a sweep removes, what it leaves, and what it says of both."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.protocol import Digest, prompt_root
from coatcheck.store import PromptMessage, Receipt, Store, StoreConfig, Swept, Verdict
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
BlobPath = Callable[[Digest], Path]

DATA = b"bytes"
DIGEST = Digest.of(DATA)
DAY = 24 * 3600
HOUR = 3600
MINUTE = 60


async def verdicts(store: Store) -> list[Verdict]:
    return [verdict async for verdict in store.sweep.explain()]


async def test_an_empty_store_has_nothing_to_sweep(store: Store) -> None:
    assert await store.sweep.run() == Swept()
    assert await verdicts(store) == []


async def test_what_is_held_stays(disk_store: Store, put: Put, blob_path: BlobPath) -> None:
    await put(disk_store, "a", DATA)
    assert await disk_store.sweep.run() == Swept()
    assert await disk_store.stat("a", DIGEST) is not None
    assert blob_path(DIGEST).read_bytes() == DATA


async def test_a_blob_goes_a_review_after_its_last_lease(
    disk_store: Store, put: Put, now: list[float], blob_path: BlobPath
) -> None:
    await put(disk_store, "a", DATA)
    now[0] += DAY + MINUTE
    assert await disk_store.sweep.run() == Swept(ended_holds=1, ended_grants=1)
    stats = await disk_store.stats()
    assert (stats.blobs, stats.condemned_blobs, stats.condemned_bytes) == (1, 1, len(DATA))
    now[0] += HOUR - 1
    assert (await disk_store.sweep.run()).removed_blobs == 0
    assert blob_path(DIGEST).exists()
    now[0] += 1
    swept = await disk_store.sweep.run()
    assert (swept.removed_blobs, swept.removed_bytes) == (1, len(DATA))
    assert not blob_path(DIGEST).exists()
    now[0] += MINUTE
    stats = await disk_store.stats()
    assert (stats.blobs, stats.blob_bytes, stats.grants) == (0, 0, 0)


async def test_another_tenants_grant_keeps_the_bytes(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    await put(disk_store, "a", DATA)
    await put(disk_store, "b", DATA)
    await disk_store.release("a", DIGEST)
    now[0] += 2 * HOUR
    assert (await disk_store.sweep.run()).removed_blobs == 0
    async with await disk_store.open_blob("b", DIGEST) as reader:
        assert bytes(await reader.read_piece(0)) == DATA


async def test_an_upload_revives_what_was_condemned(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    await put(disk_store, "a", DATA)
    await disk_store.release("a", DIGEST)
    assert (await disk_store.stats()).condemned_blobs == 1
    assert (await put(disk_store, "b", DATA)).created
    now[0] += 2 * HOUR
    assert await disk_store.sweep.run() == Swept()
    assert await disk_store.stat("b", DIGEST) is not None
    assert await disk_store.stat("a", DIGEST) is None


async def test_an_upload_that_meets_its_removal_is_whole(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    """Whichever comes first, what was acknowledged is there afterwards."""
    for _ in range(20):
        await put(disk_store, "a", DATA)
        await disk_store.release("a", DIGEST)
        now[0] += 2 * HOUR
        await asyncio.gather(disk_store.sweep.run(), put(disk_store, "b", DATA))
        async with await disk_store.open_blob("b", DIGEST) as reader:
            assert bytes(await reader.read_piece(0)) == DATA
        await disk_store.release("b", DIGEST)


async def test_sweeps_may_run_at_once(disk_store: Store, put: Put, now: list[float]) -> None:
    for number in range(100):
        await put(disk_store, "a", b"%d" % number)
    now[0] += DAY + MINUTE
    ended = await asyncio.gather(*(disk_store.sweep.run() for _ in range(3)))
    assert sum(swept.ended_grants for swept in ended) == 100
    now[0] += HOUR
    removed = await asyncio.gather(*(disk_store.sweep.run() for _ in range(3)))
    assert sum(swept.removed_blobs for swept in removed) == 100


async def test_a_reader_keeps_what_it_opened(disk_store: Store, put: Put, now: list[float]) -> None:
    await put(disk_store, "a", DATA)
    async with await disk_store.open_blob("a", DIGEST) as reader:
        await disk_store.release("a", DIGEST)
        now[0] += 2 * HOUR
        assert (await disk_store.sweep.run()).removed_blobs == 1
        assert bytes(await reader.read_piece(0)) == DATA


async def test_a_kept_prompt_holds_what_it_names(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    await put(disk_store, "a", DATA)
    now[0] += DAY - 1
    message = PromptMessage(Digest.of(b"prompt"), "[]", blobs=(DIGEST,))
    await disk_store.prompts.append("a", "d", prompt_root("d"), [message])
    now[0] += DAY - 1  # the lease has ended, the prompt has not
    assert (await disk_store.sweep.run()).ended_grants == 0
    assert await disk_store.stat("a", DIGEST) is not None
    now[0] += MINUTE + 1
    swept = await disk_store.sweep.run()
    assert (swept.ended_grants, swept.removed_prompts) == (1, 1)


async def test_prompts_go_by_leaves(
    store: Store, now: list[float], databases: Callable[[Store], tuple[Database, Database]]
) -> None:
    root = prompt_root("d")
    first, second = (PromptMessage(Digest.of(text), "{}") for text in (b"1", b"2"))
    await store.prompts.append("a", "d", root, [first, second])
    now[0] += DAY - 1
    assert await store.prompts.expand("a", "d", first.digest) is not None  # keeps the first alone
    now[0] += MINUTE + 1
    assert (await store.sweep.run()).removed_prompts == 1
    assert await store.prompts.expand("a", "d", second.digest) is None
    assert await store.prompts.expand("a", "d", first.digest) == ["{}"]
    now[0] += DAY + MINUTE
    assert (await store.sweep.run()).removed_prompts == 1
    rows = await databases(store)[1].read(
        lambda c: c.exec_driver_sql("SELECT count(*) FROM prompts").scalar_one()
    )
    assert rows == 0


async def test_damaged_bytes_go_when_their_time_in_quarantine_is_over(
    disk_store: Store, put: Put, now: list[float], blob_path: BlobPath, folder: Path
) -> None:
    await put(disk_store, "a", DATA)
    await disk_store.pin("a", DIGEST)
    blob_path(DIGEST).write_bytes(b"Bytes")
    with pytest.raises(Exception, match="no such blob"):
        await disk_store.open_blob("a", DIGEST)
    aside = folder / "quarantine" / DIGEST.hex
    now[0] += 7 * DAY - 1
    await disk_store.sweep.run()
    assert aside.read_bytes() == b"Bytes"
    now[0] += 1
    assert (await disk_store.sweep.run()).removed_quarantined == 1
    assert not aside.exists()
    assert (await put(disk_store, "a", DATA)).grant.pinned  # the grant outlived the bytes


async def test_a_dry_run_says_when_a_damaged_blob_that_nobody_holds_goes(
    disk_store: Store, put: Put, now: list[float], blob_path: BlobPath
) -> None:
    await put(disk_store, "a", DATA)
    blob_path(DIGEST).write_bytes(b"Bytes")
    with pytest.raises(Exception, match="no such blob"):
        await disk_store.open_blob("a", DIGEST)

    async def said() -> tuple[bool, str]:
        (verdict,) = [one for one in await verdicts(disk_store) if one.of == "blob"]
        return verdict.goes, verdict.reason

    now[0] += 10
    assert await said() == (False, "in quarantine for 10 s; an upload heals it")
    now[0] += 2 * DAY  # its lease ends
    left = 5 * DAY - 10
    assert await said() == (False, f"in quarantine, and nobody has it; it goes in {left} s")
    now[0] += left
    assert await said() == (True, "in quarantine, nobody has it, and its time there is over")
    assert (await disk_store.sweep.run()).removed_quarantined == 1
    assert await verdicts(disk_store) == []


async def test_what_an_upload_has_healed_leaves_quarantine(
    disk_store: Store, put: Put, blob_path: BlobPath, folder: Path
) -> None:
    await put(disk_store, "a", DATA)
    blob_path(DIGEST).write_bytes(b"Bytes")
    with pytest.raises(Exception, match="no such blob"):
        await disk_store.open_blob("a", DIGEST)
    await put(disk_store, "a", DATA)
    assert (await disk_store.sweep.run()).removed_quarantined == 1
    assert list((folder / "quarantine").iterdir()) == []
    assert await disk_store.stat("a", DIGEST) is not None


async def test_a_dry_run_says_why_and_changes_nothing(
    disk_store: Store, put: Put, now: list[float]
) -> None:
    pinned, leased, ended = (Digest.of(data) for data in (b"pinned", b"leased", b"ended"))
    await put(disk_store, "a", b"ended")
    await put(disk_store, "a", b"pinned")
    await disk_store.pin("a", pinned)
    now[0] += DAY + MINUTE
    await put(disk_store, "b", b"leased")
    said = {(v.of, v.digest): v for v in await verdicts(disk_store)}
    assert said["grant", pinned].reason == "held by pin"
    assert said["grant", leased].reason == "held by lease"
    assert said["grant", leased].tenant == "b"
    assert said["grant", ended].goes
    assert said["grant", ended].reason == "its last hold ended 60 s ago"
    assert said["blob", pinned].reason == "1 grant"
    assert not said["blob", ended].goes
    assert "its last grant goes" in said["blob", ended].reason
    assert len(said) == 6
    assert (await disk_store.stats()).condemned_blobs == 0
    await disk_store.sweep.run()
    said = {(v.of, v.digest): v for v in await verdicts(disk_store)}
    assert said["blob", ended].reason == "condemned; its review ends in 3600 s"
    now[0] += HOUR
    goes = [v for v in await verdicts(disk_store) if v.goes]
    assert [(v.of, v.digest) for v in goes] == [("blob", ended)]
    assert (await disk_store.sweep.run()).removed_blobs == 1


async def test_the_sums_are_what_the_rows_add_up_to(
    disk_store: Store,
    put: Put,
    now: list[float],
    blob_path: BlobPath,
    databases: Callable[[Store], tuple[Database, Database]],
) -> None:
    for number in range(6):
        for tenant in ("a", "b"):
            await put(disk_store, tenant, b"%d" % number * (number + 1))
    await disk_store.release("a", Digest.of(b"0"))
    await disk_store.release("b", Digest.of(b"0"))
    blob_path(Digest.of(b"11")).write_bytes(b"12")
    with pytest.raises(Exception, match="no such blob"):
        await disk_store.open_blob("a", Digest.of(b"11"))
    now[0] += 2 * HOUR
    await disk_store.sweep.run()
    index = databases(disk_store)[0]

    def rows(text: str) -> Awaitable[list[tuple[object, ...]]]:
        return index.read(lambda c: [tuple(row) for row in c.exec_driver_sql(text)])

    kept = await rows("SELECT state, blobs, bytes FROM blob_totals WHERE blobs ORDER BY state")
    assert kept == await rows(
        "SELECT state, count(*), sum(size) FROM blobs GROUP BY state ORDER BY state"
    )
    assert await rows("SELECT tenant, grants, grant_bytes FROM tenants ORDER BY tenant") == (
        await rows(
            "SELECT tenant, count(*), sum(size) FROM grants JOIN blobs USING (digest) "
            "GROUP BY tenant ORDER BY tenant"
        )
    )
