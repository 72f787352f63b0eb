"""Rounds: one fault in one run, then a restart, which has to find all that was acknowledged.

First the same run goes undisturbed under strace, which gives the sites. A fault strikes one site; its
number is its thread's count, so where threads take turns otherwise a round strikes elsewhere, more than
once, or nothing. What was struck is read from strace's own log, and misses are reported.
"""

import asyncio
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from .examine import examine
from .ledger import Line, read_ledger
from .promised import Promised
from .served import make_keys, serve
from .site import Fault, Site, Start, choose, find_sites
from .trace import Call, read_calls

ROOT = Path(__file__).resolve().parents[1]
_STRACE = ("strace", "-f", "-y", "-s", "1")
# Stops only at the calls that are asked for, and cannot deliver a signal there.
_QUICK = (*_STRACE, "--seccomp-bpf")
_SECONDS = 60.0
"""What no run takes, also on a busy machine. One that does hangs."""


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one."""

    site: Site
    fault: Fault
    hits: int
    """How many calls were struck."""
    acknowledged: int
    refused: int
    wrong: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """How much of what was acknowledged is not there."""
        return sum(line.startswith("LOST") for line in self.wrong)


@dataclass(frozen=True, slots=True)
class _Run:
    """How one run went: what it was told, its exit code (None if it hung), what of it was wrong."""

    lines: Sequence[Line]
    code: int | None
    wrong: Sequence[str] = ()


class Rounds:
    """Runs rounds in a folder of its own. `prepare` comes first."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._left = work / "left"
        self._ledger = work / "left.ledger"
        self._keys: dict[str, str] = {}
        self.sites: list[Site] = []
        """Of every start, in order."""

    async def prepare(self) -> None:
        """Make the folder that a killed process left, and find the sites.

        Raises:
            RuntimeError: a run goes wrong undisturbed.
        """
        await _write([], self._left, self._ledger, "first")
        shutil.copytree(self._left, self._work / "served")
        self._keys = await make_keys(self._work / "served")
        for start in Start:
            with tempfile.TemporaryDirectory(dir=self._work) as name:
                log = Path(name) / "log"
                flags = (*_QUICK, "-o", log, "-e", "trace=%file,%desc")
                run = await self._run(start, flags, Path(name))
                if wrong := [*Promised.by(run.lines).broken, *run.wrong]:
                    raise RuntimeError("\n".join(wrong))
                calls = read_calls(log.read_text("utf-8", "replace"), Path(name) / "data")
                self.sites += find_sites(calls, start)

    async def run(self, starts: Sequence[Start], count: int, seed: int, jobs: int) -> list[Round]:
        """Run so many rounds, chosen by the seed, some at once; return them in order."""
        places = asyncio.Semaphore(jobs)

        async def one(site: Site, fault: Fault) -> Round:
            async with places:
                return await self.strike(site, fault)

        sites = [site for site in self.sites if site.start in starts]
        return await asyncio.gather(*(one(*strike) for strike in choose(sites, count, seed)))

    async def strike(self, site: Site, fault: Fault) -> Round:
        """Run one round."""
        with tempfile.TemporaryDirectory(dir=self._work) as name:
            folder, log = Path(name) / "data", Path(name) / "log"
            strace = _STRACE if fault is Fault.KILL else _QUICK
            flags = (*strace, "-o", log, *site.flags(fault, folder))
            run = await self._run(site.start, flags, Path(name))
            calls = read_calls(log.read_text("utf-8", "replace"), folder)
            promised = Promised.by([*self._lines_before(site.start), *run.lines])
            wrong = [*promised.broken, *run.wrong, *_syncs_again(calls)]
            if run.code is None:
                wrong.append("it hung")
            elif run.code < 0 and fault is not Fault.KILL:
                wrong.append(f"signal {-run.code} ended it")
            wrong += await examine(folder, promised)
            hits = int(run.code == -signal.SIGKILL) + sum(call.is_injected for call in calls)
            return Round(site, fault, hits, promised.acknowledged, len(promised.refused), wrong)

    async def _run(self, start: Start, flags: Sequence[object], place: Path) -> _Run:
        folder, ledger = place / "data", place / "ledger"
        if start is Start.SERVED:
            shutil.copytree(self._work / "served", folder)
            served = await serve(flags, folder, self._keys, ROOT)
            wrong = [served.log[-1000:]] if "Traceback" in served.log else []
            return _Run(served.lines, served.code, wrong)
        if start is Start.LEFT:
            shutil.copytree(self._left, folder)
        code = await _write(flags, folder, ledger)
        return _Run(list(read_ledger(ledger)), code)

    def _lines_before(self, start: Start) -> Sequence[Line]:
        return [] if start is Start.NEW else list(read_ledger(self._ledger))


def _syncs_again(calls: Sequence[Call]) -> list[str]:
    """Say which upload was synced again after that had failed once."""
    failed: set[str] = set()
    wrong: list[str] = []
    for call in calls:
        if call.name in ("fsync", "fdatasync"):
            spooled = [path for path in call.paths if path.endswith(".part")]
            wrong += [f"{path} was synced again" for path in spooled if path in failed]
            if call.is_injected:
                failed.update(spooled)
    return wrong


async def _write(command: Sequence[object], folder: Path, ledger: Path, *args: str) -> int | None:
    """Run the writer below a command; return its exit code, or None if it hung."""
    process = await asyncio.create_subprocess_exec(
        *map(str, (*command, sys.executable, "-m", "faults.writer", folder, ledger, *args)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return await asyncio.wait_for(process.wait(), _SECONDS)
    except TimeoutError:
        return None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
