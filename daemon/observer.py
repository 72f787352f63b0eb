"""The observer: reads what passed in a thread of its own, off the path of every request.

1. Bodies that are held are bounded in bytes; one beyond that is dropped, and its request still
   counted.
2. A body is held until it was read, which begins when all of it is there; then only digests and
   lengths remain.
3. What was read is written every few seconds, and at the end: a crash loses at most that.
"""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self, TypeAlias

from coatcheck.protocol import DIALECTS
from coatcheck.store import StoreError
from coatcheck.web import ProblemError, inflate, parse_codings

from .marks import TurnMarks
from .meters import Meters, NoMeters
from .observation import Observed, ObservedBody
from .observations import HOUR_SECONDS, Judged, ObservationLimits, Observations
from .observed_figures import Request
from .observed_turn import ObservedTurn, read_turn
from .turn import TurnLimits

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ObserverConfig:
    """Bounds of observing."""

    limits: ObservationLimits = field(default_factory=ObservationLimits)

    turn: TurnLimits = field(default_factory=TurnLimits)

    max_body_bytes: int = 128 * 1024 * 1024
    """The longest body that is read, inflated: as the gateway's `max_request_bytes`."""

    max_held_bytes: int = 256 * 1024 * 1024
    """Bodies that are still coming, or wait to be read: two of the largest. A thread reads some
    100 MB in a second."""

    max_waiting: int = 10_000
    """Requests that wait to be written, each with its digests: about 10 kB."""

    flush_seconds: float = 2.0
    """How long something read waits to be written."""


_Found: TypeAlias = tuple[ObservedTurn, TurnMarks]


@dataclass(slots=True)
class _Reading:
    """A body that is being read, or was; `observed` waits for it."""

    is_running: bool = True
    found: _Found | None = None
    observed: Observed | None = None


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
        self._running: set[asyncio.Future[_Found | None]] = set()
        self._held_bytes = 0
        self._waiting = 0
        self._unwritten: list[Judged] = []
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

    def read(self, body: ObservedBody) -> object:
        """Read a body in the thread; see `Observer.read`."""
        size = sum(map(len, body.chunks))
        if self._closing.is_set():
            self.give_room(size)
            return None
        running = asyncio.get_running_loop().run_in_executor(self._thread, self._read, body)
        self._running.add(running)
        reading = _Reading()
        running.add_done_callback(partial(self._done, reading, size))
        return reading

    def record(self, observed: Observed) -> None:
        """Take a request; see `Observer.record`."""
        is_lost = self._closing.is_set() or self._waiting >= self._config.max_waiting
        self._meters.observed(is_dropped=is_lost or observed.is_dropped)
        if is_lost:
            return
        self._waiting += 1
        reading = observed.reading
        if isinstance(reading, _Reading) and reading.is_running:
            reading.observed = observed
        else:
            self._join(observed, reading)

    async def flush(self) -> None:
        """Return when everything recorded before has been read and written, or cannot be."""
        if self._running:
            await asyncio.wait(self._running)
            await asyncio.sleep(0)  # their callbacks take what was read
        await self._write()

    async def close(self) -> None:
        """Read and write what was taken, and close the file. May be called twice."""
        if self._closing.is_set():
            return
        self._closing.set()
        await self._task
        await self.flush()
        self._thread.shutdown(wait=False)
        await self._observations.close()

    def _read(self, body: ObservedBody) -> "_Found | None":
        dialect = DIALECTS.get(body.dialect)
        if dialect is None:
            return None
        try:
            codings = parse_codings(body.content_encoding or "")
            raw = inflate(b"".join(body.chunks), codings, self._config.max_body_bytes)
        except ProblemError:
            return None
        turn = read_turn(raw, dialect, self._config.turn)
        if turn is None:
            return None
        return turn, self._observations.marker.marks(body.tenant, turn)

    def _done(
        self, reading: "_Reading", size: int, running: "asyncio.Future[_Found | None]"
    ) -> None:
        self._running.discard(running)
        self.give_room(size)
        reading.is_running = False
        if error := running.exception():
            _log.error("an observed body could not be read", exc_info=error)
        else:
            reading.found = running.result()
        if reading.observed:
            self._join(reading.observed, reading)

    def _join(self, observed: Observed, reading: object) -> None:
        found = reading.found if isinstance(reading, _Reading) else None
        turn, marks = found or (None, None)
        self._unwritten.append((Request.of(observed, turn), marks))

    async def _write_until_closed(self) -> None:
        while not self._closing.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._config.flush_seconds):
                    await self._closing.wait()
            await self._write()

    async def _write(self) -> None:
        async with self._writing:
            batch, self._unwritten = self._unwritten, []
            try:
                if batch:
                    await self._observations.write(batch)
            except StoreError as error:
                self._unwritten = batch + self._unwritten
                if not self._is_failing:
                    _log.warning("observations wait, they cannot be written: %s", error)
                self._is_failing = True
            else:
                self._is_failing = False
                self._waiting -= len(batch)
                await self._trim()

    async def _trim(self) -> None:
        now = self._clock()
        if now - self._trimmed_at < HOUR_SECONDS:
            return
        self._trimmed_at = now
        try:
            await self._observations.trim(now)
        except StoreError as error:
            _log.warning("old observations were not removed: %s", error)
