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

from collections.abc import AsyncIterable, Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from coatcheck.protocol import parse_media_type

from .allowance import Allowances
from .appending import Appending
from .commit import Committer
from .counts import StoreCounts
from .database import Database
from .errors import (
    BlobNotFoundError,
    StoreError,
    TooManyUploadsError,
    UploadNotFoundError,
)
from .finisher import Finisher
from .grant import Receipt
from .index import Index
from .parts import Parts
from .piece_buffers import PieceBuffers
from .probe import Probes
from .reception import Reception
from .seed import Seeds
from .sums import find_excess
from .upload import UPLOAD_ID_BYTES, NewUpload, Upload, check_size
from .upload_ending import UploadEnding
from .upload_table import (
    count_open,
    find_owner,
    forget_finished,
    insert_upload,
)
from .upload_work import UploadWork

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
        self._finisher = finisher
        self._allowances = allowances
        self._terms = terms
        self._clock = clock
        self._random = random
        probes = Probes()
        self._work = UploadWork(
            database=database,
            parts=parts,
            seeds=seeds,
            slabs=slabs,
            probes=probes,
            allowances=allowances,
            ending=UploadEnding(
                committer=committer,
                seeds=seeds,
                probes=probes,
                slabs=slabs,
                counts=counts,
                expiry=self._expiry,
            ),
            max_blob_bytes=terms.max_blob_bytes,
            clock=clock,
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
        return await self._work.find(tenant, upload_id)

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
                found = await self._work.lock(part, found)
                found.check_offset(offset)
                found = await self._work.prepare(part, found, allowance, size, length)
                appending = self._work.appending(part, found, allowance)
                async with self._reception.until_closed():
                    await self._work.take(appending, found, body, allowance)
            finally:
                await self._finisher.run(self._work.end(part, found, appending))
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
            return await self._finisher.run(self._work.declare(found, length))

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
            return await self._finisher.run(self._work.finish(found))

    async def terminate(self, tenant: str, upload_id: str) -> None:
        """End an upload and forget it. The blob that it became stays as any other does.

        Raises:
            UploadNotFoundError, UploadLockedError: as for `append`.
            StoreUnavailableError, StoreFullError: the disk or the index failed.
        """
        with self._reception.attend():
            found = await self._require(tenant, upload_id)
            await self._finisher.run(self._work.terminate(found))

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

    async def _take_nothing(self, upload: Upload, body: AsyncIterable[bytes]) -> None:
        """Read a body that has to be empty, as a client sends it that lost the last answer."""
        async for chunk in body:
            upload.check_end(upload.offset + len(chunk), self.max_blob_bytes)

    async def _receipt(self, upload: Upload) -> Receipt:
        assert upload.digest is not None
        held = await self._index.find(upload.tenant, [upload.digest], self._clock())
        if upload.digest not in held:
            raise BlobNotFoundError(upload.digest)
        return Receipt(held[upload.digest].grant, created=False)
