"""Bytes that may be held in memory at once.

1. What was taken never exceeds the limit, but for one taker that alone is larger than it.
2. Room is given in the order it was asked for, so that a large taker is not overtaken for ever.

Belongs to the event loop.
"""

import asyncio
from collections import deque


class Room:
    """Room for `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._taken_bytes = 0
        self._queue: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, count: int) -> None:
        """Wait until there is room for so many bytes, and take it. A cancelled call takes none."""
        if not self._queue and self._fits(count):
            self._taken_bytes += count
            return
        turn = asyncio.get_running_loop().create_future()
        place = (count, turn)
        self._queue.append(place)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._queue.remove(place)
                self._admit()
            else:  # the turn came first
                self.give_back(count)
            raise

    def give_back(self, count: int) -> None:
        """End the holding of bytes that were taken."""
        self._taken_bytes -= count
        self._admit()

    def _fits(self, count: int) -> bool:
        return not self._taken_bytes or self._taken_bytes + count <= self._limit_bytes

    def _admit(self) -> None:
        while self._queue and self._fits(self._queue[0][0]):
            count, turn = self._queue.popleft()
            self._taken_bytes += count
            turn.set_result(None)
