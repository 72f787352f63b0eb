"""The shelf: what is found again, by whom, and when it goes."""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from coatcheck.daemon import CacheConfig, CacheError, Inventory, NoMeters, VariantShelf
from coatcheck.daemon.errors import StoreUnavailableError, VariantLostError
from coatcheck.daemon.resolver import Resolver
from coatcheck.daemon.shared_inventory import SharedInventory
from coatcheck.daemon.variants import Fitter, Maker
from coatcheck.daemon.variants import shelf as shelf_module
from coatcheck.daemon.variants.links import MIGRATIONS
from coatcheck.daemon.variants.maker import Made
from coatcheck.daemon.variants.schema import variants_metadata
from coatcheck.protocol import Digest
from coatcheck.store import ImageWorkerConfig, ImageWorkers
from coatcheck.store.migrate import migrate
from coatcheck.web import Siblings

from ..conftest import MemoryBlobs

ORIGINAL = Digest.of(b"original")
KEY = ORIGINAL, "recipe"


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Holders(MemoryBlobs):
    """Says which tenants hold what."""

    grants: set[tuple[str, Digest]] = field(default_factory=set[tuple[str, Digest]])
    is_away: bool = False

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        if self.is_away:
            raise StoreUnavailableError("away")
        return {digest for digest in digests if (tenant, digest) in self.grants}


def made(data: bytes = b"variant") -> Made:
    return Made(Digest.of(data), data, "image/png", 0.5)


def config(folder: Path, max_bytes: int = 1 << 30) -> CacheConfig:
    return CacheConfig(folder / "variants", max_bytes=max_bytes, min_free_bytes=0)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shelf(tmp_path: Path, clock: Clock) -> AsyncIterator[VariantShelf]:
    shelf = await VariantShelf.open(config(tmp_path), clock=clock)
    yield shelf
    await shelf.close()


async def read(shelf: VariantShelf, data: bytes = b"variant") -> bytes:
    reader = await shelf.open_variant(Digest.of(data), len(data))
    try:
        return bytes(await reader.read_piece(0))
    finally:
        await reader.close()


async def test_a_variant_is_found_again_also_by_another_process(
    shelf: VariantShelf, tmp_path: Path, clock: Clock
) -> None:
    assert not await shelf.find("t", [KEY])
    kept = await shelf.keep("t", KEY, made())
    other = await VariantShelf.open(config(tmp_path), clock=clock)
    try:
        for each in (shelf, other):
            assert await each.find("t", [KEY, (ORIGINAL, "other")]) == {KEY: kept}
            assert await read(each) == b"variant"
    finally:
        await other.close()
        await other.close()


async def test_each_tenant_has_its_own_made(shelf: VariantShelf) -> None:
    await shelf.keep("t", KEY, made())
    assert not await shelf.find("u", [KEY])


async def test_an_original_that_stays_is_remembered_for_good_or_a_while(
    shelf: VariantShelf, clock: Clock
) -> None:
    other = ORIGINAL, "other"
    await shelf.keep_original("t", KEY)
    await shelf.keep_original("t", other, 60)
    found = await shelf.find("t", [KEY, other])
    assert [found[key].digest for key in (KEY, other)] == [None, None]
    clock.now += 60
    assert list(await shelf.find("t", [KEY, other])) == [KEY]
    await shelf.keep("t", other, made())
    assert len(await shelf.find("t", [KEY, other])) == 2


async def test_more_are_found_than_one_question_may_name(shelf: VariantShelf) -> None:
    keys = [(Digest.of(b"%d" % number), "recipe") for number in range(1000)]
    for key in keys[::100]:
        await shelf.keep_original("t", key)
    assert set(await shelf.find("t", keys)) == set(keys[::100])


async def test_a_variant_goes_when_nobody_who_had_it_made_holds_the_original(
    shelf: VariantShelf, clock: Clock
) -> None:
    blobs = Holders(grants={("t", ORIGINAL), ("u", ORIGINAL)})
    for tenant in ("t", "u"):
        await shelf.keep(tenant, KEY, made())
    await shelf.keep("t", (Digest.of(b"inline, and never absorbed"), "recipe"), made(b"other"))
    clock.now += 61
    await shelf.prune(blobs)
    assert await shelf.find("t", [KEY])
    with pytest.raises(VariantLostError):
        await read(shelf, b"other")
    blobs.grants.remove(("t", ORIGINAL))
    await shelf.prune(blobs)
    assert not await shelf.find("t", [KEY])
    assert await shelf.find("u", [KEY])
    assert await read(shelf) == b"variant"
    blobs.grants.clear()
    await shelf.prune(blobs)
    assert not await shelf.find("u", [KEY])
    with pytest.raises(VariantLostError):
        await read(shelf)


