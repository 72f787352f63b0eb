"""Reads whole blobs to compare them with their rows, at a pace, in bounded steps.

A step takes one turn of a thread: one piece of a large blob, or some small blobs.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from coatcheck.protocol import PIECE_BYTES, Hasher

from .backend import Backend, BlobFile
from .blob_rows import BlobFacts
from .errors import StoreError
from .quarantine import FoundBytes, read_all
from .seed import Seed

_SMALL_BYTES: Final = PIECE_BYTES // 4
_SMALL_AT_ONCE: Final = 32
LEAST_BYTES: Final = 4096
"""What a blob counts as at least: to find and open it costs as much as to read a page."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What reading one blob showed."""

    blob: BlobFacts
    found: FoundBytes | None
    """None: its bytes are gone, or cannot be read."""
    failure: StoreError | None = None
    """Why they cannot be read."""

    @property
    def is_as_said(self) -> bool:
        """Whether the index says just what was found; its checksums are of the newest seed then."""
        return self.found is not None and (
            (self.found.digest, self.found.size, self.found.checksums, self.found.seed_version)
            == (self.blob.digest, self.blob.size, self.blob.checksums, self.blob.seed_version)
        )


class Pace:
    """Bounds bytes per second. `monotonic` gives seconds, `pause` waits some."""

    def __init__(
        self,
        bytes_per_second: float | None,
        monotonic: Callable[[], float],
        pause: Callable[[float], Awaitable[None]],
    ) -> None:
        """Without a rate nothing waits."""
        self._rate = bytes_per_second
        self._monotonic = monotonic
        self._pause = pause
        self._free_at = monotonic()

    async def spend(self, count: int) -> None:
        """Wait until so many bytes may be read, counted from what was spent before."""
        if self._rate is None:
            return
        now = self._monotonic()
        begin = max(now, self._free_at)
        self._free_at = begin + count / self._rate
        if begin > now:
            await self._pause(begin - now)


async def read_blobs(
    backend: Backend, blobs: Sequence[BlobFacts], seed: Seed, executor: Executor, pace: Pace
) -> AsyncGenerator[Sequence[Reading]]:
    """Read blobs in their order and yield what was found, some at a time."""
    loop = asyncio.get_running_loop()
    for some in _steps(blobs):
        if some[0].size > _SMALL_BYTES:
            yield [await _read_large(backend, some[0], seed, executor, pace)]
        else:
            await pace.spend(sum(max(blob.size, LEAST_BYTES) for blob in some))
            yield await loop.run_in_executor(executor, _read_some, backend, some, seed)


def _steps(blobs: Sequence[BlobFacts]) -> list[list[BlobFacts]]:
    steps: list[list[BlobFacts]] = []
    room = 0
    for blob in blobs:
        is_small = blob.size <= _SMALL_BYTES
        if is_small and blob.size <= room and len(steps[-1]) < _SMALL_AT_ONCE:
            steps[-1].append(blob)
            room -= blob.size
        else:
            steps.append([blob])
            room = PIECE_BYTES - blob.size if is_small else -1
    return steps


def _read_some(backend: Backend, blobs: Sequence[BlobFacts], seed: Seed) -> list[Reading]:
    readings: list[Reading] = []
    for blob in blobs:
        try:
            readings.append(Reading(blob, read_all(backend, blob.digest, seed)))
        except StoreError as error:
            readings.append(Reading(blob, None, error))
    return readings


async def _read_large(
    backend: Backend, blob: BlobFacts, seed: Seed, executor: Executor, pace: Pace
) -> Reading:
    loop = asyncio.get_running_loop()
    pieces = _Pieces(backend, blob, seed)
    try:
        await pace.spend(PIECE_BYTES)
        while await loop.run_in_executor(executor, pieces.step):
            await pace.spend(PIECE_BYTES)
        return Reading(blob, pieces.found)
    except StoreError as error:
        return Reading(blob, None, error)
    finally:
        pieces.close()


class _Pieces:
    """One blob, read piece by piece. Blocking; by one thread at a time."""

    def __init__(self, backend: Backend, blob: BlobFacts, seed: Seed) -> None:
        self._backend = backend
        self._blob = blob
        self._seed = seed
        self._hasher = Hasher(seed.value)
        self._file: BlobFile | None = None
        self._buffer = memoryview(bytearray(PIECE_BYTES))
        self.found: FoundBytes | None = None

    def step(self) -> bool:
        """Read a piece; return whether there may be another."""
        if self._file is None:
            self._file = self._backend.open(self._blob.digest)
            if self._file is None:
                return False
        count = self._file.read_into(self._hasher.size, self._buffer)
        self._hasher.update(self._buffer[:count])
        if count == PIECE_BYTES:
            return True
        hasher = self._hasher
        self.found = FoundBytes(
            hasher.digest(), hasher.size, hasher.checksums(), self._seed.version
        )
        return False

    def close(self) -> None:
        """Let go of the file; a step that still runs, of a cancelled call, fails or ends."""
        if self._file is not None:
            self._file.close()
