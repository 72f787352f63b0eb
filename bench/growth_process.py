"""One store with a large index: `python -m bench.growth_process fill|measure FOLDER BLOBS`.

`fill` writes the rows behind the store's back, in the order of their keys; the blobs have no bytes,
since what is measured asks the index alone. `measure` prints one JSON object.
"""

import asyncio
import json
import random
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import psutil

from coatcheck.protocol import Digest
from coatcheck.store import Store, StoreConfig, Swept

TENANT = "acme"
_DIGESTS = 1000
_PAGE = 100
_ROUNDS = 15
_SIZE = 150_000
_FAR = 86_400.0 * 30


def digest_of(number: int) -> Digest:
    """Return the digest of the blob with this number."""
    return Digest.of(b"%d" % number)


async def fill(folder: Path, blobs: int) -> None:
    """Write the rows that so many uploads leave."""
    async with await Store.open(_config(folder)):
        pass
    await asyncio.to_thread(_write_rows, folder / "index.sqlite", blobs, time.time())


def _write_rows(path: Path, blobs: int, now: float) -> None:
    digests = sorted(digest_of(number) for number in range(blobs))
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for pragma in ("synchronous=OFF", "cache_size=-200000"):
            database.execute(f"PRAGMA {pragma}")
        database.execute("BEGIN")
        database.execute("INSERT INTO tenants (tenant, created_at) VALUES (?, ?)", (TENANT, now))
        database.executemany(
            "INSERT INTO blobs (digest, size, sniffed_type, checksums, seed_version, state, "
            "generation, created_at, state_since) VALUES (?, ?, 'image/png', ?, 1, 'live', 1, ?, ?)",
            ((str(digest), _SIZE, b"x" * 16, now, now) for digest in digests),
        )
        database.executemany(
            "INSERT INTO grants (tenant, digest, created_at) VALUES (?, ?, ?)",
            ((TENANT, str(digest), now + at / 1e3) for at, digest in enumerate(digests)),
        )
        database.executemany(
            "INSERT INTO holds (tenant, digest, kind, name, expires_at, created_at) "
            "VALUES (?, ?, 'lease', '', ?, ?)",
            ((TENANT, str(digest), now + _FAR, now) for digest in digests),
        )
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()


async def measure(folder: Path, blobs: int) -> dict[str, float]:
    """Return the milliseconds of each question, and the bytes in memory at the end."""
    begun = time.perf_counter()
    store = await Store.open(_config(folder))
    opened = time.perf_counter() - begun
    try:
        found = {
            "start": opened * 1e3,
            "missing": await _missing(store, blobs),
            "page": await _page(store),
            "sweep": await _sweep(store),
        }
    finally:
        await store.close()
    return found | {"resident": float(psutil.Process().memory_info().rss)}


def _config(folder: Path) -> StoreConfig:
    return StoreConfig(folder, lease_seconds=int(_FAR))


async def _missing(store: Store, blobs: int) -> float:
    taken: list[float] = []
    for asked in _questions(blobs, random.Random(1)):
        begun = time.perf_counter()
        answer = await store.missing(TENANT, asked)
        taken.append(time.perf_counter() - begun)
        assert len(answer.missing) == _DIGESTS // 2
    return median(taken) * 1e3


def _questions(blobs: int, chance: random.Random) -> Iterator[list[Digest]]:
    """Yield lists of digests, half of them held, none of them asked for twice."""
    held = chance.sample(range(blobs), _ROUNDS * _DIGESTS // 2)
    for start in range(0, len(held), _DIGESTS // 2):
        asked = [digest_of(number) for number in held[start : start + _DIGESTS // 2]]
        asked += [Digest.of(chance.randbytes(8)) for _ in range(_DIGESTS // 2)]
        chance.shuffle(asked)
        yield asked


async def _page(store: Store) -> float:
    taken: list[float] = []
    cursor: str | None = None
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        page = await store.list_grants(TENANT, after=cursor, limit=_PAGE)
        taken.append(time.perf_counter() - begun)
        assert len(page.items) == _PAGE
        cursor = page.next_cursor
    return median(taken) * 1e3


async def _sweep(store: Store) -> float:
    taken: list[float] = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        assert await store.sweep.run() == Swept()
        taken.append(time.perf_counter() - begun)
    return median(taken) * 1e3


def main() -> None:
    """Fill or measure."""
    act, folder, blobs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if act == "fill":
        asyncio.run(fill(folder, blobs))
    else:
        print(json.dumps(asyncio.run(measure(folder, blobs))))


if __name__ == "__main__":
    main()
