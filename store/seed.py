"""The seed of this installation's checksums: 64 random bits, kept from everybody else.

It stands in the index, which decides, and in a file that only the owner reads, from which a new
index takes it. Each seed has a version, and each blob says with which version its checksums
were made. A seed from the file is not believed for blobs whose seed the index has lost: it may
be another installation's, and would condemn good bytes. Those blobs' digests decide then.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects.sqlite import insert

from .database import Database
from .durable import let_go, sync_folder
from .errors import disk_error
from .schema import blobs, seeds

_SEED_BYTES = 8


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seeds that are known; new checksums are made with `current`."""

    version: int
    by_version: Mapping[int, int]

    @property
    def current(self) -> int:
        """The seed of the newest version."""
        return self.by_version[self.version]


async def open_seeds(
    database: Database, path: Path | None, *, now: float, random: Callable[[int], bytes]
) -> Seeds:
    """Read the seeds, make one where there is none, and bring the file up to date.

    Without a path there is no file.

    Raises:
        StoreFullError, StoreUnavailableError: the disk or the index failed.
    """
    try:
        in_file = await asyncio.to_thread(_read, path) if path else None
        known = await database.run(lambda c: _settle(c, in_file, now, random))
        version = max(known)
        if path and in_file != (version, known[version]):
            await asyncio.to_thread(_write, path, version, known[version])
    except OSError as error:
        raise disk_error(error) from error
    return Seeds(version, known)


def _settle(
    connection: Connection,
    in_file: tuple[int, int] | None,
    now: float,
    random: Callable[[int], bytes],
) -> dict[int, int]:
    known = {
        int(row.version): int.from_bytes(row.seed) for row in connection.execute(select(seeds))
    }
    used = connection.execute(select(func.max(blobs.c.seed_version))).scalar_one() or 0
    if in_file is not None and in_file[0] > max(used, *known, 0):
        added = in_file
    elif known and used <= max(known):
        return known
    else:
        added = (max(used, *known, 0) + 1, int.from_bytes(random(_SEED_BYTES)))
    version, seed = added
    connection.execute(
        insert(seeds).values(version=version, seed=seed.to_bytes(_SEED_BYTES), created_at=now)
    )
    return known | {version: seed}


def _read(path: Path) -> tuple[int, int] | None:
    """Return what the file holds; `None` when it is absent or was damaged."""
    try:
        version, _, text = path.read_text("ascii").strip().partition(" ")
        seed = bytes.fromhex(text)
        return (int(version), int.from_bytes(seed)) if len(seed) == _SEED_BYTES else None
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, version: int, seed: int) -> None:
    spooled = path.with_suffix(".new")
    spooled.unlink(missing_ok=True)
    descriptor = os.open(spooled, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        left = f"{version} {seed.to_bytes(_SEED_BYTES).hex()}\n".encode()
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    finally:
        let_go(descriptor)
    spooled.rename(path)
    sync_folder(path.parent)
