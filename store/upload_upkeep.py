"""What becomes of uploads that nobody goes on with, and of what a crash leaves of them."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial

from .database import Database
from .finisher import Finisher
from .parts import Parts
from .upload import Upload
from .upload_table import (
    all_open,
    find_expired,
    find_of,
    remove_expired,
    remove_open,
    remove_upload,
)


class UploadUpkeep:
    """Looks after the uploads of one store, beside whoever works on them."""

    def __init__(
        self,
        *,
        database: Database,
        parts: Parts,
        finisher: Finisher,
        executor: Executor,
        clock: Callable[[], float],
    ) -> None:
        """`executor` looks through folders."""
        self._database = database
        self._parts = parts
        self._finisher = finisher
        self._executor = executor
        self._clock = clock

    async def expire(self) -> int:
        """Remove uploads whose time is over, with their bytes; return how many were unfinished.

        One that is being written to stays. May run at any time, in several processes.

        Raises:
            StoreClosedError, StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        removed = 0
        last: Upload | None = None
        now = self._clock()
        while page := await self._database.read(partial(find_expired, now=now, after=last)):
            for upload in page:
                removed += await self._finisher.run(self._expire(upload, now))
            last = page[-1]
        return removed

    async def erase(self, tenant: str, end_user: str | None) -> int:
        """Remove the uploads of a tenant, or of one of its end users, with their bytes.

        Also those that are being written to: what still comes of them is lost. Returns how many were
        unfinished. May be called at any time, and again.

        Raises:
            StoreClosedError, StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        removed = 0
        last = ""
        while page := await self._database.read(
            partial(find_of, tenant=tenant, end_user=end_user, after=last)
        ):
            for upload in page:
                await self._finisher.run(self._erase(upload))
                removed += not upload.is_finished
            last = page[-1].id
        return removed

    async def reconcile(self) -> None:
        """Remove files that no open upload has, and uploads that have lost their file.

        Others may work on the folder meanwhile. A file is looked for after its row was read and the
        names are read before, so that nothing that is just made or finished is taken for a rest.

        Raises:
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        loop = asyncio.get_running_loop()
        names = await loop.run_in_executor(self._executor, self._parts.list)
        offsets = await self._database.read(all_open)

        def look() -> list[str]:
            for name in set(names) - set(offsets):
                self._parts.remove(name)
            return [
                upload_id
                for upload_id, offset in offsets.items()
                if offset and (self._parts.size_of(upload_id) or 0) < offset
            ]

        for upload_id in await loop.run_in_executor(self._executor, look):
            await self._database.run(partial(remove_open, upload_id=upload_id))
            await loop.run_in_executor(self._executor, self._parts.remove, upload_id)

    async def _erase(self, upload: Upload) -> None:
        """Remove the row, then the bytes: those that a crash leaves go when the store is next opened."""
        await self._database.run(partial(remove_upload, upload_id=upload.id))
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, self._parts.remove, upload.id)

    async def _expire(self, upload: Upload, now: float) -> bool:
        """Remove an upload, if it is still due; return whether bytes went that nobody has."""
        part = self._parts.part(upload.id)
        try:
            if not upload.is_finished and not await part.lock():
                return False
            removed = await self._database.run(lambda c: remove_expired(c, upload.id, now))
            if removed and not upload.is_finished:
                await part.remove()
            return removed and not upload.is_finished
        finally:
            await part.close()
