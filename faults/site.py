"""Where a fault can strike: the n-th time that a thread makes one system call on one file."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from .trace import Call

_OF_DATA_ALONE = frozenset({"fsync", "rename", "writev"})
"""What a server calls for files of its data folder and nothing else."""


class Fault(StrEnum):
    """What happens in place of the call."""

    KILL = "kill -9"
    FULL = "ENOSPC"
    FAILS = "EIO"

    @property
    def injection(self) -> str:
        """What strace calls it."""
        return "signal=KILL" if self is Fault.KILL else f"error={self}"


class Start(StrEnum):
    """What a round begins with."""

    NEW = "new"
    """No folder."""
    LEFT = "left"
    """The folder of a process that was killed in the middle of an upload."""
    SERVED = "served"
    """Such a folder with keys, under the real server; the two before are the store's alone."""


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """One system call of a run that nothing disturbs."""

    start: Start
    syscall: str
    path: str
    """In the data folder; empty where its name is not known before, and then any file counts."""
    number: int
    """Of this thread's such calls on this file, from one."""

    @property
    def kind(self) -> tuple[str, str, str]:
        """What is struck, as which sort of file, whichever of its kind it is."""
        return (
            self.start,
            self.syscall,
            re.sub(r"[0-9a-f]{32,}|\b[0-9a-f]{2}\b|\d+", "*", self.path),
        )

    def flags(self, fault: Fault, folder: Path) -> tuple[str, ...]:
        """Return what tells strace to strike here: calls on other files neither count nor fail."""
        where = f"{self.syscall}:{fault.injection}:when={self.number}"
        only = ("-P", str(folder / self.path)) if self.path else ()
        return *only, "-e", f"trace={self.syscall}", "-e", f"inject={where}"


def find_sites(calls: Iterable[Call], start: Start) -> list[Site]:
    """Return the sites of a run, in order.

    The real server names its spool at random, so that its sites there are counted over all files.
    """
    counts: Counter[tuple[int, str, str]] = Counter()
    sites: dict[Site, None] = {}
    for call in calls:
        for path in (*call.paths, ""):
            counts[call.thread, call.name, path] += 1
        path = call.paths[0]
        if start is Start.SERVED and path.startswith("spool/"):
            if call.name not in _OF_DATA_ALONE:
                continue
            path = ""
        sites[Site(start, call.name, path, counts[call.thread, call.name, path])] = None
    return list(sites)


def choose(sites: Sequence[Site], count: int, seed: int) -> list[tuple[Site, Fault]]:
    """Return up to `count` sites with faults, no two the same.

    Each kind of site comes once with each fault before any comes twice.
    """
    draw = random.Random(seed)
    kinds: defaultdict[tuple[object, ...], list[tuple[Site, Fault]]] = defaultdict(list)
    for site in sorted(sites):
        for fault in Fault:
            kinds[*site.kind, fault].append((site, fault))
    for strikes in kinds.values():
        draw.shuffle(strikes)
    order = list(kinds.values())
    chosen: list[tuple[Site, Fault]] = []
    while order and len(chosen) < count:
        draw.shuffle(order)
        chosen += [strikes.pop() for strikes in order]
        order = [strikes for strikes in order if strikes]
    return chosen[:count]
