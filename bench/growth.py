"""What a larger index costs: the same questions to 10 thousand, 100 thousand and a million blobs.

Each size is measured in a process of its own, so that memory is that of one store.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .finding import Finding

SIZES = (10_000, 100_000, 1_000_000)
_QUESTIONS = {
    "missing of 1,000 digests": "missing",
    "a page of 100 blobs": "page",
}
_SECONDS = {"a sweep that finds nothing": ("sweep", 5.0), "start": ("start", 3.0)}
MAX_RATIO = 2.0
MAX_MEMORY_MB = 64.0
_ROOT = Path(__file__).resolve().parent.parent


def measure_growth(
    folder: Path, say: Callable[[str], None], sizes: Sequence[int] = SIZES
) -> Iterator[Finding]:
    """Yield a finding for each question, from the first size to each other one."""
    taken: list[dict[str, float]] = []
    for size in sizes:
        say(f"an index of {size:,} blobs")
        taken.append(_measure(folder / f"growth-{size}", size))
    compared = {
        name: _amounts(sizes, [one[name] for one in taken])
        for name in taken[0]
        if name != "resident"
    }
    for question, name in _QUESTIONS.items():
        ratio = taken[-1][name] / taken[0][name]
        yield Finding(f"growth: {question}", ratio, MAX_RATIO, "x", compared[name])
    for question, (name, seconds) in _SECONDS.items():
        yield Finding(f"growth: {question}", taken[-1][name] / 1e3, seconds, "s", compared[name])
    grown = (taken[-1]["resident"] - taken[0]["resident"]) / 1e6
    text = ", ".join(f"{one['resident'] / 1e6:.0f}" for one in taken) + " MB"
    yield Finding("growth: memory", grown, MAX_MEMORY_MB, "MB", text)


def _measure(folder: Path, size: int) -> dict[str, float]:
    folder.mkdir()
    try:
        _run("fill", folder, size)
        found: dict[str, float] = json.loads(_run("measure", folder, size))
        return found
    finally:
        shutil.rmtree(folder)


def _run(act: str, folder: Path, size: int) -> str:
    command = [sys.executable, "-m", "bench.growth_process", act, str(folder / "data"), str(size)]
    return subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def _amounts(sizes: Sequence[int], milliseconds: Sequence[float]) -> str:
    pairs = zip(sizes, milliseconds, strict=True)
    return ", ".join(f"{size:,}: {amount:.1f} ms" for size, amount in pairs)
