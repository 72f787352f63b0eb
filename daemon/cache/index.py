"""The cache's index: which copies there are, what they take, and who used them last.

1. A file is a copy only while it has a row. Renaming and removing a file is part of the
   transaction that adds or removes its row, so no process ever sees one without the other.
2. Room is reserved before a byte is written, and the reservation stands until the copy's row does.
   So what a dead process left has one or the other, and is found by it.
3. Processes that share a folder change it one after another: the database has one writer.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Self

from sqlalchemy import Connection

from coatcheck.protocol import Digest
from coatcheck.store import Database, StoreError, StoreUnavailableError

from . import rows
from .config import CacheConfig
from .errors import NoRoomError
from .files import LOG_PAGES, CacheFiles
from .room import Resident, Taken, choose, expected_bytes
from .rows import Copy, Sums, Use

_log = logging.getLogger(__name__)
MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
_SEED_BYTES = 8
_NOTED_AT_ONCE = 256
_NOTED_AT_MOST = 16_384  # kept of what could not be written


class CacheIndex:
    """The rows beside the files. What it raises is the store's: StoreError."""

    def __init__(
        self, database: Database, files: CacheFiles, config: CacheConfig, seed: bytes
    ) -> None:
        self._database = database
        self._files = files
        self._config = config
        self.seed = int.from_bytes(seed)
        self._hot: OrderedDict[Digest, Copy] = OrderedDict()
        self._uses: dict[Digest, Use] = {}
        self._write_at = _NOTED_AT_ONCE
        self._noting: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls, files: CacheFiles, config: CacheConfig, random: Callable[[int], bytes]
    ) -> Self:
        """Open the index, or a new one.

        Raises:
            SchemaError: it is a newer program's, or damaged.
        """
        database = await Database.open(
            files.index_path, history="cache", synchronous="NORMAL", migrations=MIGRATIONS
        )
        try:
            seed = await database.run(lambda c: _set_up(c, random(_SEED_BYTES)))
        except BaseException:
            await database.close()
            raise
        return cls(database, files, config, seed)

    async def find(self, digest: Digest) -> Copy | None:
        """Return what is known of a copy; its file may be gone all the same."""
        known = self._hot.get(digest)
        if known is None:
            known = await self._database.read(lambda c: rows.find_copy(c, digest))
            if known is not None:
                self._remember(known)
        return known

    async def reserve(self, digest: Digest, size: int) -> list[Digest]:
        """Make room for a blob of this size; return the copies that went for it.

        Raises:
            NoRoomError: there is none to be had; nothing went.
        """
        wanted = expected_bytes(size)
        await self.write_notes()  # so that the order of use is the true one
        gone = await self._database.run(lambda c: self._make_room(c, digest, wanted))
        self._forget(gone)
        return gone

    async def commit(self, copy: Copy, publish: Callable[[], None]) -> list[Digest]:
        """Make a fetched blob a copy; `publish` gives its file the name. Ends the reservation.

        Returns the copies that went because the file takes more than was expected.

        Raises:
            NoRoomError: it takes more, and there is no more room.
            OSError: it cannot be published.
        """

        def work(connection: Connection) -> list[Digest]:
            rows.drop_reservation(connection, copy.digest)
            # Its bytes are on the disk already, so only the limit is asked.
            gone = self._clear(connection, self._taken(connection).over_limit(copy.allocated))
            if gone is None:
                raise NoRoomError(f"no room for {copy.allocated} bytes")
            rows.put_copy(connection, copy)
            publish()
            return gone

        gone = await self._database.run(work)
        self._forget(gone)
        self._remember(copy)
        return gone

    async def cancel(self, digest: Digest) -> None:
        """End the reservation for a blob that does not become a copy. May be called twice.

        Only for whoever holds the lock of its incoming file, which may have its name already: the
        transaction that gave it may have failed afterwards.
        """

        def work(connection: Connection) -> None:
            rows.drop_reservation(connection, digest)
            self._remove_uncounted(connection, digest)

        await self._database.run(work)

    async def drop(self, digest: Digest) -> bool:
        """Remove a copy, in use or not; return whether there was one.

        Raises:
            StoreUnavailableError: its file cannot be removed.
        """

        def work(connection: Connection) -> bool:
            self._files.remove(digest)
            return rows.drop_copy(connection, digest)

        self._forget([digest])
        try:
            return await self._database.run(work)
        except OSError as error:
            raise StoreUnavailableError(f"{digest} cannot be removed: {error}") from error
        finally:
            self._forget([digest])  # a `find` may have come in between

    async def drop_all(self) -> int:
        """Remove every copy; return how many there were.

        Raises:
            StoreUnavailableError: a file cannot be removed.
        """

        def work(connection: Connection) -> list[Digest]:
            found = [copy.digest for copy in rows.longest_unused(connection)]
            for digest in found:
                self._files.remove(digest)
                rows.drop_copy(connection, digest)
            return found

        try:
            gone = await self._database.run(work)
        except OSError as error:
            raise StoreUnavailableError(f"copies cannot be removed: {error}") from error
        self._forget(gone)
        return len(gone)

    async def newest(self, limit: int) -> list[Copy]:
        """Return up to `limit` copies, the one used last first."""
        await self.write_notes()
        return await self._database.read(lambda c: rows.newest_used(c, limit))

    async def sums(self) -> Sums:
        """Return the sums over all copies."""
        return await self._database.read(rows.read_sums)

    def note(self, digest: Digest, now: float, *, hits: int = 0, is_verified: bool = False) -> None:
        """Note a use of a copy; it is written later, many at once."""
        self._add(digest, Use(hits, now, now if is_verified else 0.0))
        if len(self._uses) >= self._write_at and (self._noting is None or self._noting.done()):
            self._noting = asyncio.create_task(self._write_in_background())

    async def write_notes(self) -> None:
        """Write what was noted; where that fails, it is noted still."""
        uses, self._uses = list(self._uses.items()), {}
        if not uses:
            return
        try:
            await self._database.run(partial(rows.note_uses, uses=uses))
        except StoreError:
            for digest, use in uses[-_NOTED_AT_MOST:]:
                self._add(digest, use)
            self._write_at = len(self._uses) + _NOTED_AT_ONCE
            raise
        self._write_at = _NOTED_AT_ONCE

    async def recover(self, *, is_alone: bool) -> None:
        """Clear what dead processes left; alone, also compare all rows with all files.

        Afterwards everything here is a whole copy or is being fetched by somebody alive.
        """

        def work(connection: Connection) -> None:
            self._reap(connection)
            if is_alone:
                self._compare(connection)
                self._clear(connection, self._taken(connection).over_limit(0))

        await self._database.run(work)

    async def close(self) -> None:
        """Write what was noted and close. May be called twice."""
        if self._noting is not None:
            await asyncio.gather(self._noting, return_exceptions=True)
        try:
            await self.write_notes()
        finally:
            await self._database.close()

    def _add(self, digest: Digest, use: Use) -> None:
        known = self._uses.setdefault(digest, Use())
        known.hits += use.hits
        known.last_used_at = max(known.last_used_at, use.last_used_at)
        known.verified_at = max(known.verified_at, use.verified_at)

    async def _write_in_background(self) -> None:
        try:
            await self.write_notes()
        except StoreError as error:
            _log.warning("uses of copies were not written yet: %s", error)

    def _make_room(self, connection: Connection, digest: Digest, wanted: int) -> list[Digest]:
        """Set aside `wanted` bytes in all for a blob."""
        rows.drop_reservation(connection, digest)
        shortfall = self._taken(connection).shortfall(wanted)
        if shortfall:
            self._reap(connection)
            shortfall = self._taken(connection).shortfall(wanted)
        gone = self._clear(connection, shortfall)
        if gone is None:
            raise NoRoomError(f"no room for {wanted} bytes")
        rows.put_reservation(connection, digest, wanted)
        return gone

    def _clear(self, connection: Connection, shortfall: int) -> list[Digest] | None:
        """Remove the copies used longest ago until enough went; None, and nothing, if it cannot."""
        gone: list[Digest] = []
        while shortfall > 0:
            with closing(rows.longest_unused(connection)) as unused:
                residents = (Resident(copy.digest, copy.allocated) for copy in unused)
                going = choose(residents, shortfall, self._may_go)
            if going is None:
                return None
            for resident in going:
                if self._remove(resident.digest):
                    rows.drop_copy(connection, resident.digest)
                    gone.append(resident.digest)
                    shortfall -= resident.allocated
        return gone

    def _may_go(self, resident: Resident) -> bool:
        claim = self._files.claim(resident.digest)
        if claim is None:
            return False
        claim.close()
        return True

    def _remove(self, digest: Digest) -> bool:
        claim = self._files.claim(digest)
        if claim is None:  # somebody has begun to read it since it was chosen
            return False
        with closing(claim):
            claim.remove()
        return True

    def _reap(self, connection: Connection) -> None:
        """End reservations and remove files of fetches whose process is gone."""
        for digest in {*rows.reserved_digests(connection), *self._files.orphans()}:
            dead = self._files.begin(digest)
            if dead is None:
                continue
            rows.drop_reservation(connection, digest)
            self._remove_uncounted(connection, digest)
            dead.close()

    def _remove_uncounted(self, connection: Connection, digest: Digest) -> None:
        """Remove a file that came by its name, and not by its row."""
        if rows.find_copy(connection, digest) is None:
            self._files.remove(digest)

    def _compare(self, connection: Connection) -> None:
        """Remove rows without their file, and files without a row; correct what files take."""
        found = self._files.copies()
        for copy in list(rows.longest_unused(connection)):
            size, allocated = found.pop(copy.digest, (-1, 0))
            if size != copy.size:
                self._files.remove(copy.digest)
                rows.drop_copy(connection, copy.digest)
            elif allocated != copy.allocated:
                rows.set_allocated(connection, copy, allocated)
        for digest in found:
            self._files.remove(digest)

    def _taken(self, connection: Connection) -> Taken:
        total = rows.read_sums(connection)
        return Taken(
            limit=self._config.max_bytes,
            copies=total.allocated,
            reserved=total.reserved,
            index=self._files.index_bytes(),
            disk_free=self._files.free_bytes() - self._config.min_free_bytes,
        )

    def _remember(self, copy: Copy) -> None:
        self._hot[copy.digest] = copy
        self._hot.move_to_end(copy.digest)
        while len(self._hot) > self._config.hot_entries:
            self._hot.popitem(last=False)

    def _forget(self, digests: list[Digest]) -> None:
        for digest in digests:
            self._hot.pop(digest, None)


def _set_up(connection: Connection, fresh_seed: bytes) -> bytes:
    """Keep SQLite's log short, since it counts as taken; return the seed."""
    connection.exec_driver_sql(f"PRAGMA wal_autocheckpoint={LOG_PAGES}").close()
    connection.exec_driver_sql(f"PRAGMA journal_size_limit={LOG_PAGES * 4096}").close()
    return rows.settle_seed(connection, fresh_seed)
