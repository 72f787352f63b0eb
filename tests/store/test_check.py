"""A check says what is wrong, and changes nothing."""

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import CheckProgress, FindingKind, Receipt, Store, StoreConfig
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
Databases = Callable[[Store], tuple[Database, Database]]


async def check(store: Store) -> dict[FindingKind, int]:
    async with aclosing(store.examination.run()) as steps:
        said: list[CheckProgress] = [step async for step in steps]
    assert said[-1].step == "files"
    assert said[-1].share == 1
    return {finding.kind: finding.count for finding in said[-1].findings}


async def fill(store: Store, put: Put) -> Digest:
    for number in range(20):
        await put(store, "ab"[number % 2], b"%d" % number)
    return (await put(store, "a", b"bytes")).grant.digest


@pytest.mark.parametrize("where", ["memory", "disk"])
async def test_a_sound_store_has_no_findings(
    open_store: Open, put: Put, folder: Path, where: str
) -> None:
    store = await open_store(StoreConfig(folder if where == "disk" else None))
    await fill(store, put)
    assert await check(store) == {}


async def test_files_are_compared_with_rows(
    disk_store: Store, put: Put, blob_path: Callable[[Digest], Path], folder: Path
) -> None:
    digest = await fill(disk_store, put)
    blob_path(digest).unlink()
    blob_path(Digest.of(b"lone")).write_bytes(b"lone")
    blob_path(Digest.of(b"1")).write_bytes(b"other")
    (folder / "blobs" / "sha256" / "notes").write_text("mine")
    expected = {
        FindingKind.NO_FILE: 1,
        FindingKind.NO_ROW: 1,
        FindingKind.OTHER_SIZE: 1,
        FindingKind.FOREIGN_FILE: 1,
    }
    for _ in range(2):  # it changed nothing
        assert await check(disk_store) == expected
    async for _ in disk_store.scrub.run():
        pass
    assert await check(disk_store) == {FindingKind.FOREIGN_FILE: 1}


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("UPDATE blob_totals SET blobs = 17 WHERE state = 'live'", FindingKind.WRONG_SUM),
        ("UPDATE tenants SET grants = 1 WHERE tenant = 'a'", FindingKind.WRONG_SUM),
        ("DELETE FROM holds WHERE tenant = 'a'", FindingKind.GRANT_WITHOUT_HOLD),
        ("UPDATE blobs SET state = 'condemned'", FindingKind.CONDEMNED_WITH_GRANT),
    ],
)
async def test_rows_are_compared_with_each_other(
    disk_store: Store, put: Put, databases: Databases, damage: str, kind: FindingKind
) -> None:
    await fill(disk_store, put)
    await databases(disk_store)[0].run(lambda c: c.exec_driver_sql(damage).close())
    assert (await check(disk_store)).keys() == {kind}
    async for _ in disk_store.scrub.run():
        pass
    assert await check(disk_store) == {}


async def test_a_damaged_database_is_told_and_put_right_at_the_next_start(
    open_store: Open, put: Put, folder: Path
) -> None:
    store = await open_store(StoreConfig(folder))
    await fill(store, put)
    await store.close()
    store = await open_store(StoreConfig(folder))
    with (folder / "index.sqlite").open("r+b") as file:
        data = bytearray(file.read())
        at = data.rfind(b"sha256:")
        data[at : at + 7] = b"SHA257;"
        file.seek(0)
        file.write(data)
    assert FindingKind.INDEX_DAMAGED in await check(store)
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert FindingKind.INDEX_DAMAGED not in await check(store)
    assert (folder / "quarantine" / "index-1").is_dir()
