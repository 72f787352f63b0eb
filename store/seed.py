"""The seeds of this installation's checksums: 64 random bits each, kept from everybody else.

They stand in the index, which decides, and the newest one in a file that only the owner reads, from
which a new index takes it. Each seed has a version, and each blob says with which version its
checksums were made. A seed from the file is not believed for blobs whose seed the index has lost: it
may be another installation's, and would condemn good bytes. Those blobs' digests decide then.

A process that does not know a version looks it up before it lets the digest decide: another one may
have made a new seed meanwhile. Each looks once a minute, so that its uploads use the newest soon.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, delete, exists, func, select
from sqlalchemy.dialects.sqlite import insert

from .database import Database
from .durable import replace_private
from .errors import disk_error
from .file_lock import FileLock
from .schema import blobs, seeds

_SEED_BYTES: Final = 8
_BELIEVED_SECONDS: Final = 60.0
UNKNOWN_VERSION: Final = 0
"""No seed has it: the digest decides about checksums that are said to be made with it."""

MAX_VERSION: Final = 2**31
"""More than there ever are."""


@dataclass(frozen=True, slots=True)
class Seed:
    """One seed."""

    version: int
    value: int


class Seeds:
    """The seeds that this process knows; new checksums are made with the newest."""

    def __init__(
        self,
        database: Database,
        path: Path | None,
        known: Mapping[int, int],
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """Called by `open_seeds`."""
        self._database = database
        self._path = path
        self._random = random
        self._known = known
        self._clock = clock
        self._read_at = clock()

    @property
    def newest(self) -> Seed:
        """What new checksums are made with: take it once for each blob."""
        version = max(self._known)
        return Seed(version, self._known[version])

    async def find(self, version: int) -> Seed | None:
        """Return the seed of this version, looked up if need be; None when nobody has it.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        if version not in self._known and version != UNKNOWN_VERSION:
            self._known = await self._database.read(_read_all)
        value = self._known.get(version)
        return None if value is None else Seed(version, value)

    async def refresh(self) -> None:
        """Look the seeds up again, if that was a minute ago.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        now = self._clock()
        if not 0 <= now - self._read_at < _BELIEVED_SECONDS:
            self._read_at = now
            self._known = await self._database.read(_read_all)

    async def rotate(self) -> Seed:
        """Make a new seed and return it; the old ones stay for as long as anything uses them.

        It is in the index before anything uses it, and in the file after that. What is left between
        the two by a crash, the next open brings to an end.

        Raises:
            StoreFullError, StoreUnavailableError: the index or the file could not be written.
        """
        value = int.from_bytes(self._random(_SEED_BYTES))
        now = self._clock()
        self._known = await self._database.run(lambda c: _add_next(c, value, now))
        if self._path is not None:
            await asyncio.to_thread(_replace, self._path, self.newest)
        return self.newest

    async def forget_unused(self) -> int:
        """Forget old seeds that no blob's checksums are made with; return how many.

        Raises:
            StoreFullError, StoreUnavailableError: the index could not be written.
        """
        forgotten = await self._database.run(_forget_unused)
        self._known = await self._database.read(_read_all)
        return forgotten


async def open_seeds(
    database: Database,
    path: Path | None,
    *,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
) -> Seeds:
    """Read the seeds, make one where there is none, and bring the file up to date.

    Without a path there is no file.

    Raises:
        StoreFullError, StoreUnavailableError: the disk or the index failed.
    """
    try:
        in_file = await asyncio.to_thread(_read, path) if path else None
        known = await database.run(lambda c: _settle(c, in_file, clock(), random))
        version = max(known)
        if path and in_file != (version, known[version]):
            await asyncio.to_thread(_write, path, version, known[version])
    except OSError as error:
        raise disk_error(error) from error
    return Seeds(database, path, known, clock=clock, random=random)


def _settle(
    connection: Connection,
    in_file: tuple[int, int] | None,
    now: float,
    random: Callable[[int], bytes],
) -> Mapping[int, int]:
    known = _read_all(connection)
    used = _newest_used(connection)
    if in_file is not None and in_file[0] > max(used, *known, 0):
        added = in_file
    elif known and used <= max(known):
        return known
    else:
        added = (max(used, *known, 0) + 1, int.from_bytes(random(_SEED_BYTES)))
    _add(connection, added[0], added[1], now)
    return {**known, added[0]: added[1]}


def _read_all(connection: Connection) -> Mapping[int, int]:
    rows = connection.execute(select(seeds.c.version, seeds.c.seed))
    return {int(version): int.from_bytes(seed) for version, seed in rows}


def _newest_used(connection: Connection) -> int:
    return int(connection.execute(select(func.max(blobs.c.seed_version))).scalar_one() or 0)


def _add(connection: Connection, version: int, value: int, now: float) -> None:
    connection.execute(
        insert(seeds).values(version=version, seed=value.to_bytes(_SEED_BYTES), created_at=now)
    )


def _add_next(connection: Connection, value: int, now: float) -> Mapping[int, int]:
    known = _read_all(connection)
    version = max(_newest_used(connection), *known, 0) + 1
    _add(connection, version, value, now)
    return {**known, version: value}


def _forget_unused(connection: Connection) -> int:
    newest = max(_read_all(connection))
    unused = ~exists().where(blobs.c.seed_version == seeds.c.version)
    return connection.execute(delete(seeds).where(seeds.c.version < newest, unused)).rowcount


def _replace(path: Path, seed: Seed) -> None:
    """Write the file while nobody opens the folder, who would write it too."""
    gate = FileLock.wait(path.with_name("gate"))
    try:
        _write(path, seed.version, seed.value)
    except OSError as error:
        raise disk_error(error) from error
    finally:
        gate.close()


def _read(path: Path) -> tuple[int, int] | None:
    """Return what the file holds; `None` when it is absent or was damaged."""
    try:
        version, _, seed = path.read_text("ascii").strip().partition(" ")
        value = bytes.fromhex(seed)
        is_ours = len(value) == _SEED_BYTES and 0 < int(version) <= MAX_VERSION
        return (int(version), int.from_bytes(value)) if is_ours else None
    except (FileNotFoundError, ValueError):
        return None


def _write(path: Path, version: int, seed: int) -> None:
    replace_private(path, f"{version} {seed.to_bytes(_SEED_BYTES).hex()}\n".encode())
