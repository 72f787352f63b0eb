"""The installation's seed: made once, kept to its owner, never trusted beyond its version."""

import stat
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import CorruptBlobError, Receipt, Store, StoreConfig
from coatcheck.store.database import Database

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
Forget = Callable[[Store], Awaitable[None]]

DATA = b"a blob with checksums" * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
def forget_seeds(
    databases: Callable[[Store], tuple[Database, Database]],
) -> Callable[[Store], Awaitable[None]]:
    """Remove the seeds from the index, behind the store's back."""

    async def forget(store: Store) -> None:
        index, _ = databases(store)
        await index.run(lambda c: c.exec_driver_sql("DELETE FROM seeds"))

    return forget


async def is_readable(store: Store) -> bool:
    async with await store.open_blob("a", DIGEST) as reader:
        return bytes(await reader.read_piece(0)) == DATA


async def test_the_file_is_the_owners_alone(open_store: Open, folder: Path) -> None:
    await open_store(StoreConfig(folder))
    path = folder / "seed"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    version, seed = path.read_text().split()
    assert version == "1"
    assert len(bytes.fromhex(seed)) == 8


async def test_it_is_made_once(open_store: Open, put: Put, folder: Path) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    before = (folder / "seed").read_text()
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert (folder / "seed").read_text() == before
    assert await is_readable(store)


@pytest.mark.parametrize(
    "damage", [None, "", "1 zz", "1 0000000000000000\n", "2 ffffffffffffffffff\n"]
)
async def test_the_index_restores_the_file(
    open_store: Open, put: Put, folder: Path, damage: str | None
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await store.close()
    path = folder / "seed"
    before = path.read_text()
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    store = await open_store(StoreConfig(folder))
    assert path.read_text() == before
    assert await is_readable(store)


async def test_a_new_index_takes_the_seed_of_the_file(open_store: Open, folder: Path) -> None:
    await (await open_store(StoreConfig(folder))).close()
    before = (folder / "seed").read_text()
    (folder / "index.sqlite").unlink()
    await (await open_store(StoreConfig(folder))).close()
    assert (folder / "seed").read_text() == before


async def test_with_an_unknown_seed_the_digest_decides(
    open_store: Open, put: Put, folder: Path, forget_seeds: Forget
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await forget_seeds(store)
    await store.close()
    (folder / "seed").write_text("1 0123456789abcdef\n")  # another installation's
    store = await open_store(StoreConfig(folder))
    assert (folder / "seed").read_text().startswith("2 ")
    assert await is_readable(store)
    assert await is_readable(store)
    await store.close()
    store = await open_store(StoreConfig(folder))
    assert await is_readable(store)


@pytest.mark.parametrize("damage", [b"another content", None])
async def test_with_an_unknown_seed_damage_is_found(
    open_store: Open,
    put: Put,
    folder: Path,
    blob_path: Callable[[Digest], Path],
    forget_seeds: Forget,
    damage: bytes | None,
) -> None:
    store = await open_store(StoreConfig(folder))
    await put(store, "a", DATA)
    await forget_seeds(store)
    await store.close()
    path = blob_path(DIGEST)
    path.unlink()
    if damage is not None:
        path.write_bytes(damage)
    store = await open_store(StoreConfig(folder))
    with pytest.raises(CorruptBlobError):
        await store.open_blob("a", DIGEST)
    assert await store.stat("a", DIGEST) is None
