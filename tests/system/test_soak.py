"""A short soak: that nothing grows, and nothing is answered wrongly; `make nightly` runs a day's."""

from pathlib import Path

import pytest
from bench.soak import soak

pytestmark = [pytest.mark.system, pytest.mark.alone]


async def test_hours_of_turns_uploads_and_departures_leave_nothing_behind(tmp_path: Path) -> None:
    growths, tally = await soak(tmp_path, seconds=6, hours=3)
    assert tally.failures == []
    assert min(tally.turns, tally.uploads, tally.downloads, tally.departures) > 0
    assert [growth for growth in growths if not growth.is_flat] == []