async def test_what_was_just_made_waits_for_its_original(shelf: VariantShelf, clock: Clock) -> None:
    await shelf.keep("t", KEY, made())
    await shelf.prune(Holders())
    assert await shelf.find("t", [KEY])


async def test_a_store_that_is_away_ends_nothing(shelf: VariantShelf, clock: Clock) -> None:
    await shelf.keep("t", KEY, made())
    clock.now += 61
    with pytest.raises(StoreUnavailableError):
        await shelf.prune(Holders(is_away=True))
    assert await shelf.find("t", [KEY])


async def test_a_damaged_copy_is_found_out_and_made_anew(
    shelf: VariantShelf, tmp_path: Path
) -> None:
    await shelf.keep("t", KEY, made())
    (file,) = (tmp_path / "variants/blobs").iterdir()
    file.write_bytes(b"VARIANT")
    with pytest.raises(VariantLostError):
        await read(shelf)
    assert not await shelf.find("t", [KEY])
    await shelf.keep("t", KEY, made())
    assert await read(shelf) == b"variant"


async def test_without_room_none_is_kept(tmp_path: Path, clock: Clock) -> None:
    shelf = await VariantShelf.open(config(tmp_path, max_bytes=800_000), clock=clock)
    try:
        assert await shelf.keep("t", KEY, made(b"x" * 1_000_000)) is None
        assert not await shelf.find("t", [KEY])
    finally:
        await shelf.close()


async def test_links_that_cannot_be_read_begin_anew_with_their_copies(
    shelf: VariantShelf, tmp_path: Path, clock: Clock
) -> None:
    await shelf.keep("t", KEY, made())
    await shelf.close()
    (tmp_path / "variants/variants.sqlite").write_bytes(b"no database" * 1000)
    again = await VariantShelf.open(config(tmp_path), clock=clock)
    try:
        assert not await again.find("t", [KEY])
        assert not list((tmp_path / "variants/blobs").iterdir())
        await again.keep("t", KEY, made())
        assert await read(again) == b"variant"
    finally:
        await again.close()


async def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "variants").write_bytes(b"")
    with pytest.raises(CacheError, match="variants"):
        await VariantShelf.open(config(tmp_path))


async def test_the_links_are_bounded_and_the_oldest_go(
    shelf: VariantShelf, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_module, "_MAX_LINKS", 2)
    keys = [(Digest.of(name), "recipe") for name in (b"a", b"b", b"c")]
    for key in keys:
        await shelf.keep("t", key, made(key[0].encode()))
        clock.now += 1
    clock.now += 700
    await shelf.find("t", keys[:1])  # a use
    await shelf.prune(Holders(grants={("t", key[0]) for key in keys}))
    assert set(await shelf.find("t", keys)) == {keys[0], keys[2]}
    with pytest.raises(VariantLostError):
        await read(shelf, keys[1][0].encode())


async def test_the_fitter_prunes_by_itself(shelf: VariantShelf, clock: Clock) -> None:
    asked = asyncio.Event()

    class Asked(Holders):
        async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
            if asked.is_set():
                return await super().held(tenant, digests)
            asked.set()
            raise StoreUnavailableError("away")  # the first time

    await shelf.keep("t", KEY, made())
    clock.now += 61
    workers, blobs, uses = ImageWorkers(), Asked(), Inventory("memory")
    fitter = Fitter(
        shelf,
        Maker(workers, ImageWorkerConfig()),
        Resolver(blobs, SharedInventory(uses, Siblings()), clock),
        blobs,
        NoMeters(),
        at_once=1,
        prune_seconds=0.001,
    )
    try:
        async with asyncio.timeout(10):
            while await shelf.find("t", [KEY]):  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(0)
        assert asked.is_set()
    finally:
        await fitter.close()
        await workers.close()


def test_the_migrations_build_the_table() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        with connection.begin():
            migrate(connection, "variants", folder=MIGRATIONS)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert not compare_metadata(context, variants_metadata)
    engine.dispose()
