"""How an upload reaches its file: aiofiles beside hashing, or one thread that does both.

The store does the second, in slabs of a mebibyte (decision 0004). Without fsync, which costs the same either way.
"""

import asyncio
import hashlib
import os
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import aiofiles

from .finding import Finding

_SLAB_BYTES = 1024 * 1024
_SIZES = (2_600_000, 64_000_000)
_REPEATS = 15
_MAX_RATIO = 4.0


def measure_spooling(folder: Path) -> Iterator[Finding]:
    """Yield, for a photograph and for a large file, the ratio of the two times."""
    for size in _SIZES:
        beside, alone = asyncio.run(_compare(folder / "spooled", os.urandom(size)))
        compared = f"{beside * 1000:.1f} ms, one thread {alone * 1000:.1f} ms"
        name = f"spool {size / 1e6:g} MB, aiofiles / one thread"
        yield Finding(name, beside / alone, _MAX_RATIO, "x", compared)


async def _compare(path: Path, data: bytes) -> tuple[float, float]:
    slabs = [data[at : at + _SLAB_BYTES] for at in range(0, len(data), _SLAB_BYTES)]
    beside: list[float] = []
    alone: list[float] = []
    for _ in range(_REPEATS):
        beside.append(await _seconds(_with_aiofiles, path, slabs))
        alone.append(await _seconds(_in_one_thread, path, slabs))
    return statistics.median(beside), statistics.median(alone)


async def _seconds(
    way: Callable[[Path, list[bytes]], Awaitable[str]], path: Path, slabs: list[bytes]
) -> float:
    start = time.perf_counter()
    await way(path, slabs)
    seconds = time.perf_counter() - start
    await asyncio.to_thread(path.unlink)
    return seconds


async def _with_aiofiles(path: Path, slabs: list[bytes]) -> str:
    digest = hashlib.sha256()
    async with aiofiles.open(path, "xb") as file:
        for slab in slabs:
            await asyncio.gather(file.write(slab), asyncio.to_thread(digest.update, slab))
    return digest.hexdigest()


async def _in_one_thread(path: Path, slabs: list[bytes]) -> str:
    digest = hashlib.sha256()
    file = await asyncio.to_thread(path.open, "xb")
    for slab in slabs:
        await asyncio.to_thread(_take, file.write, digest.update, slab)
    await asyncio.to_thread(file.close)
    return digest.hexdigest()


def _take(write: Callable[[bytes], object], update: Callable[[bytes], object], slab: bytes) -> None:
    write(slab)
    update(slab)
