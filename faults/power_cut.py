"""Power cuts: a store under load on a disk whose power goes, and what it has after the restart.

What the store told before the cut began has to be there. The cut takes some milliseconds, and in them
ext4 lets an fsync succeed whose transaction it then drops; when real power goes nobody is told of such
a one. So an answer from that time counts as none: there in whole, or not there.
"""

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .disk import Disk, System
from .examine import examine
from .ledger import read_ledger
from .promised import Promised
from .rounds import ROOT

Careless = Literal["files", "folders"]
"""What is not synced, to show what that costs."""

_LEAST, _MOST = 40, 250
"""After how many answers the power goes."""
_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Cuts:
    """What came of all cuts on one file system."""

    system: System
    rounds: int
    acknowledged: int
    wrong: list[str] = field(default_factory=list[str])

    @property
    def lost(self) -> int:
        """How much of what was acknowledged is not there."""
        return sum(line.startswith("LOST") for line in self.wrong)


async def cut_power(
    system: System, work: Path, rounds: int, seed: int, careless: Careless | None = None
) -> Cuts:
    """Cut the power so many times, of one disk that is used on, in a folder of another.

    Raises:
        NoDiskError: this machine mounts none.
    """
    draw = random.Random(seed)
    ledger = work / f"{system}.ledger"
    wrong: list[str] = []
    done = 0
    promised = Promised()
    with Disk(system, work) as disk:
        folder = disk.folder / "data"
        for number in range(rounds):
            ledger.unlink(missing_ok=True)
            arguments = (f"{seed} {number}", *((careless,) if careless else ()))
            told_bytes = await _load_until_cut(
                disk, draw.randint(_LEAST, _MOST), folder, ledger, *arguments
            )
            await asyncio.to_thread(disk.unmount)
            await asyncio.to_thread(disk.mount)
            for line in read_ledger(ledger, told_bytes):
                promised.add(line)
            wrong += await examine(folder, promised)
            done += 1
            if wrong:
                break  # what comes after would only say so again
    return Cuts(system, done, promised.acknowledged, [*promised.broken, *wrong])


async def _load_until_cut(disk: Disk, answers: int, folder: Path, ledger: Path, *args: str) -> int:
    """Load a store until it gave so many answers; return how long the ledger was as the power went.

    Raises:
        RuntimeError: the store failed before.
    """
    process = await asyncio.create_subprocess_exec(
        *map(str, (sys.executable, "-m", "faults.load", folder, ledger, *args)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_SECONDS):
            for _ in range(answers):
                if not await process.stdout.readline():
                    raise RuntimeError("the store under load died before the power went")
        return await asyncio.to_thread(_cut, disk, ledger)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


def _cut(disk: Disk, ledger: Path) -> int:
    told_bytes = ledger.stat().st_size
    disk.cut()
    return told_bytes
