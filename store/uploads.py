"""Blobs received over several requests, to the same rules as in one (`receive.py`).

1. An upload's offset is on the disk, synced, before anybody is told of it: it survives `kill -9` and
   a power cut. What lies behind it in the file is dropped when the upload goes on.
2. A request that is cut off keeps what arrived.
3. One request at a time writes to an upload, in all processes; another is told so, and may be made
   at any process, in any order of processes.
4. Bytes are hashed as they come. Those that this process has not seen, after a restart or because another
   received them, are read from the disk once, before the upload becomes a blob.
5. A blob gets its name, its row and its grant as any other does, and nothing of what was promised
   otherwise is kept. Until its row says so the upload stays whole, and can be finished again.
6. A tenant has a bounded number of open uploads. What each declares, or has received, counts against the
   tenant's quota and the store's limit from its beginning on; disk is set aside while it is written.
7. Another tenant's upload is answered for like one that does not exist, after the same question.

Every method takes the tenant, and the id that `create` gave.
"""

from collections.abc import AsyncGenerator, AsyncIterable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from coatcheck.protocol import parse_media_type

from .allowance import Allowance, Allowances
from .appending import Appending
from .commit import Committer
from .counts import StoreCounts
from .database import Database
from .errors import (
    BlobNotFoundError,
    DigestMismatchError,
    StoreError,
    TooManyUploadsError,
    UploadLockedError,
    UploadLostError,
    UploadNotFoundError,
)
from .finisher import Finisher
from .grant import Receipt
from .index import Index
from .parts import Part, Parts
from .piece_buffers import PieceBuffers
from .probe import Probe, Probes
from .reception import Reception
from .seed import Seeds
from .sums import find_excess
from .upload import UPLOAD_ID_BYTES, NewUpload, Upload, check_size
from .upload_ending import UploadEnding
from .upload_table import (
    count_open,
    declare_length,
    find_owner,
    find_upload,
    forget_finished,
    insert_upload,
    move_offset,
    remove_upload,
)

_FINISHED_FOR_EACH = 10
"""Finished uploads that are remembered for each that a tenant may have open: their rows and what is said
of them are bounded too."""


@dataclass(frozen=True, slots=True)
class UploadTerms:
    """The bounds of uploads; see `StoreConfig`."""

    upload_seconds: float
    max_uploads_per_tenant: int
    max_blob_bytes: int


