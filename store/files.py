"""Files: a name, a purpose and an expiry for a blob that a tenant holds, by an id of their own.

1. A file is a hold, so its blob lives as long as the file; two files may name one blob.
2. An id is 120 random bits, and opens nothing for another tenant: who asks for it does the same work
   and gets the same answer as for one that nobody has.
3. A file is dead from its expiry on; the sweep removes what is left of it.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from sqlalchemy import Connection

from coatcheck.protocol import FILE_ID_BYTES, Digest, file_id_of, is_file_id

from .cursor import read_file_cursor, write_cursor
from .database import Database
from .errors import BlobNotFoundError, StoredFileNotFoundError
from .file_rows import (
    FilePlace,
    FileRow,
    find_files,
    list_files,
    put_file,
    remove_file,
)
from .finisher import Finisher
from .grant import Grant, Page
from .held import find_held
from .hot import HotGrants
from .prompts import Prompts


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A live file. Times are unix seconds."""

    id: str
    filename: str | None
    purpose: str | None
    created_at: float
    expires_at: float | None
    """None: it does not expire."""
    grant: Grant
    """The grant that it holds, which describes the bytes."""

    @property
    def cursor(self) -> str:
        """Where a list goes on behind this file."""
        return write_cursor(self.created_at, self.id)


class Files:
    """The files of one store."""

    def __init__(
        self,
        *,
        database: Database,
        prompts: Prompts,
        hot: HotGrants,
        finisher: Finisher,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._database = database
        self._prompts = prompts
        self._hot = hot
        self._finisher = finisher
        self._clock = clock
        self._random = random

    async def create(
        self,
        tenant: str,
        digest: Digest,
        *,
        filename: str | None = None,
        purpose: str | None = None,
        expires_at: float | None = None,
        lifetime_seconds: float | None = None,
        file_id: str | None = None,
    ) -> StoredFile:
        """Make a file of a blob that the tenant holds. Each call makes another one.

        The caller bounds `filename` and `purpose`. With `lifetime_seconds`, which is said in place of
        `expires_at`, it expires so long after its creation. With a `file_id`, which nobody can guess,
        a call that is repeated returns the file that the first one made.

        Raises:
            BlobNotFoundError: the tenant holds no such blob.
            StoreFullError, StoreUnavailableError: the index cannot be written.
        """
        is_repeatable = file_id is not None
        file_id = file_id or file_id_of(self._random(FILE_ID_BYTES))
        now = self._clock()
        if lifetime_seconds is not None:
            expires_at = now + lifetime_seconds
        row = FileRow(file_id, digest, filename, purpose, now, expires_at)

        def add(connection: Connection) -> StoredFile:
            made = find_files(connection, tenant, [row.id], now) if is_repeatable else []
            if found := _with_grants(connection, tenant, made, now):
                return found[0]
            held = find_held(connection, tenant, [digest], now).get(digest)
            if held is None:
                raise BlobNotFoundError(digest)
            put_file(connection, tenant, row)
            return _stored(row, held.grant)

        async def work() -> StoredFile:
            try:
                return await self._database.run(add)
            finally:
                self._hot.forget(tenant, digest)

        return await self._finisher.run(work())

    async def find(self, tenant: str, file_id: str) -> StoredFile | None:
        """Return a file; None where the tenant has none with this id."""
        return (await self.find_many(tenant, [file_id])).get(file_id)

    async def find_many(self, tenant: str, file_ids: Collection[str]) -> dict[str, StoredFile]:
        """Return those of these files that the tenant has, in one question to the index.

        No use of their blobs. What can be no id of ours is not asked for.
        """
        wanted = [file_id for file_id in dict.fromkeys(file_ids) if is_file_id(file_id)]
        if not wanted:
            return {}
        now = self._clock()

        def find(connection: Connection) -> list[StoredFile]:
            rows = find_files(connection, tenant, wanted, now)
            return _with_grants(connection, tenant, rows, now)

        return {file.id: file for file in await self._database.read(find)}

    async def list(
        self,
        tenant: str,
        *,
        limit: int,
        after: str | None = None,
        purpose: str | None = None,
        oldest_first: bool = False,
    ) -> Page[StoredFile]:
        """Return up to `limit` of the tenant's files, the newest first, from a cursor on.

        `after` is the cursor of a page, or of a file.

        Raises:
            InvalidCursorError: it is neither.
            ValueError: `limit` is below one.
        """
        if limit < 1:
            raise ValueError(f"a page has at least one item, not {limit}")
        place = None if after is None else FilePlace(*read_file_cursor(after))
        now = self._clock()

        def find(connection: Connection) -> Page[StoredFile]:
            rows = list_files(
                connection,
                tenant,
                now,
                limit + 1,
                after=place,
                purpose=purpose,
                oldest_first=oldest_first,
            )
            found = _with_grants(connection, tenant, rows[:limit], now)
            return Page(found, found[-1].cursor if len(rows) > limit and found else None)

        return await self._database.read(find)

    async def remove(self, tenant: str, file_id: str) -> None:
        """End a file, and its grant where nothing else holds that.

        Raises:
            StoredFileNotFoundError: the tenant has no file with this id.
            StoreFullError, StoreUnavailableError: the index cannot be written.
        """
        await self._prompts.flush()  # their holds count from the append on
        now = self._clock()

        def end(connection: Connection) -> list[FileRow]:
            rows = find_files(connection, tenant, [file_id], now)
            for row in rows:
                remove_file(connection, tenant, row, now)
            return rows

        async def work() -> list[FileRow]:
            removed = await self._database.run(end)
            for row in removed:
                self._hot.forget(tenant, row.digest)
            return removed

        if not await self._finisher.run(work()):
            raise StoredFileNotFoundError(file_id)


def _with_grants(
    connection: Connection, tenant: str, rows: list[FileRow], now: float
) -> list[StoredFile]:
    """Return the files whose blobs are good."""
    held = find_held(connection, tenant, dict.fromkeys(row.digest for row in rows), now)
    return [_stored(row, held[row.digest].grant) for row in rows if row.digest in held]


def _stored(row: FileRow, grant: Grant) -> StoredFile:
    return StoredFile(row.id, row.filename, row.purpose, row.created_at, row.expires_at, grant)
