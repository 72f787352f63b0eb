"""Background work rests, and ends when it is told."""

import pytest

from coatcheck.daemon.errors import ReadingStoppedError
from coatcheck.daemon.pace import Pace


class Clock:
    """A time that is set; it counts how often it was asked."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


def test_it_rests_when_it_has_worked() -> None:
    clock = Clock()
    pace = Pace(clock)
    pace.begin()
    clock.asked = 0
    pace.step()
    assert clock.asked == 1  # nothing to rest from
    clock.now = 0.01
    pace.step()
    assert clock.asked == 3  # work is counted from the rest on
    pace.step()
    assert clock.asked == 4


def test_it_ends_when_it_is_told() -> None:
    pace = Pace(Clock())
    pace.step()
    pace.stop()
    with pytest.raises(ReadingStoppedError):
        pace.step()
