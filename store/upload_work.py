"""What is done to one upload while nobody else may touch it, in this process or another.

`end`, `declare`, `finish` and `terminate` are not to be cancelled.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

from .allowance import Allowance, Allowances
from .appending import Appending
from .database import Database
from .errors import DigestMismatchError, UploadLockedError, UploadLostError, UploadNotFoundError
from .grant import Receipt
from .parts import Part, Parts
from .piece_buffers import PieceBuffers
from .probe import Probe, Probes
from .seed import Seeds
from .upload import Upload
from .upload_ending import UploadEnding
from .upload_table import declare_length, find_upload, move_offset, remove_upload


class UploadWork:
    """Works on one upload at a time, under its lock."""

    def __init__(
        self,
        *,
        database: Database,
        parts: Parts,
        seeds: Seeds,
        slabs: PieceBuffers,
        probes: Probes,
        allowances: Allowances,
        ending: UploadEnding,
        max_blob_bytes: int,
        clock: Callable[[], float],
        expiry: Callable[[], float],
    ) -> None:
        """`expiry` tells until when an upload stays that is written to now."""
        self._database = database
        self._parts = parts
        self._seeds = seeds
        self._slabs = slabs
        self._probes = probes
        self._allowances = allowances
        self._ending = ending
        self._max_blob_bytes = max_blob_bytes
        self._clock = clock
        self._expiry = expiry

    async def find(self, tenant: str, upload_id: str) -> Upload | None:
        """Return the upload; None where the tenant has none of this id."""
        now = self._clock()
        return await self._database.read(lambda c: find_upload(c, upload_id, tenant, now))

    async def lock(self, part: Part, found: Upload) -> Upload:
        """Lock the part of an upload; return the upload as it is then.

        Raises:
            UploadLockedError: somebody else has it, or has finished it meanwhile: asked again, it is found.
            UploadNotFoundError: it has ended meanwhile.
        """
        if not await part.lock():
            raise UploadLockedError
        again = await self.find(found.tenant, found.id)
        if again is None or again.is_finished:
            await part.remove()  # what locking has made
            raise UploadNotFoundError if again is None else UploadLockedError
        return again

    @asynccontextmanager
    async def _locked(self, found: Upload) -> AsyncGenerator[tuple[Part, Upload]]:
        """Lock an upload. Not to be cancelled."""
        part = self._parts.part(found.id)
        try:
            yield part, await self.lock(part, found)
        finally:
            await part.close()

    async def prepare(
        self,
        part: Part,
        upload: Upload,
        allowance: Allowance,
        size: int | None,
        length: int | None,
    ) -> Upload:
        """See that a body of this size may come, and has room; return the upload as it is then.

        Raises:
            UploadNotFoundError: its bytes are gone.
            UploadTooLongError, UploadLengthError, EmptyBlobError, BlobTooLargeError: it may not be so long.
            QuotaExceededError, StoreFullError, StoreUnavailableError: there is no room.
        """
        if length is not None:
            upload = await self._declare(upload, length, allowance)
        if size is not None:
            upload.check_end(upload.offset + size, self._max_blob_bytes)
        if upload.length is None and not upload.is_section:
            await allowance.cover(size or 0)
        await self._resume(part, upload)
        await part.reserve((size or 0) if upload.length is None else upload.length - upload.offset)
        return upload

    async def _resume(self, part: Part, upload: Upload) -> None:
        await self._seeds.refresh()
        if not await part.resume(upload.offset):
            await self._forget(upload, part)
            raise UploadNotFoundError

    def appending(self, part: Part, upload: Upload, allowance: Allowance) -> Appending:
        """Return what appends to an upload that was prepared."""

        async def note(offset: int) -> None:
            expiry = self._expiry()
            allowance.begin_commit()
            await self._database.run(lambda c: move_offset(c, upload.id, offset, expiry))
            allowance.give_back()  # it stands in the row from now on

        probe = self._probes.take(upload.id, upload.offset)
        if probe is None and upload.offset == 0:
            probe = Probe(self._seeds)
        return Appending(part, probe, self._slabs, offset=upload.offset, note=note)

    async def take(
        self,
        appending: Appending,
        upload: Upload,
        body: AsyncIterable[bytes],
        allowance: Allowance,
    ) -> None:
        """Append a body.

        Raises what `Uploads.append` raises for its length, and the store's room.
        """
        async for chunk in body:
            end = appending.taken + len(chunk)
            upload.check_end(end, self._max_blob_bytes)
            if upload.length is None and not upload.is_section:
                await allowance.cover(end - appending.noted)
            await appending.take(chunk)

    async def end(self, part: Part, upload: Upload, appending: Appending | None) -> None:
        """Bring to the disk what arrived, and let the upload go."""
        try:
            if appending is not None:
                await self._settle(part, upload, appending)
        finally:
            await part.close()

    async def _settle(self, part: Part, upload: Upload, appending: Appending) -> None:
        try:
            await appending.settle()
        finally:
            if appending.is_lost:
                await self._forget(upload, part)
            elif appending.probe is not None:
                self._probes.keep(upload.id, appending.probe)

    async def _forget(self, upload: Upload, part: Part) -> None:
        await self._database.run(lambda c: remove_upload(c, upload.id))
        await part.remove()

    async def _declare(self, upload: Upload, length: int, allowance: Allowance) -> Upload:
        upload.check_length(length, self._max_blob_bytes)
        if upload.length is None:
            if not upload.is_section:
                await allowance.cover(length - upload.offset)
            allowance.begin_commit()
            await self._database.run(lambda c: declare_length(c, upload.id, length))
            allowance.give_back()
        return replace(upload, length=length)

    async def declare(self, found: Upload, length: int) -> Upload:
        """Lock an upload and say how long it will be; raises what `Uploads.declare_length` does."""
        async with self._locked(found) as (_, upload):
            with self._allowances.begin(upload.tenant) as allowance:
                return await self._declare(upload, length, allowance)

    async def finish(self, found: Upload) -> Receipt:
        """Lock an upload and make it a blob; raises what `Uploads.finish` does."""
        async with self._locked(found) as (part, upload):
            upload.check_complete()
            await self._resume(part, upload)
            if upload.length is None:  # before the file gets a second name: it never grows again
                with self._allowances.begin(upload.tenant) as allowance:
                    upload = await self._declare(upload, upload.offset, allowance)
            try:
                return await self._ending.become_blob(part, upload)
            except (DigestMismatchError, UploadLostError):
                await self._forget(upload, part)
                raise

    async def terminate(self, found: Upload) -> None:
        """Lock an upload that is not finished, and forget it; raises what `Uploads.terminate` does."""
        if found.is_finished:
            await self._database.run(lambda c: remove_upload(c, found.id))
            return
        async with self._locked(found) as (part, upload):
            await self._forget(upload, part)
