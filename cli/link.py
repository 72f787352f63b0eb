"""One direction of a network link: its rate, its delay, and carrying bytes along it.

What it keeps true:

1. All that travels a lane shares its rate.
2. The delay does not lower the rate: bytes that wait for their time of arrival do not hold up
   those behind them, as long as the delay is not longer than the queue (64 chunks).
3. Memory is bounded for each stream carried, and a reader that is slow slows the sender down.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

__all__ = ["Lane", "carry", "sleep_until"]

_QUEUE_CHUNKS: Final = 64
_MAX_CHUNK_BYTES: Final = 64 * 1024
_MIN_CHUNK_BYTES: Final = 1460
_CHUNK_SECONDS: Final = 0.005
_BURST_SECONDS: Final = 0.005


class Lane:
    """A token bucket that all streams of one direction draw from, and a delay.

    The bucket holds 5 ms of the rate, so that timers that fire late do not lower it.
    """

    def __init__(
        self, bits_per_second: float | None, delay_seconds: float, clock: Callable[[], float]
    ) -> None:
        """Shape by `clock`, in seconds, which must never run backwards; None is no limit."""
        self._bits_per_second = bits_per_second
        self._clock = clock
        self._free_at = clock()
        self.delay_seconds = delay_seconds

    @property
    def chunk_bytes(self) -> int:
        """How much to send at once: about 5 ms of the rate."""
        if self._bits_per_second is None:
            return _MAX_CHUNK_BYTES
        share = int(self._bits_per_second / 8 * _CHUNK_SECONDS)
        return max(_MIN_CHUNK_BYTES, min(share, _MAX_CHUNK_BYTES))

    def reserve(self, size: int) -> float:
        """Put `size` bytes on the line and return when, by the clock, the last of them has left."""
        now = self._clock()
        if self._bits_per_second is None:
            return now
        earliest = max(self._free_at, now - _BURST_SECONDS)
        self._free_at = earliest + size * 8 / self._bits_per_second
        return max(now, self._free_at)


async def carry(
    receive: Callable[[], Awaitable[bytes | None]],
    lane: Lane,
    sink: asyncio.StreamWriter,
    count: Callable[[int], None],
) -> None:
    """Carry what `receive` returns along the lane to `sink`, until it returns None.

    Returns when the last byte has been handed to the sink, which stays open. `count` is told
    each number of bytes written. Failures of either end come out in an exception group. The
    lane's clock must be the running loop's.
    """
    arrivals = asyncio.Queue[tuple[float, bytes]](_QUEUE_CHUNKS)
    async with asyncio.TaskGroup() as group:
        group.create_task(_deliver(arrivals, sink, count))
        while (data := await receive()) is not None:
            if data:
                left_at = lane.reserve(len(data))
                await arrivals.put((left_at + lane.delay_seconds, data))
                await sleep_until(left_at)
        await arrivals.put((0.0, b""))


async def _deliver(
    arrivals: asyncio.Queue[tuple[float, bytes]],
    sink: asyncio.StreamWriter,
    count: Callable[[int], None],
) -> None:
    while True:
        arrives_at, data = await arrivals.get()
        if not data:
            return
        await sleep_until(arrives_at)
        sink.write(data)
        count(len(data))
        await sink.drain()


async def sleep_until(moment: float) -> None:
    """Sleep until the running loop's clock shows `moment`; not at all when it is past."""
    left = moment - asyncio.get_running_loop().time()
    if left > 0:
        await asyncio.sleep(left)
