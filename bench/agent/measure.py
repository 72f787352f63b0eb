"""The long run: 63 screenshots in 50 turns, in each dialect and way, with a limit for each."""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ..finding import Finding, Unmeasured
from .run import PLAIN, WAYS, Node, Run, Way, run_agent
from .screenshots import SCREENSHOT_BYTES, save_screenshots, total_bytes
from .script import Step, agent_script
from .speech import DIALECTS

TURNS = 50
SCREENSHOTS = 63
_MEGA = 1e6


def measure_agent(
    folder: Path, node: Node | None, say: Callable[[str], None]
) -> Iterator[Finding | Unmeasured]:
    """Yield what went up to the daemon, and how many texts were not those of the plain run.

    Raises:
        ServiceError, ProgramError: a program did not work.
    """
    say(f"agent: painting {SCREENSHOTS} screenshots")
    files = save_screenshots(folder, SCREENSHOTS, SCREENSHOT_BYTES)
    say(f"agent: {total_bytes(files) * 4 / 3 / _MEGA:.0f} MB of base64 at the end")
    script = agent_script(TURNS, files)
    for dialect in DIALECTS:
        plain = _run(folder, PLAIN, dialect, script, node, say)
        yield _crossed(plain)
        for way in WAYS:
            if way.language == "node" and node is None:
                yield Unmeasured(
                    f"agent, {dialect}, {way.name}", "python -m tests.clients --install"
                )
                continue
            run = _run(folder, way, dialect, script, node, say)
            yield _crossed(run)
            yield _different(run, plain)


def _run(
    folder: Path,
    way: Way,
    dialect: str,
    script: Sequence[Step],
    node: Node | None,
    say: Callable[[str], None],
) -> Run:
    say(f"agent: {len(script)} turns, {dialect}, {way.name}")
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        return asyncio.run(run_agent(Path(fresh), way, dialect, script, node))


def _crossed(run: Run) -> Finding:
    """What went up the counted hop; a plain run has no limit but what it is."""
    hops = ", ".join(f"{name} {up / _MEGA:.2f}" for name, up in run.up.items())
    up = run.up[run.way.counted] if run.way.counted else sum(run.up.values())
    limit = run.limit if run.way.counted else up
    compared = (
        f"{run.image_bytes / _MEGA:.2f} MB of images, {run.new_text_bytes / _MEGA:.3f} of text; "
        f"up each hop: {hops}; application {run.cpu_seconds:.1f} s CPU"
    )
    name = f"agent, {run.dialect}, {run.way.name}, up"
    return Finding(name, up / _MEGA, limit / _MEGA, "MB", compared)


def _different(run: Run, plain: Run) -> Finding:
    """How many turns had another text, or reached the model otherwise, than in the plain run."""
    turns = zip(run.texts, plain.texts, strict=True)
    different = sum(text != wanted for text, wanted in turns)
    more = len(run.seen) - len(plain.seen)
    name = f"agent, {run.dialect}, {run.way.name}, other texts"
    compared = f"of {len(plain.texts)}; requests at the model: {len(run.seen)} ({more:+})"
    return Finding(name, different + abs(more), 0, "turns", compared)
