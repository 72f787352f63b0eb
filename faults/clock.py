"""The time of day, for a store whose reviews are not waited for."""

import time

_AHEAD_SECONDS = 2 * 3600.0
"""More than what nobody holds stays, less than any lease."""


class Clock:
    """The time of day, which can be set ahead."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return unix seconds."""
        return time.time() + self._ahead

    def leap(self) -> None:
        """Set it so far ahead that what is condemned now is due."""
        self._ahead += _AHEAD_SECONDS
