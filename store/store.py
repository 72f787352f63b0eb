"""The store as others use it: blobs in, grants and verified bytes out, prompts kept.

1. A blob is answered for only to a tenant that holds a live grant for it. For any other digest
   every method does the same work and gives the same answer, whether the blob exists or not.
2. Every resource here is opened by `Store.open` and closed by `close`, in reverse order.
3. A change that was begun comes to its end, also when its caller is cancelled.

A store belongs to the event loop that opened it.
"""

import asyncio
import secrets
import time
from collections.abc import AsyncIterable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from coatcheck.protocol import PIECE_BYTES, Digest

from .backend import Measured
from .body_spool import BodySpools
from .census import Census
from .check import Check
from .config import StoreConfig
from .counts import StoreCounts
from .erase import Erasure
from .errors import (
    BlobNotFoundError,
    CorruptBlobError,
    DigestMismatchError,
    StoreClosedError,
    StoreFullError,
)
from .files import Files
from .grant import Grant, HeldBlob, Hold, Missing, Page, Receipt, StoreStats
from .keys import Keys
from .leases import Leases
from .piece_buffers import PieceBuffers
from .promise import Promise
from .prompts import Prompts
from .reader import BlobReader
from .reconcile import Reconcile
from .recovery import Recovery
from .resources import Resources, open_resources
from .responses import Responses
from .scrub import Scrub
from .sections import Sections
from .shared_folder import SharedFolder
from .signed_urls import SignedUrls
from .sweep import Sweep
from .term import Term
from .uploads import Uploads


