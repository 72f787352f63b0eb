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
_ROUNDS_A_DISK = 3
"""As many as fit."""
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
    """Cut the power so many times, some of them of one disk that is used on, in a folder of another.

    Stops at the first that loses anything.

    Raises:
        NoDiskError: this machine mounts none.
    """
    draw = random.Random(seed)
    done, acknowledged = 0, 0
    wrong: list[str] = []
    while done < rounds and not wrong:
        promised = Promised()
        with Disk(system, work) as disk:
            for _ in range(min(_ROUNDS_A_DISK, rounds - done)):
                name = f"{seed} {done}"
                wrong += await _cut_once(
                    disk, work, draw.randint(_LEAST, _MOST), name, careless, promised
                )
                done += 1
                if wrong:
                    break
        acknowledged += promised.acknowledged
    return Cuts(system, done, acknowledged, wrong)


async def _cut_once(
    disk: Disk, work: Path, answers: int, name: str, careless: Careless | None, promised: Promised
) -> list[str]:
    """Cut once and look; add to what the disk promised."""
    folder, ledger = disk.folder / "data", work / "cut.ledger"
    ledger.unlink(missing_ok=True)
    arguments = (name, *((careless,) if careless else ()))
    told_bytes = await _load_until_cut(disk, answers, folder, ledger, *arguments)
    await asyncio.to_thread(disk.unmount)
    await asyncio.to_thread(disk.mount)
    if told_bytes is None:
        return ["the store under load ended before the power went"]
    for line in read_ledger(ledger, told_bytes):
        promised.add(line)
    return [*promised.broken, *await examine(folder, promised)]


async def _load_until_cut(
    disk: Disk, answers: int, folder: Path, ledger: Path, *args: str
) -> int | None:
    """Load a store until it gave so many answers; return how long the ledger was as the power went.

    Returns None if the store failed before.
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
                    return None
        return await asyncio.to_thread(_cut, disk, ledger)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.communicate()


def _cut(disk: Disk, ledger: Path) -> int:
    told_bytes = ledger.stat().st_size
    disk.cut()
    return told_bytes