class Uploads:
    """The uploads in parts of one store."""

    def __init__(
        self,
        *,
        database: Database,
        index: Index,
        parts: Parts,
        reception: Reception,
        committer: Committer,
        seeds: Seeds,
        slabs: PieceBuffers,
        finisher: Finisher,
        allowances: Allowances,
        counts: StoreCounts,
        terms: UploadTerms,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """`slabs` lends buffers of `SLAB_BYTES`."""
        self._database = database
        self._index = index
        self._parts = parts
        self._reception = reception
        self._seeds = seeds
        self._slabs = slabs
        self._finisher = finisher
        self._allowances = allowances
        self._terms = terms
        self._clock = clock
        self._random = random
        self._probes = Probes()
        self._ending = UploadEnding(
            committer=committer,
            seeds=seeds,
            probes=self._probes,
            slabs=slabs,
            counts=counts,
            expiry=self._expiry,
        )

    @property
    def max_blob_bytes(self) -> int:
        """The most that an upload may have in all."""
        return self._terms.max_blob_bytes

    async def create(self, new: NewUpload) -> Upload:
        """Begin an upload; its id is told to nobody else.

        Raises:
            InvalidMediaTypeError: `media_type` is none (of the protocol).
            EmptyBlobError, BlobTooLargeError: no blob has the declared length.
            TooManyUploadsError: the tenant has as many open ones as it may.
            QuotaExceededError: the tenant would have more bytes than it may.
            StoreFullError: the declared length has no room.
            StoreUnavailableError: the disk or the index failed.
        """
        new = replace(new, media_type=new.media_type and parse_media_type(new.media_type))
        if new.length is not None:
            check_size(new.length, self.max_blob_bytes)
        upload_id = self._random(UPLOAD_ID_BYTES).hex()
        with self._reception.attend(), self._allowances.begin(new.tenant) as allowance:
            if new.length is not None:
                await allowance.cover(new.length)
                await self._check_disk(upload_id, new.length)
            allowance.begin_commit()
            return await self._finisher.run(self._insert(upload_id, new))

    async def stat(self, tenant: str, upload_id: str) -> Upload | None:
        """Return the upload; None where the tenant has none of this id. Keeps it no longer."""
        now = self._clock()
        return await self._database.read(lambda c: find_upload(c, upload_id, tenant, now))

    async def owner(self, upload_id: str) -> str | None:
        """Return whose upload this is; None where nobody has one of this id.

        For who has nothing to show but the id, where that was given to be enough.
        """
        now = self._clock()
        return await self._database.read(lambda c: find_owner(c, upload_id, now))

    async def append(
        self,
        tenant: str,
        upload_id: str,
        offset: int,
        body: AsyncIterable[bytes],
        *,
        size: int | None = None,
        length: int | None = None,
    ) -> Upload:
        """Append a body where the upload ends, which is `offset`; return how it is then.

        `size` is what the body is said to have, `length` what the upload will have in all, where that
        was not said before. However the call ends, what arrived is kept; with it the upload's time begins
        anew. It does not become a blob before `finish`.

        Raises:
            UploadNotFoundError: the tenant has no such upload.
            UploadOffsetError: it ends elsewhere; nothing was written.
            UploadLockedError: another request writes to it.
            UploadTooLongError, UploadLengthError, EmptyBlobError, BlobTooLargeError: it may not become
                so long; what was within the bounds is kept.
            QuotaExceededError, StoreFullError: there is no room for more; what was written stays.
            UploadLostError: the disk may have lost bytes; the upload has ended.
            StoreUnavailableError: the disk or the index failed.
            StoreClosedError: the store was closed meanwhile.
        """
        found = await self._require(tenant, upload_id)
        found.check_offset(offset)
        if found.is_finished:
            with self._reception.attend():
                async with self._reception.until_closed():
                    await self._take_nothing(found, body)
            return found
        with self._reception.attend(), self._allowances.begin(tenant) as allowance:
            part = self._parts.part(upload_id)
            appending: Appending | None = None
            try:
                found = await self._lock(part, found)
                found.check_offset(offset)
                found = await self._prepare(part, found, allowance, size, length)
                appending = self._appending(part, found, allowance)
                async with self._reception.until_closed():
                    await self._take(appending, found, body, allowance)
            finally:
                await self._finisher.run(self._end(part, found, appending))
        if appending.noted == offset:
            return found
        return replace(found, offset=appending.noted, expires_at=self._expiry())

    async def declare_length(self, tenant: str, upload_id: str, length: int) -> Upload:
        """Say how long an upload will be that did not know; saying the same again changes nothing.

        Raises:
            UploadNotFoundError, UploadLockedError: as for `append`.
            UploadLengthError, EmptyBlobError, BlobTooLargeError: it cannot be so long.
            QuotaExceededError, StoreFullError: there is no room for so much.
            StoreUnavailableError: the disk or the index failed.
        """
        with self._reception.attend():
            found = await self._require(tenant, upload_id)
            found.check_length(length, self.max_blob_bytes)
            if found.is_finished:
                return found
            return await self._finisher.run(self._declare_alone(found, length))

    async def finish(self, tenant: str, upload_id: str) -> Receipt:
        """Make the upload a blob that the tenant has, with a lease; return the same when it is one.

        An upload that never got a length ends where it is. When this returns, blob and grant survive
        a power cut. It goes on when its caller is cancelled.

        Raises:
            UploadNotFoundError, UploadLockedError: as for `append`.
            UploadIncompleteError: bytes are still to come.
            EmptyBlobError: it has none.
            DigestMismatchError: it is not what was promised; nothing of it is kept.
            QuotaExceededError: the tenant has as many bytes as it may. The upload stays.
            UploadLostError: the disk may have lost bytes; the upload has ended.
            StoreFullError, StoreUnavailableError: the disk or the index failed. The upload stays.
            BlobNotFoundError: it was finished before, and its blob was let go of.
        """
        with self._reception.attend():
            found = await self._require(tenant, upload_id)
            if found.is_finished:
                return await self._receipt(found)
            return await self._finisher.run(self._finish(found))

    async def terminate(self, tenant: str, upload_id: str) -> None:
        """End an upload and forget it. The blob that it became stays as any other does.

        Raises:
            UploadNotFoundError, UploadLockedError: as for `append`.
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        with self._reception.attend():
            found = await self._require(tenant, upload_id)
            await self._finisher.run(self._terminate(found))

    async def _require(self, tenant: str, upload_id: str) -> Upload:
        found = await self.stat(tenant, upload_id)
        if found is None:
            raise UploadNotFoundError
        return found

    def _expiry(self) -> float:
        return self._clock() + self._terms.upload_seconds

    async def _check_disk(self, upload_id: str, length: int) -> None:
        part = self._parts.part(upload_id)
        try:
            await part.reserve(length)
        finally:
            await self._finisher.run(part.close())

    async def _insert(self, upload_id: str, new: NewUpload) -> Upload:
        now, expiry = self._clock(), self._expiry()
        limit = self._terms.max_uploads_per_tenant
        quota = self._allowances.quota_bytes(new.tenant)

        def add(connection: Connection) -> Upload | StoreError:
            if count_open(connection, new.tenant, now) >= limit:
                return TooManyUploadsError(limit)
            if excess := find_excess(connection, new.tenant, new.length or 0, quota, now):
                return excess
            forget_finished(connection, new.tenant, keep=limit * _FINISHED_FOR_EACH)
            return insert_upload(connection, upload_id, new, now=now, expires_at=expiry)

        outcome = await self._database.run(add)
        if isinstance(outcome, StoreError):
            raise outcome
        return outcome

    async def _lock(self, part: Part, found: Upload) -> Upload:
        """Lock the part of an upload; return the upload as it is then.

        Raises:
            UploadLockedError: somebody else has it, or has finished it meanwhile: asked again, it is found.
            UploadNotFoundError: it has ended meanwhile.
        """
        if not await part.lock():
            raise UploadLockedError
        again = await self.stat(found.tenant, found.id)
        if again is None or again.is_finished:
            await part.remove()  # what locking has made
            raise UploadNotFoundError if again is None else UploadLockedError
        return again

    @asynccontextmanager
    async def _locked(self, found: Upload) -> AsyncGenerator[tuple[Part, Upload]]:
        """Lock an upload. Not to be cancelled."""
        part = self._parts.part(found.id)
        try:
            yield part, await self._lock(part, found)
        finally:
            await part.close()

    async def _prepare(
        self,
        part: Part,
        upload: Upload,
        allowance: Allowance,
        size: int | None,
        length: int | None,
    ) -> Upload:
        """See that a body of this size may come, and has room."""
        if length is not None:
            upload = await self._declare(upload, length, allowance)
        if size is not None:
            upload.check_end(upload.offset + size, self.max_blob_bytes)
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

    def _appending(self, part: Part, upload: Upload, allowance: Allowance) -> Appending:
        async def note(offset: int) -> None:
            expiry = self._expiry()
            allowance.begin_commit()
            await self._database.run(lambda c: move_offset(c, upload.id, offset, expiry))
            allowance.give_back()  # it stands in the row from now on

        probe = self._probes.take(upload.id, upload.offset)
        if probe is None and upload.offset == 0:
            probe = Probe(self._seeds)
        return Appending(part, probe, self._slabs, offset=upload.offset, note=note)

    async def _take(
        self,
        appending: Appending,
        upload: Upload,
        body: AsyncIterable[bytes],
        allowance: Allowance,
    ) -> None:
        async for chunk in body:
            end = appending.taken + len(chunk)
            upload.check_end(end, self.max_blob_bytes)
            if upload.length is None and not upload.is_section:
                await allowance.cover(end - appending.noted)
            await appending.take(chunk)

    async def _take_nothing(self, upload: Upload, body: AsyncIterable[bytes]) -> None:
        """Read a body that has to be empty, as a client sends it that lost the last answer."""
        async for chunk in body:
            upload.check_end(upload.offset + len(chunk), self.max_blob_bytes)

    async def _end(self, part: Part, upload: Upload, appending: Appending | None) -> None:
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
        upload.check_length(length, self.max_blob_bytes)
        if upload.length is None:
            if not upload.is_section:
                await allowance.cover(length - upload.offset)
            allowance.begin_commit()
            await self._database.run(lambda c: declare_length(c, upload.id, length))
            allowance.give_back()
        return replace(upload, length=length)

    async def _declare_alone(self, found: Upload, length: int) -> Upload:
        async with self._locked(found) as (_, upload):
            with self._allowances.begin(upload.tenant) as allowance:
                return await self._declare(upload, length, allowance)

    async def _finish(self, found: Upload) -> Receipt:
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

    async def _receipt(self, upload: Upload) -> Receipt:
        assert upload.digest is not None
        held = await self._index.find(upload.tenant, [upload.digest], self._clock())
        if upload.digest not in held:
            raise BlobNotFoundError(upload.digest)
        return Receipt(held[upload.digest].grant, created=False)

    async def _terminate(self, found: Upload) -> None:
        if found.is_finished:
            await self._database.run(lambda c: remove_upload(c, found.id))
            return
        async with self._locked(found) as (part, upload):
            await self._forget(upload, part)
