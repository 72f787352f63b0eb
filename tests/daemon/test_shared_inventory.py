"""The cache inspection of several processes: what each remembers, merged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web as aioweb

from coatcheck.daemon.inventory import Inventory
from coatcheck.daemon.shared_inventory import SharedInventory
from coatcheck.daemon.source import Resolved
from coatcheck.protocol import Digest
from coatcheck.web import Route, Server, Siblings, build_app, listen_unix


def blob(name: str, size: int = 10) -> Resolved:
    return Resolved(Digest.of(name.encode()), size, "image/png")


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[list[SharedInventory]]:
    """Two processes' inventories, each behind its door."""
    async with AsyncExitStack() as stack:
        made: list[SharedInventory] = []
        for name in "12":
            siblings = Siblings(tmp_path, name)
            assert siblings.door is not None
            inventory = SharedInventory(Inventory("store"), siblings)
            door, at = await asyncio.to_thread(listen_unix, siblings.door, mode=0o600)
            stack.callback(at.remove)
            server = Server(build_app(inventory.private_routes()))
            await server.serve([door])
            stack.push_async_callback(server.stop, 0)
            made.append(inventory)
        yield made


async def test_what_each_remembers_is_merged(both: list[SharedInventory]) -> None:
    one, other = both
    one.record_use([blob("a"), blob("b", 5)], 1.0)
    one.record_use([blob("a")], 2.0)
    other.record_use([blob("a"), blob("c", 7)], 3.0)
    other.record_verified(blob("a").digest, 4.0)
    for inventory in both:
        view = await inventory.look(2)
        totals = view.totals
        assert (totals.entries, totals.bytes, totals.hits, totals.misses) == (3, 22, 1, 4)
        newest = {entry.digest: entry for entry in view.entries}
        assert set(newest) == {blob("a").digest, blob("c").digest}
        entry = newest[blob("a").digest]
        assert (entry.hits, entry.last_used_at, entry.verified_at) == (1, 3.0, 4.0)


async def test_evicting_reaches_every_process(both: list[SharedInventory]) -> None:
    one, other = both
    one.record_use([blob("a")], 1.0)
    other.record_use([blob("b"), blob("c")], 1.0)
    assert await one.evict(blob("b").digest)
    assert not await one.evict(blob("b").digest)
    assert await one.evict_all() == 2
    assert (await other.look(1)).totals.entries == 0


async def test_a_sibling_of_another_version_tells_nothing(tmp_path: Path) -> None:
    async def tell(request: aioweb.Request) -> aioweb.StreamResponse:
        return aioweb.json_response({"something": "else"})

    siblings = Siblings(tmp_path, "1")
    inventory = SharedInventory(Inventory("store"), siblings)
    door, at = await asyncio.to_thread(listen_unix, tmp_path / "2.door", mode=0o600)
    server = Server(build_app([Route("GET", "/cache", tell, scope=None)]))
    await server.serve([door])
    inventory.record_use([blob("a")], 1.0)
    assert (await inventory.look(10)).totals.entries == 1
    assert await inventory.evict_all() == 1
    await server.stop(0)
    at.remove()
