"""The ledger: which files of a provider's stand for which blobs, for each tenant and credential.

1. A row is a note, not a right: whoever asks has found in that very turn that the tenant holds the blob.
2. Each tenant has rows of its own, also where several share one key of a provider's: whether a file is
   there, and how long a turn takes, tells nobody what another tenant sent.
3. No credential and no file's name stands here, only keyed hashes of them.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, select, tuple_
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest
from coatcheck.store import Database, SchemaError

from .schema import files, secrets

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
FILE_NAME = "reuse.sqlite"
_ASKED_AT_ONCE = 300  # triples: SQLite takes a thousand variables where it is old
_SECRET_BYTES = 32

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FileKey:
    """What a file is of: a tenant's bytes, at one owner of a provider's, for one use."""

    tenant: str
    digest: Digest
    owner: str
    use: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What stands for a blob until a time, in Unix seconds; without a `file` its bytes do.

    `name` is what the provider's Files API calls the file.
    """

    file: str | None
    name: str | None
    until: float


@dataclass(frozen=True, slots=True)
class Noted:
    """A row, as the one who looks through them sees it."""

    key: FileKey
    original: Digest
    entry: Entry
    made_at: float


class Ledger:
    """The ledger of one folder, which several processes may share. What it raises is StoreError."""

    def __init__(self, database: Database, secret: bytes) -> None:
        """Called by `open`."""
        self._database = database
        self.secret = secret
        """What keys the hashes in it, the same for all processes of a folder; never shown."""

    @classmethod
    async def open(cls, path: Path | None, random: Callable[[int], bytes]) -> Self:
        """Open the file, or a new one; None: in memory. One that cannot be read begins anew.

        Raises:
            StoreError: the disk refused.
        """
        try:
            return await cls._open(path, random)
        except SchemaError as error:
            assert path is not None
            _log.warning("what providers keep is uploaded again: %s", error)
            for end in ("", "-wal", "-shm"):
                path.with_name(path.name + end).unlink(missing_ok=True)
            return await cls._open(path, random)

    @classmethod
    async def _open(cls, path: Path | None, random: Callable[[int], bytes]) -> Self:
        database = await Database.open(
            path, history="reuse", synchronous="NORMAL", migrations=MIGRATIONS
        )
        try:
            return cls(database, await database.run(lambda c: _secret(c, random)))
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        """Close the file. May be called twice."""
        await self._database.close()

    async def find(self, keys: Collection[FileKey], now: float) -> dict[FileKey, Entry]:
        """Return what is known and still holds; `keys` are one tenant's at one owner."""
        return await self._database.read(lambda c: _find(c, keys, now)) if keys else {}

    async def put(self, key: FileKey, original: Digest, entry: Entry, now: float) -> Entry:
        """Note an entry, unless another process has noted a file that still holds; return what is."""

        def work(connection: Connection) -> Entry:
            there = _find(connection, [key], now).get(key)
            if there and there.file is not None:
                return there
            values = {
                "original": original,
                "file": entry.file,
                "name": entry.name,
                "until": entry.until,
                "made_at": now,
            }
            putting = insert(files).values({**_columns(key), **values})
            upsert = putting.on_conflict_do_update(index_elements=list(_columns(key)), set_=values)
            connection.execute(upsert).close()
            return entry

        return await self._database.run(work)

    async def forget(self, entries: Mapping[FileKey, str]) -> None:
        """Remove entries whose file is still the one that is given: a newer one stays."""

        def work(connection: Connection) -> None:
            for key, file in entries.items():
                gone = delete(files).where(_is(key), files.c.file == file)
                connection.execute(gone).close()

        await self._database.run(work)

    async def page(self, after: FileKey | None, limit: int) -> list[Noted]:
        """Return up to `limit` rows in order of tenant and digest, behind the one given."""
        columns = files.c.tenant, files.c.digest, files.c.owner, files.c.use
        wanted = select(files).order_by(*columns).limit(limit)
        if after is not None:
            place = (after.tenant, after.digest, after.owner, after.use)
            wanted = wanted.where(tuple_(*columns) > place)
        return await self._database.read(lambda c: [_noted(row) for row in c.execute(wanted)])

    async def drop(self, keys: Iterable[FileKey]) -> None:
        """Remove rows."""

        def work(connection: Connection) -> None:
            for key in keys:
                connection.execute(delete(files).where(_is(key))).close()

        await self._database.run(work)

    async def trim(self, now: float, max_rows: int) -> None:
        """Remove rows that hold no more, and those made first beyond a number."""

        def work(connection: Connection) -> None:
            connection.execute(delete(files).where(files.c.until <= now)).close()
            count = connection.execute(select(func.count()).select_from(files)).scalar_one()
            if count <= max_rows:
                return
            columns = files.c.tenant, files.c.digest, files.c.owner, files.c.use
            oldest = select(*columns).order_by(files.c.made_at).limit(count - max_rows)
            connection.execute(delete(files).where(tuple_(*columns).in_(oldest))).close()

        await self._database.run(work)


def _secret(connection: Connection, random: Callable[[int], bytes]) -> bytes:
    made = insert(secrets).values(id=1, secret=random(_SECRET_BYTES)).on_conflict_do_nothing()
    connection.execute(made).close()
    secret: bytes = connection.execute(select(secrets.c.secret)).scalar_one()
    return secret


def _find(connection: Connection, keys: Collection[FileKey], now: float) -> dict[FileKey, Entry]:
    first, wanted = next(iter(keys)), list(keys)
    found: dict[FileKey, Entry] = {}
    for start in range(0, len(wanted), _ASKED_AT_ONCE):
        pairs = [(key.digest, key.use) for key in wanted[start : start + _ASKED_AT_ONCE]]
        rows = select(files).where(
            files.c.tenant == first.tenant,
            files.c.owner == first.owner,
            tuple_(files.c.digest, files.c.use).in_(pairs),
            files.c.until > now,
        )
        for row in connection.execute(rows):
            noted = _noted(row)
            found[noted.key] = noted.entry
    return found


def _noted(row: "Row[tuple[object, ...]]") -> Noted:
    key = FileKey(row.tenant, Digest(row.digest), row.owner, row.use)
    return Noted(key, Digest(row.original), Entry(row.file, row.name, row.until), row.made_at)


def _columns(key: FileKey) -> dict[str, str]:
    return {"tenant": key.tenant, "digest": key.digest, "owner": key.owner, "use": key.use}


def _is(key: FileKey) -> ColumnElement[bool]:
    return and_(*(files.c[name] == value for name, value in _columns(key).items()))