class Store:
    """Blobs by tenant and digest. Times are unix seconds, of the clock given to `open`."""

    def __init__(self, resources: Resources, stack: AsyncExitStack) -> None:
        """Called by `open`."""
        self._backend = resources.backend
        self._index = resources.index
        self._seeds = resources.seeds
        self._hot = resources.hot
        self._quarantine = resources.quarantine
        self._finisher = resources.finisher
        self._receiver = resources.receiver
        self._reception = resources.reception
        self._reading = resources.reading
        self._clock = resources.clock
        self.config: StoreConfig = resources.config
        """What it was opened with."""
        self._buffers = PieceBuffers()
        self._lease = Term(resources.config.lease_seconds)
        self._leases = Leases(
            index=self._index,
            hot=self._hot,
            finisher=self._finisher,
            term=self._lease,
            clock=self._clock,
        )
        self._census = Census(
            self._index,
            resources.prompts,
            seconds=resources.config.count_seconds,
            clock=self._clock,
        )
        self._stack = stack
        self._closed = False
        self.prompts: Prompts = resources.prompts
        """The prompts kept beside the blobs."""
        self.responses: Responses = resources.responses
        """What the answers among them are called."""
        self.keys: Keys = resources.keys
        """Who may ask a server of this store."""
        self.signed_urls: SignedUrls = resources.signed_urls
        """What signs URLs that open a blob without a key."""
        self.sweep: Sweep = resources.sweep
        """What removes what nothing holds any more."""
        self.scrub: Scrub = resources.scrub
        """What verifies every blob."""
        self.reconcile: Reconcile = resources.reconcile
        """What brings files and rows to agree."""
        self.examination: Check = resources.check
        """What looks at all of it and says what is wrong."""
        self.recovery: Recovery = resources.recovery
        """What reconciles after an end that was not clean."""
        self.files: Files = resources.files
        """Files: names, purposes and expiries for blobs."""
        self.erasure: Erasure = resources.erasure
        """What removes all that there is of a tenant or of an end user."""
        self.uploads: Uploads = resources.uploads
        """Blobs that are received over several requests."""
        self.sections: Sections = resources.sections
        """What such blobs come in, where it comes in any order."""
        self.bodies: BodySpools = resources.bodies
        """Where a body is set aside until it is known whose it is."""
        self.counts: StoreCounts = resources.counts
        """What was counted since the store was opened."""

    @classmethod
    async def open(
        cls,
        config: StoreConfig,
        *,
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = secrets.token_bytes,
        shared: SharedFolder | None = None,
    ) -> Self:
        """Open the data folder, making it if need be, and clear what dead processes left.

        Given the `shared` folder, which stays the caller's, several stores work on it together, each
        in a process of its own or not. Without, the store has it for itself.

        Raises:
            FolderInUseError: another store has the folder open.
            SchemaError: the folder belongs to a newer program.
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        async with AsyncExitStack() as stack:
            resources = await open_resources(config, stack, clock, random, shared)
            return cls(resources, stack.pop_all())

    @property
    def max_blob_bytes(self) -> int:
        """The most that a blob may have."""
        return self.config.max_blob_bytes

    async def close(self) -> None:
        """End what was begun, write the prompts that wait, let go of everything.

        May be called twice. Uploads still being received fail with `StoreClosedError`.
        """
        if not self._closed:
            self._closed = True
            await self._stack.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def receive(
        self,
        tenant: str,
        body: AsyncIterable[bytes],
        *,
        declared_type: str | None = None,
        expected: Digest | None = None,
        expected_size: int | None = None,
        end_user: str | None = None,
    ) -> Receipt:
        """Receive a blob and grant it to the tenant, with a lease: the only way in.

        When it returns, the bytes and the grant survive a power cut. Declaring a type again
        replaces the one declared before; declaring none keeps it. `end_user` is whom the tenant uploads
        it for, in its own words. A cancelled call keeps nothing, unless the body was already complete
        and verified.

        Raises:
            InvalidMediaTypeError: `declared_type` is not a media type (of the protocol).
            EmptyBlobError, BlobTooLargeError: the body is out of bounds; nothing was kept.
            SizeMismatchError, DigestMismatchError: it is not what was expected; nothing was kept.
            QuotaExceededError: the tenant has as many bytes as it may; nothing was granted.
            StoreFullError: no room; nothing was kept and nothing was lost.
            StoreUnavailableError: the disk or the index failed.
        """
        self._require_open()
        promise = Promise(declared_type, expected, expected_size, end_user)
        try:
            receipt = await self._receiver.receive(tenant, body, promise)
        except DigestMismatchError:
            self.counts.mismatched_uploads += 1
            raise
        self.counts.received_blobs += 1
        self.counts.received_bytes += receipt.grant.size
        return receipt

    async def stat(self, tenant: str, digest: Digest) -> Grant | None:
        """Return the tenant's live grant for a blob; does not count as a use."""
        self._require_open()
        held = (await self._leases.find(tenant, [digest])).get(digest)
        return held.grant if held else None

    async def stat_many(
        self, tenant: str, digests: Sequence[Digest], *, renew: bool = True
    ) -> dict[Digest, Grant]:
        """Return the live grants among these digests; each is used, which renews its lease.

        Without `renew` none is.

        A disk that is full keeps a lease from being renewed, not a blob from being used.
        """
        self._require_open()
        ask = self._leases.use if renew else self._leases.find
        used = await ask(tenant, digests)
        return {digest: held.grant for digest, held in used.items()}

    async def open_blob(
        self, tenant: str, digest: Digest, *, start: int = 0, renew: bool = True
    ) -> BlobReader:
        """Open a blob and verify the piece that holds byte `start`.

        Counts as a use and renews the lease, unless `renew` is false: a page that shows pictures
        keeps none of them. The caller closes the reader.

        Raises:
            BlobNotFoundError: the tenant holds no such blob, or (`CorruptBlobError`) its bytes
                are damaged and were put in quarantine.
            StoreUnavailableError: the bytes cannot be read.
        """
        self._require_open()
        ask = self._leases.use if renew else self._leases.find
        held = (await ask(tenant, [digest])).get(digest)
        if held is None:
            raise BlobNotFoundError(digest)
        try:
            reader = await self._open(held, start)
        except CorruptBlobError:
            # It may have been the index that was damaged, and is mended now.
            again = (await self._leases.find(tenant, [digest])).get(digest)
            if again is None or _facts(again) == _facts(held):
                raise
            reader = await self._open(again, start)
        self.counts.opened_blobs += 1
        return reader

    async def _open(self, held: HeldBlob, start: int) -> BlobReader:
        seed = await self._seeds.find(held.seed_version)
        if seed is None:
            held = await self._recheck(held)
            seed = await self._seeds.find(held.seed_version)
            assert seed is not None, "the digest has decided, and given it the newest"
        reader = BlobReader(
            held, seed.value, self._backend, self._buffers, self._reading, self._report
        )
        return await reader.open(min(start, held.grant.size - 1) // PIECE_BYTES)

    async def missing(
        self, tenant: str, digests: Sequence[Digest], *, end_user: str | None = None
    ) -> Missing:
        """Say which of the digests the tenant has to upload; the others get a fresh lease.

        With an `end_user` the others count as uploaded for them too.
        """
        self._require_open()
        held = await self._leases.give(tenant, digests)
        if end_user is not None and held:
            claimed = await self._finisher.run(
                self._index.claim(tenant, list(held), end_user, self._clock())
            )
            held = {digest: blob for digest, blob in held.items() if digest in claimed}
        ends = (blob.grant.lease_expires_at for blob in held.values())
        return Missing(
            missing=[digest for digest in dict.fromkeys(digests) if digest not in held],
            lease_expires_at=min(
                (end for end in ends if end is not None), default=self._lease.end(self._clock())
            ),
        )

    async def list_grants(self, tenant: str, *, after: str | None, limit: int) -> Page[Grant]:
        """Return up to `limit` of the tenant's live grants, newest first, from a cursor on.

        Raises:
            InvalidCursorError: `after` did not come with a page.
            ValueError: `limit` is below one.
        """
        if limit < 1:
            raise ValueError(f"a page has at least one item, not {limit}")
        return await self._index.page(tenant, after=after, limit=limit, now=self._clock())

    async def release(self, tenant: str, digest: Digest) -> list[Hold]:
        """End the lease and the pin; return what still holds the blob: files and prompts.

        Raises:
            BlobNotFoundError: the tenant holds no such blob.
        """
        self._require_open()
        await self.prompts.flush()  # their holds count from the append on

        async def work() -> list[Hold]:
            try:
                return await self._index.release(tenant, digest, self._clock())
            finally:
                self._hot.forget(tenant, digest)

        return await self._finisher.run(work())

    async def pin(self, tenant: str, digest: Digest) -> Grant:
        """Keep the blob until it is unpinned or released. May be called twice.

        Raises:
            BlobNotFoundError: the tenant holds no such blob.
        """
        self._require_open()

        async def work() -> HeldBlob:
            try:
                return await self._index.pin(tenant, digest, self._clock())
            finally:
                self._hot.forget(tenant, digest)

        return (await self._finisher.run(work())).grant

    async def unpin(self, tenant: str, digest: Digest) -> Grant:
        """End the pin and give a lease in its place; without a pin, change nothing.

        Raises:
            BlobNotFoundError: the tenant holds no such blob.
        """
        self._require_open()

        async def work() -> HeldBlob:
            now = self._clock()
            end = self._lease.end(now)
            try:
                return await self._index.unpin(tenant, digest, now=now, lease_expires_at=end)
            finally:
                self._hot.forget(tenant, digest)

        return (await self._finisher.run(work())).grant

    async def check(self) -> None:
        """Return when uploads and reads can be served now; for a probe of readiness.

        Costs a small question to each database and one to the file system.

        Raises:
            StoreClosedError: `close` was called before.
            StoreFullError: the disk has no room for uploads beside the reserve.
            StoreUnavailableError: the index, the prompts or the disk cannot be used.
        """
        self._require_open()
        await self._index.check(self._clock())
        await self.prompts.check()
        free_bytes = await self._free_bytes()
        if free_bytes is not None and free_bytes <= 0:
            raise StoreFullError("no space left for uploads")

    async def stats(self) -> StoreStats:
        """Return the store in numbers.

        The counts are up to `count_seconds` of the settings old, and leave out prompts that wait
        to be written; the uploads in progress and the free bytes are as they are now.

        Raises:
            StoreUnavailableError: the index, the prompts or the disk cannot be read.
        """
        counts = await self._census.counts()
        totals = counts.totals
        return StoreStats(
            blobs=totals.blobs,
            blob_bytes=totals.blob_bytes,
            condemned_blobs=totals.condemned_blobs,
            condemned_bytes=totals.condemned_bytes,
            quarantined_blobs=totals.quarantined_blobs,
            grants=totals.grants,
            prompts=counts.prompts,
            uploads_in_progress=self._reception.in_progress,
            disk_free_bytes=await self._free_bytes(),
        )

    async def _report(self, held: HeldBlob) -> None:
        if await self._quarantine.report(held):
            self.counts.damaged_blobs += 1

    async def _recheck(self, held: HeldBlob) -> HeldBlob:
        try:
            return await self._quarantine.recheck(held)
        except CorruptBlobError:
            self.counts.damaged_blobs += 1
            raise

    async def _free_bytes(self) -> int | None:
        if not isinstance(self._backend, Measured):
            return None
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._backend.free_bytes)

    def _require_open(self) -> None:
        if self._closed:
            raise StoreClosedError


def _facts(held: HeldBlob) -> tuple[int, bytes, int]:
    """Return what the index says of the bytes."""
    return held.grant.size, held.checksums, held.seed_version
