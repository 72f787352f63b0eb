"""How a serving process is told to end: at once, gently, or by those who started it ending."""

import asyncio


class Ending:
    """What was asked for so far. Belongs to the event loop."""

    def __init__(self) -> None:
        self._stopped = asyncio.Event()
        self._hurried = asyncio.Event()
        self.is_retired = False
        """Whether others serve on, so that clients can be sent to them without losing a request."""

    def stop(self) -> None:
        """Ask for the end, after running requests; may be asked twice."""
        self._stopped.set()

    def retire(self) -> None:
        """Ask for the end, after sending clients elsewhere; nothing once an end was asked for."""
        self.is_retired = self.is_retired or not self._stopped.is_set()
        self._stopped.set()

    def hurry(self) -> None:
        """Ask for the end without waiting for requests that still run."""
        self._stopped.set()
        self._hurried.set()

    def signal(self) -> None:
        """Do what a person means who sends a signal: end, and at the second time hurry."""
        (self.hurry if self._stopped.is_set() else self.stop)()

    async def stopped(self) -> None:
        """Return when the end is asked for."""
        await self._stopped.wait()

    async def hurried(self) -> None:
        """Return when it shall be at once."""
        await self._hurried.wait()
