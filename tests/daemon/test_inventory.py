"""The cache inspection's memory is bounded, ordered and adds up."""

from coatcheck.daemon.inventory import Inventory
from coatcheck.daemon.source import Resolved
from coatcheck.protocol import Digest


def blob(name: str, size: int = 10) -> Resolved:
    return Resolved(Digest.of(name.encode()), size, "image/png")


async def test_uses_are_counted_and_the_latest_comes_first() -> None:
    inventory = Inventory("store")
    assert (await inventory.totals()).hit_ratio is None
    inventory.record_use([blob("a"), blob("b", 5)], 1.0)
    inventory.record_use([blob("a")], 2.0)
    inventory.record_verified(blob("a").digest, 3.0)
    inventory.record_verified(blob("never seen").digest, 3.0)
    first, second = await inventory.entries(10)
    assert (first.digest, first.hits, first.last_used_at) == (blob("a").digest, 1, 2.0)
    assert (first.verified_at, second.verified_at) == (3.0, None)
    totals = await inventory.totals()
    assert (totals.entries, totals.bytes, totals.hits, totals.misses) == (2, 15, 1, 2)
    assert totals.hit_ratio == 1 / 3
    assert len(await inventory.entries(1)) == 1


async def test_evicting_one_and_all() -> None:
    inventory = Inventory("store")
    inventory.record_use([blob("a"), blob("b"), blob("c")], 1.0)
    assert await inventory.evict(blob("b").digest)
    assert not await inventory.evict(blob("b").digest)
    assert (await inventory.totals()).bytes == 20
    assert await inventory.evict_all() == 2
    assert (await inventory.totals()).bytes == 0


async def test_the_least_recently_used_goes_first() -> None:
    inventory = Inventory("store", max_entries=2)
    inventory.record_use([blob("a")], 1.0)
    inventory.record_use([blob("b")], 2.0)
    inventory.record_use([blob("a")], 3.0)
    inventory.record_use([blob("c")], 4.0)
    assert [entry.digest for entry in await inventory.entries(9)] == [
        blob("c").digest,
        blob("a").digest,
    ]
    assert (await inventory.totals()).bytes == 20
