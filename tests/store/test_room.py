"""Room is bounded, given in order, and never lost."""

import asyncio

import pytest

from coatcheck.store.room import Room


@pytest.fixture
def room() -> Room:
    return Room(10)


async def begin(room: Room, count: int) -> asyncio.Task[None]:
    """Start a task that takes, as far as it comes at once."""
    task = asyncio.create_task(room.take(count))
    await asyncio.sleep(0)
    return task


async def settle() -> None:
    """Let those whose turn has come go on."""
    for _ in range(3):
        await asyncio.sleep(0)


async def test_what_fits_is_taken_at_once(room: Room) -> None:
    assert (await begin(room, 4)).done()
    assert (await begin(room, 6)).done()
    waiting = await begin(room, 1)
    assert not waiting.done()
    room.give_back(4)
    await waiting


async def test_more_than_the_limit_goes_alone(room: Room) -> None:
    await room.take(1)
    large = await begin(room, 100)
    assert not large.done()
    room.give_back(1)
    await large
    assert not (await begin(room, 1)).done()
    room.give_back(100)


async def test_nobody_is_overtaken(room: Room) -> None:
    await room.take(5)
    large = await begin(room, 8)
    small = await begin(room, 1)
    assert not small.done()
    room.give_back(5)
    await settle()
    assert large.done()
    assert small.done()


async def test_a_cancelled_wait_lets_those_behind_it_in(room: Room) -> None:
    await room.take(5)
    large = await begin(room, 8)
    small = await begin(room, 5)
    large.cancel()
    await settle()
    assert small.done()


async def test_a_turn_that_came_to_a_cancelled_wait_is_given_back(room: Room) -> None:
    await room.take(10)
    waiting = await begin(room, 10)
    room.give_back(10)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    assert (await begin(room, 10)).done()
