"""What reads an answer's stream on its way to the SDK. Decides; whoever drives awaits."""

from collections.abc import Callable, Iterator
from typing import TypeAlias

from ..announcement import Announcements
from ..exchange import Exchange
from .restoring import Events, Restoring
from .steps import Plan

Run: TypeAlias = Callable[[Exchange[bytes]], Plan[bytes]]
"""Makes a plan of an exchange."""
Passed: TypeAlias = bytes | Plan[bytes]
"""Bytes to pass on, or a plan that ends with them."""


class Passing:
    """Takes out what is for us alone, and puts bytes back where refs stand. For one stream."""

    def __init__(
        self, announcements: Announcements | None, restoring: Restoring | None, run: Run
    ) -> None:
        self._announcements = announcements
        self._restoring = restoring
        self._events = Events()
        self._run = run

    def feed(self, data: bytes) -> Iterator[Passed]:
        """Take the next bytes; yield what to pass on, in order."""
        yield from self._pass(self._announcements.feed(data) if self._announcements else data)

    def end(self) -> Iterator[Passed]:
        """Yield what was held back."""
        yield from self._pass(self._announcements.end() if self._announcements else b"")
        yield self._events.end()

    def _pass(self, data: bytes) -> Iterator[Passed]:
        if self._restoring is None:
            yield data
            return
        for event, has_ref in self._events.feed(data):
            yield self._run(self._restoring.event(event)) if has_ref else event
