"""What is held resolves beside a sweep that never rests; `make nightly` does it for ten minutes."""

from pathlib import Path

import pytest
from bench.holding import hold

pytestmark = pytest.mark.system


async def test_nothing_that_is_held_is_refused_or_lost(tmp_path: Path) -> None:
    tally = await hold(tmp_path, seconds=12)
    assert (tally.refused, tally.wrong) == ([], [])
    # All of it took place, on a machine however slow.
    assert min(tally.uploads, tally.turns, tally.reads, tally.lapsed, tally.let_go) > 3
    assert tally.removed_blobs > 3
