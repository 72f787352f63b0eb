"""The pace of work that nobody waits for: it rests twice as long as it works, and ends when told.

A thread that computes holds the interpreter, and every system call of the event loop would wait for
it. So whoever works here does it in steps of well below a millisecond where that can be, and calls
`step` before each.
"""

import threading
import time
from collections.abc import Callable

from .errors import ReadingStoppedError

_WORK_SECONDS = 0.001
_REST = 2.0
# A step that took long, such as parsing 32 MB, gives others as much time at once, and no more.
_MAX_REST_SECONDS = 0.1


class Pace:
    """Of one thread. `stop` may be called from another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stopped = threading.Event()
        self._since = clock()

    def begin(self) -> None:
        """Start a new piece of work."""
        self._since = self._clock()

    def step(self) -> None:
        """Let others go first, if it has worked for long enough.

        Raises:
            ReadingStoppedError: `stop` was called.
        """
        worked = self._clock() - self._since
        if worked >= _WORK_SECONDS:
            self._stopped.wait(min(worked * _REST, _MAX_REST_SECONDS))
            self._since = self._clock()
        if self._stopped.is_set():
            raise ReadingStoppedError

    def stop(self) -> None:
        """End the work at its next step."""
        self._stopped.set()
