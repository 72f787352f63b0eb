"""What a store does by itself, and when it rather does nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.protocol import Digest
from coatcheck.store import Maintenance, MaintenanceConfig, Receipt, Store, Swept

Put = Callable[..., Awaitable[Receipt]]
DAY = 24 * 3600


@pytest.fixture
def passed() -> list[float]:
    """The time that passed, as the only item."""
    return [0.0]


@pytest.fixture
async def maintain(
    disk_store: Store, folder: Path, now: list[float], passed: list[float]
) -> AsyncIterator[Callable[[], Maintenance]]:
    """Make what maintains the store; closed after the test."""
    made: list[Maintenance] = []

    def make() -> Maintenance:
        maintenance = Maintenance(
            disk_store,
            folder,
            MaintenanceConfig(sweep_seconds=0.001),
            clock=lambda: now[0],
            monotonic=lambda: passed[0],
        )
        made.append(maintenance)
        return maintenance

    yield make
    for maintenance in made:
        await maintenance.close()


async def test_it_sweeps_until_it_is_closed(
    disk_store: Store,
    put: Put,
    now: list[float],
    passed: list[float],
    maintain: Callable[[], Maintenance],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    await put(disk_store, "a", b"data")
    maintenance = maintain()
    maintenance.start()
    now[0] += 2 * DAY
    passed[0] += 2 * DAY
    while "1 grants ended" not in caplog.text:
        await others_turn()
    await maintenance.close()
    await maintenance.close()


async def test_one_of_several_does_it(maintain: Callable[[], Maintenance]) -> None:
    first, second = maintain(), maintain()
    assert await first.round() == Swept()
    assert await second.round() is None
    assert await first.round() == Swept()
    await first.close()
    assert await second.round() == Swept()


async def test_nothing_is_swept_after_the_clock_leapt(
    disk_store: Store,
    put: Put,
    now: list[float],
    passed: list[float],
    maintain: Callable[[], Maintenance],
) -> None:
    await put(disk_store, "a", b"data")
    maintenance = maintain()
    now[0] += 3 * DAY
    passed[0] += 60
    assert await maintenance.round() is None
    now[0] -= 3 * DAY - 60  # somebody sets it right
    passed[0] += 60
    assert await maintenance.round() is None
    assert await disk_store.stat("a", Digest.of(b"data")) is not None
    now[0] += 3600
    passed[0] += 3600
    assert await maintenance.round() == Swept()
    assert await disk_store.stat("a", Digest.of(b"data")) is not None


async def test_a_failure_is_logged_and_the_next_round_tries_again(
    disk_store: Store,
    maintain: Callable[[], Maintenance],
    caplog: pytest.LogCaptureFixture,
) -> None:
    maintenance = maintain()
    await disk_store.close()
    maintenance.start()
    while caplog.text.count("the sweep failed") < 2:
        await others_turn()
    await maintenance.close()


async def others_turn() -> None:
    """Let other tasks and threads go on."""
    await asyncio.to_thread(int)


async def test_it_scrubs_once_in_its_time(
    disk_store: Store,
    put: Put,
    now: list[float],
    passed: list[float],
    maintain: Callable[[], Maintenance],
) -> None:
    await put(disk_store, "a", b"data")
    first, second = maintain(), maintain()
    done = await first.scrub_round()
    assert done is not None
    assert (done.checked_blobs, done.finished_at) == (1, now[0])
    assert await second.scrub_round() is None  # the other one does it
    now[0] += 30 * DAY - 1
    assert await first.scrub_round() is None
    now[0] += 1
    assert await first.scrub_round() is not None


async def test_a_scrub_that_is_asked_for_goes_first(
    disk_store: Store, put: Put, maintain: Callable[[], Maintenance]
) -> None:
    for number in range(3):
        await put(disk_store, "a", bytes([number]) * 5_000_000)  # a minute each, at its rate
    maintenance = maintain()
    by_itself = asyncio.create_task(maintenance.scrub_round())
    while not (await disk_store.scrub.status()):
        await others_turn()
    asked = [step async for step in disk_store.scrub.run()][-1]
    assert (asked.finished_at is not None, asked.checked_blobs) == (True, 3)
    given_way = await by_itself
    assert given_way is not None
    assert given_way.finished_at is None
