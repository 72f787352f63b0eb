"""The observer: reads what passed in a thread of its own, off the path of every request.

1. Bodies that wait are bounded in bytes and in number; one is read at a time, so at most one is
   inflated. What is beyond that, or larger than is read, is dropped, and its request still counted.
2. A body is held until it was read, which begins when all of it is there; then only digests and
   lengths remain, bounded in number too.
3. Reading rests more than it works, so that turns are not kept waiting; see `pace.py`.
4. What was read is written every few seconds, and at the end: a crash loses at most that. Closing
   takes a bounded time: what is not read by then is dropped, and counted.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

from coatcheck.store import StoreError

from .errors import ReadingStoppedError, TooLargeError
from .meters import Meters, NoMeters
from .observation import Observed, ObservedBody, ObservedRequest
from .observations import HOUR_SECONDS, Judged, ObservationLimits, Observations
from .observed_body import FoundTurn, read_observed
from .observed_figures import Request
from .observed_turn import ReadLimits
from .pace import Pace

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObserverConfig:
    """Bounds of observing."""

    limits: ObservationLimits = field(default_factory=ObservationLimits)

    read: ReadLimits = field(default_factory=ReadLimits)

    max_held_bytes: int = 256 * 1024 * 1024
    """Bodies that are still coming, or wait to be read, as they came."""

    max_bodies: int = 1000
    """Bodies that wait to be read: some seconds' work."""

    max_waiting: int = 10_000
    """Requests that wait to be written."""

    max_waiting_marks: int = 100_000
    """Of all of these, and so in each interval: 10 MB. A turn has three for each message."""

    close_seconds: float = 2.0
    """How long closing reads and writes on."""

    flush_seconds: float = 2.0
    """How long something read waits to be written."""


# A transaction holds the file's lock for some 100 ms; a turn is never divided.
_MARKS_AT_ONCE = 10_000


@dataclass(slots=True)
class _Reading:
    """A body that is being read, or was; `observed` waits for it."""

    is_running: bool = False
    is_dropped: bool = False
    found: FoundTurn | None = None
    observed: Observed | None = None


@dataclass(frozen=True, slots=True)
class _Unwritten:
    """A request that waits to be written."""

    request: Request
    found: FoundTurn | None

    @property
    def mark_count(self) -> int:
        return self.found.mark_count if self.found else 0

    @property
    def judged(self) -> Judged:
        return self.request, self.found.marks if self.found else None

    def without_turn(self) -> "_Unwritten":
        """Keep what is known without its body."""
        return _Unwritten(self.request.dropped(), None) if self.found else self


