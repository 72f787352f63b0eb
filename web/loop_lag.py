"""How late the event loop is: what a piece of work that should be in a thread does to everybody."""

import asyncio
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

INTERVAL_SECONDS = 0.25
"""Between two measures: stalls longer than that are seen for certain, shorter ones by chance."""


class LoopLag:
    """Measures while it is entered. `tell` gets seconds, zero or more."""

    def __init__(
        self,
        tell: Callable[[float], None],
        interval_seconds: float = INTERVAL_SECONDS,
        *,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`elapsed` gives seconds and never goes back."""
        self._tell = tell
        self._interval = interval_seconds
        self._elapsed = elapsed
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._plan(asyncio.get_running_loop())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _plan(self, loop: asyncio.AbstractEventLoop) -> None:
        due = self._elapsed() + self._interval

        def measure() -> None:
            self._tell(max(0.0, self._elapsed() - due))
            self._plan(loop)

        self._timer = loop.call_later(self._interval, measure)
