"""Some rounds of every kind; `make nightly` runs hundreds, and `python -m faults` as many as you like."""

import asyncio
import shutil
from fnmatch import fnmatch

import pytest
from faults.disk import SYSTEMS, NoDiskError, System
from faults.power_cut import Cuts, cut_power
from faults.rounds import Round, Rounds
from faults.site import Fault, Start

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]  # many processes each


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    """The sites of this machine's kernel and SQLite."""
    if shutil.which("strace") is None:
        pytest.skip("strace is missing: apt-get install strace")
    found = Rounds(tmp_path_factory.mktemp("rounds"))
    asyncio.run(found.prepare())
    return found


def wrong(done: list[Round]) -> list[str]:
    """Say what went wrong, and where."""
    return [f"{one.site} {one.fault}: {line}" for one in done for line in one.wrong]


@pytest.mark.parametrize(
    ("syscall", "path"),
    [
        ("fsync", "uploads/*"),  # uploads in parts
        ("link*", "uploads/*"),
        ("unlink", "uploads/*"),
        ("unlink", "blobs/sha256/??/*"),  # sweeps and erasures
        ("ftruncate", "*-wal"),  # a log that is cut after an erasure
    ],
)
def test_the_run_comes_by_each_write_path(rounds: Rounds, syscall: str, path: str) -> None:
    found = {
        site.start
        for site in rounds.sites
        if fnmatch(site.syscall, syscall) and fnmatch(site.path, path)
    }
    assert found >= {Start.NEW, Start.LEFT}


async def test_a_fault_in_any_call_of_the_store_loses_nothing(rounds: Rounds) -> None:
    done = await rounds.run([Start.NEW, Start.LEFT], 6, seed=4, jobs=3)
    assert wrong(done) == []
    assert sum(one.hits > 0 for one in done) > 4
    assert sum(one.acknowledged for one in done) > 30


async def test_a_fault_in_any_call_of_the_server_loses_nothing(rounds: Rounds) -> None:
    done = await rounds.run([Start.SERVED], 3, seed=3, jobs=2)
    assert wrong(done) == []
    assert any(one.hits for one in done)


@pytest.mark.parametrize(
    ("start", "syscall", "path", "number", "fault"),
    [
        # The database read-only for good.
        (Start.LEFT, "openat", "index.sqlite", 2, Fault.FULL),
        # Errors of the operating system that were not the store's.
        (Start.LEFT, "newfstatat", "blobs/sha256/??/*", 1, Fault.FAILS),
        (Start.LEFT, "close", "gate", 1, Fault.FAILS),
        (Start.NEW, "newfstatat", "spool/*", 2, Fault.FULL),
        # What an fsync that fails has to end.
        (Start.LEFT, "fsync", "spool/*/1.part", 1, Fault.FAILS),
        (Start.LEFT, "fsync", "blobs/sha256/??", 1, Fault.FAILS),
        (Start.LEFT, "fdatasync", "index.sqlite-wal", 2, Fault.FAILS),
        (Start.NEW, "fsync", "uploads/*", 1, Fault.FAILS),
        # Between a blob and its row.
        (Start.LEFT, "link*", "uploads/*", 1, Fault.KILL),
        # What SQLite calls a damaged file, and is a read that failed.
        (Start.NEW, "pread64", "index.sqlite", 3, Fault.FAILS),
        # A lock that outlived its request.
        (Start.NEW, "close", "uploads/*", 1, Fault.FULL),
    ],
)
async def test_calls_at_which_stores_fail(
    rounds: Rounds, start: Start, syscall: str, path: str, number: int, fault: Fault
) -> None:
    site = next(
        site
        for site in rounds.sites
        if (site.start, site.number) == (start, number)
        and fnmatch(site.syscall, syscall)
        and fnmatch(site.path, path)
    )
    done = await rounds.strike(site, fault)
    assert done.wrong == []
    assert done.hits


async def test_an_erasure_that_cannot_remove_an_upload_does_not_forget_it(rounds: Rounds) -> None:
    """A file that is not linked to a blob is unlinked by nothing but the erasure."""
    new = [site for site in rounds.sites if site.start is Start.NEW]
    linked = {site.path for site in new if site.syscall.startswith("link")}
    of_erasure = [
        site
        for site in new
        if (site.syscall, site.number) == ("unlink", 1)
        and fnmatch(site.path, "uploads/*")
        and site.path not in linked
        and "-" not in site.path  # sections are unlinked when they were joined
    ]
    assert len(of_erasure) == 1
    done = await rounds.strike(of_erasure[0], Fault.FAILS)
    assert done.wrong == []
    assert done.hits


async def cut(system: System, tmp_path_factory: pytest.TempPathFactory, *args: object) -> Cuts:
    """Cut the power, or skip where no disk can be mounted."""
    try:
        return await cut_power(system, tmp_path_factory.mktemp("disk"), *args)  # type: ignore[arg-type]
    except NoDiskError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("system", SYSTEMS)
async def test_a_power_cut_loses_nothing(
    system: System, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = await cut(system, tmp_path_factory, 2, 1)
    assert done.wrong == []
    assert done.acknowledged > 80


async def test_a_power_cut_finds_what_was_not_synced(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    done = await cut("ext4", tmp_path_factory, 2, 1, "files")
    assert done.lost > 0