class RecordingObserver:
    """An `Observer` that keeps what it learns in a file. It belongs to the loop it was opened in."""

    def __init__(
        self,
        observations: Observations,
        config: ObserverConfig,
        meters: Meters,
        clock: Callable[[], float],
    ) -> None:
        """Called by `open`."""
        self._observations = observations
        self._config = config
        self._meters = meters
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="coatcheck-observe")
        self._pace = Pace()
        self._running: set[asyncio.Future[FoundTurn | None]] = set()
        self._held_bytes = 0
        self._waiting = 0
        self._waiting_marks = 0
        self._unwritten: deque[_Unwritten] = deque()
        self._ends_at = float("inf")
        self._writing = asyncio.Lock()
        self._trimmed_at = float("-inf")
        self._is_failing = False
        self._closing = asyncio.Event()
        self._task = asyncio.create_task(self._write_until_closed())

    @classmethod
    async def open(
        cls,
        path: Path | None,
        config: ObserverConfig | None = None,
        *,
        meters: Meters | None = None,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Self:
        """Open the file, or a new one in memory. `clock` gives Unix seconds.

        Raises:
            StoreError: the file is not ours, or the disk refused.
        """
        config = config or ObserverConfig()
        observations = await Observations.open(path, config.limits, random)
        return cls(observations, config, meters or NoMeters(), clock)

    def take_room(self, size: int) -> bool:
        """Take room for bytes; see `Observer.take_room`."""
        has_room = self._held_bytes + size <= self._config.max_held_bytes
        self._held_bytes += size if has_room else 0
        return has_room

    def give_room(self, size: int) -> None:
        """Give room back; see `Observer.give_room`."""
        self._held_bytes -= size

    def read(self, body: ObservedBody | ObservedRequest) -> object:
        """Read a body in the thread; see `Observer.read`."""
        if self._closing.is_set() or len(self._running) >= self._config.max_bodies:
            self.give_room(body.size)
            return _Reading(is_dropped=True)
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._read, body)
        self._running.add(running)
        reading = _Reading(is_running=True)
        running.add_done_callback(partial(self._done, reading, body.size))
        return reading

    def record(self, observed: Observed) -> None:
        """Take a request; see `Observer.record`."""
        if self._closing.is_set() or self._waiting >= self._config.max_waiting:
            self._meters.observed(is_dropped=True)
            return
        self._waiting += 1
        reading = observed.reading
        if isinstance(reading, _Reading) and reading.is_running:
            reading.observed = observed
        else:
            self._join(observed, reading)

    async def flush(self) -> None:
        """Return when everything recorded before has been read and written, or cannot be."""
        await self._finish_reading(None)
        await self._write()

    async def close(self) -> None:
        """Read and write what was taken, for some seconds, and close the file.

        May be called twice.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        seconds = self._config.close_seconds
        self._ends_at = asyncio.get_running_loop().time() + seconds
        await self._finish_reading(seconds / 2)
        self._pace.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)
        await self._finish_reading(None)
        await self._task
        await self._write()
        await self._observations.close()

    async def _finish_reading(self, seconds: float | None) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
            await asyncio.sleep(0)  # their callbacks take what was read

    def _read(self, body: ObservedBody | ObservedRequest) -> FoundTurn | None:
        self._pace.begin()
        return read_observed(body, self._observations.marker, self._config.read, self._pace.step)

    def _done(
        self, reading: _Reading, size: int, running: "asyncio.Future[FoundTurn | None]"
    ) -> None:
        self._running.discard(running)
        self.give_room(size)
        reading.is_running = False
        error = None if running.cancelled() else running.exception()
        if running.cancelled() or isinstance(error, TooLargeError | ReadingStoppedError):
            reading.is_dropped = True
        elif error:
            _log.error("an observed body could not be read", exc_info=error)
        else:
            reading.found = running.result()
        if reading.observed:
            self._join(reading.observed, reading)

    def _join(self, observed: Observed, reading: object) -> None:
        found, is_dropped = None, observed.is_dropped
        if isinstance(reading, _Reading):
            found, is_dropped = reading.found, is_dropped or reading.is_dropped
        if found and self._waiting_marks + found.mark_count > self._config.max_waiting_marks:
            found, is_dropped = None, True
        self._meters.observed(is_dropped=is_dropped)
        turn = found.turn if found else None
        self._put(_Unwritten(Request.of(observed, turn, is_dropped=is_dropped), found))

    def _put(self, item: _Unwritten) -> None:
        self._waiting_marks += item.mark_count
        self._unwritten.append(item)

    async def _write_until_closed(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.flush_seconds):
                    await self._closing.wait()
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            is_written = True
            while is_written and self._unwritten:
                is_written = await self._write_some()
            if is_written:
                await self._trim()

    async def _write_some(self) -> bool:
        """Write the oldest of what waits; False where that failed, and it waits on."""
        if asyncio.get_running_loop().time() >= self._ends_at:
            self._forget_turns()
        some = self._take_some()
        try:
            prefixes = await self._observations.write([item.judged for item in some])
        except StoreError as error:
            self._unwritten.extendleft(reversed(some))
            self._waiting_marks += sum(item.mark_count for item in some)
            if not self._is_failing:
                _log.warning("observations wait, they cannot be written: %s", error)
            self._is_failing = True
        else:
            self._is_failing = False
            self._waiting -= len(some)
            for item, outcome in zip(some, prefixes, strict=True):
                if outcome is not None:
                    self._meters.prefix(item.request.upstream, outcome)
        return not self._is_failing

    def _take_some(self) -> list[_Unwritten]:
        some: list[_Unwritten] = []
        room = _MARKS_AT_ONCE
        while self._unwritten and (not some or self._unwritten[0].mark_count <= room):
            item = self._unwritten.popleft()
            some.append(item)
            room -= item.mark_count
            self._waiting_marks -= item.mark_count
        return some

    def _forget_turns(self) -> None:
        """Count what waits in bytes only: there is no time to judge it."""
        waiting, self._unwritten = self._unwritten, deque[_Unwritten]()
        self._waiting_marks = 0
        for item in waiting:
            self._put(item.without_turn())

    async def _trim(self) -> None:
        now = self._clock()
        if now - self._trimmed_at < HOUR_SECONDS:
            return
        self._trimmed_at = now
        try:
            await self._observations.trim(now)
        except StoreError as error:
            _log.warning("old observations were not removed: %s", error)
