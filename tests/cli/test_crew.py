"""A crew of workers: started together, replaced ever later, dismissed whole."""

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from coatcheck.cli.control import Order, Word
from coatcheck.cli.crew import Crew, Worker
from coatcheck.cli.errors import WorkerError
from coatcheck.web import BALANCE_BYTES


class Scripted:
    """A worker that ends when the test says so, or when it is told."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.told: list[Word] = []
        self.is_killed = False
        self.is_deaf = False
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def end(self, code: int) -> None:
        self._code.set_result(code)

    def tell(self, word: Word) -> None:
        self.told.append(word)
        if not self.is_deaf and not self._code.done():
            self.end(0)

    def kill(self) -> None:
        self.is_killed = True
        if not self._code.done():
            self.end(-9)

    async def ended(self) -> int:
        return await asyncio.shield(self._code)


class Yard:
    """Starts workers, and holds the clock."""

    def __init__(self) -> None:
        self.started: asyncio.Queue[Scripted] = asyncio.Queue()
        self.pauses: list[float] = []
        self.failures: list[str] = []
        self.now = 0.0

    async def start_worker(self) -> Scripted:
        if self.failures:
            raise WorkerError(self.failures.pop())
        worker = Scripted(str(self.started.qsize() + len(self.pauses)))
        self.started.put_nowait(worker)
        return worker

    async def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)

    def crew(self) -> Crew:
        return Crew(self.start_worker, pause=self.pause, clock=lambda: self.now)


@pytest.fixture
def yard() -> Yard:
    return Yard()


Start = Callable[[int], Awaitable[Crew]]


@pytest.fixture
async def start(yard: Yard) -> AsyncIterator[Start]:
    crews: list[Crew] = []

    async def start_crew(count: int) -> Crew:
        crews.append(yard.crew())
        await crews[-1].start(count)
        return crews[-1]

    yield start_crew
    for crew in crews:
        await crew.dismiss("stop", 0.01)


async def test_a_worker_that_ends_is_replaced_ever_later(yard: Yard, start: Start) -> None:
    await start(1)
    for _ in range(12):
        (await yard.started.get()).end(1)
    await yard.started.get()
    assert yard.pauses[:4] == [0.1, 0.2, 0.4, 0.8]
    assert yard.pauses[-1] == 30


async def test_a_worker_that_served_for_long_is_replaced_soon(yard: Yard, start: Start) -> None:
    await start(1)
    for _ in range(3):
        (await yard.started.get()).end(1)
    steady = await yard.started.get()
    await asyncio.sleep(0)  # it serves
    yard.now += 60
    steady.end(-11)
    await yard.started.get()
    assert yard.pauses == [0.1, 0.2, 0.4, 0.1]


async def test_one_that_cannot_be_replaced_is_tried_again(yard: Yard, start: Start) -> None:
    await start(1)
    yard.failures += ["no memory", "no memory"]
    (await yard.started.get()).end(1)
    await yard.started.get()
    assert yard.pauses == [0.1, 0.2, 0.4]


async def test_a_crew_starts_whole_or_not_at_all(yard: Yard) -> None:
    yard.failures += ["no such folder"]
    with pytest.raises(WorkerError, match="no such folder"):
        await yard.crew().start(3)
    while not yard.started.empty():
        assert yard.started.get_nowait().is_killed


async def test_a_dismissed_crew_is_told_and_not_replaced(yard: Yard, start: Start) -> None:
    crew = await start(2)
    await crew.dismiss("retire", 10)
    workers = [yard.started.get_nowait() for _ in range(2)]
    assert [worker.told for worker in workers] == [["retire"], ["retire"]]
    assert yard.started.empty()


async def test_who_does_not_end_is_killed(yard: Yard, start: Start) -> None:
    crew = await start(1)
    worker = await yard.started.get()
    worker.is_deaf = True
    await crew.dismiss("stop", 0.01)
    assert worker.is_killed


@pytest.fixture
def order(tmp_path: Path) -> Iterator[Order]:
    """An order that no worker can carry out."""
    memory = os.memfd_create("test")
    os.ftruncate(memory, BALANCE_BYTES)
    yield Order(
        service="no such service",
        name="1",
        settings={},
        listeners=(),
        balance=(memory, 0),
        shared_folder=None,
        doors=tmp_path,
    )
    os.close(memory)


class Calls:
    """How often something was called."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


@pytest.fixture
def cleared() -> Iterator[Calls]:
    """What a worker calls at its end, which must be once."""
    calls = Calls()
    yield calls
    assert calls.count == 1


@pytest.mark.system
async def test_a_worker_that_fails_before_it_is_ready_is_an_error(
    order: Order, cleared: Calls
) -> None:
    with pytest.raises(WorkerError, match=r"ended before it was ready \(1\)"):
        await Worker.start(order, cleared)


@contextmanager
def room_for(descriptors: int) -> Generator[None]:
    """Let this process open so many more."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)  # the first number that is free, as all above it are or may be
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + descriptors, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("room", range(5))
async def test_a_process_that_cannot_be_started_is_an_error_and_leaves_nothing(
    order: Order, cleared: Calls, room: int
) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with room_for(room), pytest.raises(WorkerError, match="Too many open files"):
        await Worker.start(order, cleared)
    assert set(os.listdir("/proc/self/fd")) == before


@pytest.mark.system
async def test_a_worker_that_closes_its_line_and_lives_on_is_killed(
    order: Order, cleared: Calls
) -> None:
    deaf = (
        sys.executable,
        "-S",
        "-c",
        "import os, sys, signal; os.close(int(sys.argv[1])); signal.pause()",
    )
    with pytest.raises(WorkerError, match=r"was not ready within 0\.5 s"):
        await Worker.start(order, cleared, command=deaf, ready_seconds=0.5)
