"""What long conversations cost, and whether that grows with the store: among a thousand kept messages,
a hundred thousand and a million.

Each size is measured in a process of its own. And what a turn costs the gateway with each doubling of
its messages.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .finding import Finding
from .prompts_process import turn_milliseconds

LENGTH = 10_000
SIZES = (1_000, 100_000, 1_000_000)
TURNS = (1_000, 2_000, 4_000, 8_000)
_MILLISECONDS = {
    "expanding {:,} messages": ("expand", 30.0),
    "appending a message": ("append", 2.0),
    "appending a message, until it is written": ("written", 10.0),
}
MAX_RATIO = 2.0
MAX_TURN_RATIO = 1.5
_ROOT = Path(__file__).resolve().parent.parent


def measure_prompts(
    folder: Path,
    say: Callable[[str], None],
    sizes: Sequence[int] = SIZES,
    turns: Sequence[int] = TURNS,
    length: int = LENGTH,
) -> Iterator[Finding]:
    """Yield a finding for each question: at the last size, and beside the first one."""
    taken: list[dict[str, float]] = []
    for size in sizes:
        say(f"a conversation among {size:,} kept messages")
        taken.append(_measure(folder / f"prompts-{size}", size, length))
    for asked, (name, limit) in _MILLISECONDS.items():
        question = asked.format(length)
        compared = _amounts(sizes, [one[name] for one in taken])
        yield Finding(f"prompts: {question}", taken[-1][name], limit, "ms", compared)
        spent = [one[f"{name}_cpu"] for one in taken]
        yield Finding(
            f"prompts: {question}: CPU, as the store grows",
            spent[-1] / spent[0],
            MAX_RATIO,
            "x",
            _amounts(sizes, spent),
        )
    say("turns of more and more messages")
    spent = [turn_milliseconds(count) for count in turns]
    each = [one / count for one, count in zip(spent, turns, strict=True)]
    yield Finding(
        "prompts: a turn's work for each message, as they grow",
        each[-1] / each[0],
        MAX_TURN_RATIO,
        "x",
        _amounts(turns, spent),
    )


def _measure(folder: Path, size: int, length: int) -> dict[str, float]:
    folder.mkdir()
    command = [sys.executable, "-m", "bench.prompts_process", str(folder / "data")]
    command += [str(size), str(length)]
    try:
        done = subprocess.run(command, cwd=_ROOT, check=True, stdout=subprocess.PIPE, text=True)
        found: dict[str, float] = json.loads(done.stdout)
        return found
    finally:
        shutil.rmtree(folder)


def _amounts(sizes: Sequence[int], milliseconds: Sequence[float]) -> str:
    pairs = zip(sizes, milliseconds, strict=True)
    return ", ".join(f"{size:,}: {amount:.2f} ms" for size, amount in pairs)
