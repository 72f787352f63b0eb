"""`python -m bench.soak`: a day in minutes, and whether anything grows.

A store and a daemon, each a process under a clock that runs ahead, are sent a fixed set of pictures
and conversations. After a warm-up the middle of the run is compared with its end: resident memory,
file descriptors, tasks, and bytes on the disk.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import aiohttp
import click
import psutil
from rich.console import Console
from rich.table import Table

from .server_process import ServerProcess, ServerStartError
from .soak_load import Load, Tally, pictures
from .soak_process import TASKS_PATH

_SAMPLES = 60
_CACHE_BYTES = 1_200_000
"""Half of the pictures: the daemon evicts and fetches all the time."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a process."""

    resident_bytes: int
    descriptors: int
    tasks: int
    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Growth:
    """What one figure of one process was in the middle of the run and at its end, as medians."""

    process: str
    figure: str
    middle: float
    end: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """Whether it grew by no more than is allowed."""
        return self.end - self.middle <= self.allowed


@dataclass(frozen=True, slots=True)
class Soaked:
    """A process under the soak."""

    name: str
    server: ServerProcess
    folder: Path

    async def sample(self, session: aiohttp.ClientSession) -> Sample:
        """Look at the process, and at what it keeps."""
        process = psutil.Process(self.server.pid)
        async with session.get(self.server.url + TASKS_PATH) as answer:
            tasks = (await answer.json())["tasks"]
        disk_bytes = await asyncio.to_thread(_allocated, self.folder)
        return Sample(process.memory_info().rss, process.num_fds(), tasks, disk_bytes)


def growths(name: str, samples: Sequence[Sample]) -> list[Growth]:
    """Compare the second quarter with the last one.

    Memory may grow by a tenth and 8 MB, what an allocator keeps; the disk by a twentieth and 4 MB,
    what SQLite's logs swing by; descriptors and tasks by what the load holds at a moment.
    """
    quarter = len(samples) // 4
    middle, end = samples[quarter : 2 * quarter], samples[-quarter:]

    def of(figure: str, allowed_part: float, allowed_more: float) -> Growth:
        before = median(getattr(sample, figure) for sample in middle)
        after = median(getattr(sample, figure) for sample in end)
        return Growth(name, figure, before, after, before * allowed_part + allowed_more)

    return [
        of("resident_bytes", 0.1, 8e6),
        of("descriptors", 0, 12),
        of("tasks", 0, 12),
        of("disk_bytes", 0.05, 4e6),
    ]


async def soak(folder: Path, seconds: float, hours: float) -> tuple[list[Growth], Tally]:
    """Run the load for `seconds`, in which the servers' clocks pass `hours`.

    Raises:
        ServerStartError: a server did not start.
    """
    speed = hours * 3600 / seconds
    with ExitStack() as stack:
        store = stack.enter_context(
            server(folder, "store", speed, "api", {"data": str(folder / "store")})
        )
        settings: dict[str, object] = {"cache": str(folder / "daemon"), "store": store.url}
        settings["max_cache_bytes"] = _CACHE_BYTES
        daemon = stack.enter_context(server(folder, "daemon", speed, "daemon", settings))
        soaked = [
            Soaked("store", store, folder / "store"),
            Soaked("daemon", daemon, folder / "daemon"),
        ]
        load = Load(daemon.url, pictures())
        samples: dict[str, list[Sample]] = {item.name: [] for item in soaked}
        async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
            loading = group.create_task(load.run(seconds))
            while not loading.done():
                await asyncio.wait([loading], timeout=seconds / _SAMPLES)
                for item in soaked:
                    samples[item.name].append(await item.sample(session))
        return [one for name, taken in samples.items() for one in growths(name, taken)], load.tally


def server(
    folder: Path, name: str, speed: float, command_name: str, settings: Mapping[str, object]
) -> ServerProcess:
    """Return a server under a clock that runs `speed` times as fast, to be entered."""
    (folder / name).mkdir(exist_ok=True)
    given = json.dumps(settings)
    command = [sys.executable, "-m", "bench.soak_process", str(speed), command_name, given]
    return ServerProcess(command, cwd=Path.cwd(), log=folder / f"{name}.log")


def _allocated(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_blocks * 512
        except FileNotFoundError:
            continue  # temporaries come and go
    return total


@click.command()
@click.option("--seconds", default=600.0, show_default=True, type=click.FloatRange(min=5))
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(min=0.01))
@click.option("--json", "as_json", is_flag=True, help="Print the growths as JSON.")
def main(seconds: float, hours: float, as_json: bool) -> None:
    """Soak a store and a daemon; exit with 1 when something grew or an answer was wrong."""
    try:
        with tempfile.TemporaryDirectory(prefix="coatcheck-soak-") as folder:
            found, tally = asyncio.run(soak(Path(folder), seconds, hours))
    except ServerStartError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        growth = [asdict(item) | {"is_flat": item.is_flat} for item in found]
        click.echo(json.dumps({"growths": growth, "done": asdict(tally)}, indent=2))
    else:
        _print(found, tally, Console(width=None if sys.stdout.isatty() else 120))
    if tally.failures or not all(item.is_flat for item in found):
        sys.exit(1)


def _print(found: Sequence[Growth], tally: Tally, console: Console) -> None:
    table = Table("process", "figure", "middle", "end", "may grow by", "")
    for item in found:
        figures = (f"{value:,.0f}" for value in (item.middle, item.end, item.allowed))
        table.add_row(item.process, item.figure, *figures, "flat" if item.is_flat else "GREW")
    console.print(table)
    console.print(
        f"{tally.turns} turns, {tally.uploads} uploads, {tally.downloads} downloads, "
        f"{tally.refusals} refused, {tally.departures} left in the middle, "
        f"{len(tally.failures)} wrong answers"
    )
    for failure in tally.failures[:5]:
        console.print(failure, markup=False)


if __name__ == "__main__":
    main()
