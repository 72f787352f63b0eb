"""What a tenant and the whole store may hold, and what is said to whoever wants more."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import (
    QuotaExceededError,
    Quotas,
    Receipt,
    Store,
    StoreConfig,
    StoreFullError,
)
from coatcheck.store.allowance import Allowances

Put = Callable[..., Awaitable[Receipt]]
Open = Callable[[StoreConfig], Awaitable[Store]]
DAY = 24 * 3600


async def chunks(count: int, size: int) -> AsyncIterator[bytes]:
    for number in range(count):
        yield bytes([number]) * size


@pytest.fixture
async def small(open_store: Open, folder: Path) -> Store:
    """A store in which tenants may hold 1,000 bytes, and `rich` 3,000."""
    return await open_store(StoreConfig(folder, quotas=Quotas(1000, {"rich": 3000})))


async def test_a_tenant_holds_no_more_than_its_quota(small: Store, put: Put) -> None:
    await put(small, "a", b"x" * 600)
    with pytest.raises(QuotaExceededError) as refused:
        await put(small, "a", b"y" * 500)
    assert (refused.value.used_bytes, refused.value.quota_bytes) == (600, 1000)
    assert not refused.value.retryable
    assert await small.stat("a", Digest.of(b"y" * 500)) is None
    await put(small, "a", b"y" * 400)
    await put(small, "b", b"y" * 500)
    await put(small, "rich", b"z" * 2500)


async def test_a_declared_size_is_refused_before_a_byte_is_read(small: Store) -> None:
    read: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        read.append(1)
        yield b""

    with pytest.raises(QuotaExceededError):
        await small.receive("a", body(), expected_size=1001)
    assert read == []


async def test_an_upload_of_unknown_size_is_refused_as_it_grows(small: Store, folder: Path) -> None:
    with pytest.raises(QuotaExceededError):
        await small.receive("a", chunks(20, 100))
    assert [path for path in (folder / "blobs").rglob("*") if path.is_file()] == []
    assert list((folder / "spool").rglob("*.part")) == []


async def test_letting_go_makes_room_at_once(small: Store, put: Put) -> None:
    first = await put(small, "a", b"x" * 900)
    await small.release("a", first.grant.digest)
    await put(small, "a", b"y" * 900)


async def test_what_has_ended_makes_room_without_a_sweep(
    small: Store, put: Put, now: list[float]
) -> None:
    await put(small, "a", b"x" * 900)
    now[0] += DAY + 60
    await put(small, "a", b"y" * 900)


async def test_a_blob_counts_once_for_each_tenant(small: Store, put: Put) -> None:
    for tenant in ("a", "b"):
        for _ in range(3):
            await put(small, tenant, b"x" * 400)
    assert (await small.stats()).blob_bytes == 400


async def test_uploads_at_once_do_not_pass_the_quota_together(small: Store) -> None:
    outcomes = await asyncio.gather(
        *(small.receive("a", chunks(number + 1, 200)) for number in range(5)),
        return_exceptions=True,
    )
    kept = [outcome for outcome in outcomes if isinstance(outcome, Receipt)]
    assert all(isinstance(o, Receipt | QuotaExceededError) for o in outcomes)
    assert sum(receipt.grant.size for receipt in kept) <= 1000


async def test_the_store_has_a_limit(open_store: Open, put: Put, now: list[float]) -> None:
    store = await open_store(StoreConfig(None, max_store_bytes=1000, review_seconds=3600))
    await put(store, "a", b"x" * 600)
    with pytest.raises(StoreFullError, match="all that it may"):
        await put(store, "b", b"y" * 500)
    with pytest.raises(StoreFullError):
        await store.receive("b", chunks(5, 100), expected_size=500)
    await store.release("a", Digest.of(b"x" * 600))
    assert (await store.stats()).condemned_bytes == 600
    await put(store, "b", b"y" * 400)  # fits beside what awaits its end
    now[0] += 10
    assert (await store.stats()).condemned_bytes == 600
    await put(store, "b", b"z" * 500)  # does not, and nobody holds that
    now[0] += 10
    assert (await store.stats()).condemned_bytes == 0
    with pytest.raises(StoreFullError):
        await put(store, "b", b"w" * 500)


async def test_the_limit_says_nothing_of_what_others_have(open_store: Open, put: Put) -> None:
    store = await open_store(StoreConfig(None, max_store_bytes=1000))
    await put(store, "a", b"x" * 600)
    errors: list[str] = []
    for data in (b"x" * 600, b"y" * 600):
        with pytest.raises(StoreFullError) as refused:
            await put(store, "b", data)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


async def test_a_refusal_is_the_same_however_much_others_have(open_store: Open, put: Put) -> None:
    """A sum that grows by new bytes alone would tell a tenant whether others had its bytes."""
    store = await open_store(StoreConfig(None, max_store_bytes=1000))
    errors: list[str] = []
    for data in (b"x" * 600, b"y" * 100):
        await put(store, "a", data)
        with pytest.raises(StoreFullError) as refused:
            await put(store, "b", b"z" * 900)
        errors.append(str(refused.value))
    assert errors[0] == errors[1]


@dataclass
class Sums:
    """An index that holds what a test says, and answers when it may."""

    used_bytes: int = 0
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def tenant_bytes(self, tenant: str, now: float) -> int:
        return await self.stored_bytes()

    async def stored_bytes(self) -> int:
        answer = self.used_bytes
        await self.may_answer.wait()
        return answer

    async def end_holds_of(self, tenant: str, now: float) -> None:
        pass


async def remove_nothing(count: int) -> None:
    pass


BOUNDS = [(Quotas(1000), None), (Quotas(), 1000)]


@pytest.mark.parametrize(("quotas", "limit"), BOUNDS)
async def test_what_is_being_committed_counts_once(quotas: Quotas, limit: int | None) -> None:
    sums = Sums()
    sums.may_answer.set()
    now = [1.0]
    allowances = Allowances(sums, quotas, limit, remove_nothing, lambda: now[0])
    with allowances.begin("a") as mine, allowances.begin("a") as neighbours:
        await mine.cover(600)
        for _ in range(2):  # as after one that failed
            mine.begin_commit()
        now[0] += 2  # sums of before are too old
        sums.used_bytes = 600  # it stands in the index, and is set aside still
        covering = asyncio.create_task(neighbours.cover(400))
        await asyncio.wait([covering], timeout=0.02)
        assert not covering.done()
        mine.give_back()
        await covering
        with pytest.raises((QuotaExceededError, StoreFullError)):
            await neighbours.cover(401)


@pytest.mark.parametrize(("quotas", "limit"), BOUNDS)
async def test_a_sum_that_was_asked_for_before_it_changed_is_not_believed(
    quotas: Quotas, limit: int | None
) -> None:
    sums = Sums()
    allowances = Allowances(sums, quotas, limit, remove_nothing, lambda: 1.0)
    with allowances.begin("a") as mine, allowances.begin("a") as neighbours:
        sums.may_answer.set()
        await mine.cover(600)
        allowances.give_back("a", 0)  # so that the sum is asked for anew
        sums.may_answer.clear()
        covering = asyncio.create_task(neighbours.cover(1))
        await asyncio.sleep(0)
        sums.used_bytes = 600
        mine.give_back()
        sums.may_answer.set()
        await covering
        with pytest.raises((QuotaExceededError, StoreFullError)):
            await neighbours.cover(401)
