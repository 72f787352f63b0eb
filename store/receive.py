"""The one verified way in.

1. Nothing is committed that is empty, too large, or not what its sender promised.
2. Disk is reserved before it is written; a full disk fails this upload and loses nothing.
3. Bytes that are known, of this tenant or of another, are received, hashed and synced in full
   all the same: how long an upload takes says nothing about what others have.
4. An upload that fails or is cancelled before its commit leaves no temporary. From the commit on
   it is carried to its end even when nobody waits for it any more.

One slab of the body is in memory for each upload; it is written and hashed in one turn of a thread.
A body that ends before it fills a thread's while is hashed where it is and written as it is
committed, which makes that one turn in all.
"""

import asyncio
import mmap
from collections.abc import AsyncIterable, Callable, Sequence
from dataclasses import dataclass

from coatcheck.protocol import (
    SNIFF_BYTES,
    Buffer,
    Digest,
    Hasher,
    ImageParser,
    parse_media_type,
    sniff,
)

from .allowance import Allowance, Allowances
from .backend import Backend, Spool
from .digest_locks import DigestLocks
from .errors import (
    BlobTooLargeError,
    DigestMismatchError,
    EmptyBlobError,
    SizeMismatchError,
    StoreClosedError,
)
from .finisher import Finisher
from .grant import Receipt
from .hot import HotGrants
from .index import Index
from .index_rows import NewBlob, NewGrant
from .piece_buffers import PieceBuffers
from .seed import Seeds
from .term import Term

_SLAB_BYTES = 1024 * 1024
# Enough for as many uploads as there are threads to write them; at most 8 MiB that nobody uses.
_KEPT_SLABS = 8
# Hashing so much takes less than a turn in a thread, about 50 us.
_SMALL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Promise:
    """What the sender said of the body beforehand."""

    declared_type: str | None = None
    digest: Digest | None = None
    size: int | None = None
    end_user: str | None = None
    """Whom it is uploaded for."""


class Receiver:
    """Takes uploads for one store."""

    def __init__(
        self,
        *,
        backend: Backend,
        index: Index,
        hot: HotGrants,
        seeds: Seeds,
        locks: DigestLocks,
        finisher: Finisher,
        allowances: Allowances,
        max_blob_bytes: int,
        lease: Term,
        clock: Callable[[], float],
    ) -> None:
        self._backend = backend
        self._index = index
        self._hot = hot
        self._seeds = seeds
        self._locks = locks
        self._finisher = finisher
        self._allowances = allowances
        self._max_blob_bytes = max_blob_bytes
        self._lease = lease
        self._clock = clock
        self._slabs = PieceBuffers(_SLAB_BYTES, kept=_KEPT_SLABS)
        self._closed = False
        # What ends each upload that is still being received when the store closes.
        self._scopes: set[asyncio.Timeout] = set()
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_progress(self) -> int:
        """Uploads being received or committed."""
        return self._in_progress

    async def close(self) -> None:
        """End the uploads that are being received; return when none is. May be called twice."""
        if not self._closed:  # a scope that is expiring cannot be told again
            self._closed = True
            for scope in self._scopes:
                scope.reschedule(0)
        await self._idle.wait()

    async def receive(self, tenant: str, body: AsyncIterable[bytes], promise: Promise) -> Receipt:
        """Receive one body; see `Store.receive`."""
        if self._closed:
            raise StoreClosedError
        declared_type = promise.declared_type and parse_media_type(promise.declared_type)
        grant = NewGrant(tenant, declared_type, promise.end_user)
        if promise.size is not None:
            self._check_size(promise.size)
        await self._seeds.refresh(self._clock())
        spool = self._backend.spool()
        self._in_progress += 1
        self._idle.clear()
        try:
            with self._allowances.begin(tenant) as allowance:
                taken = await self._fill_until_closed(spool, body, promise, allowance)
                return await self._finisher.run(self._commit(grant, spool, taken))
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    async def _fill_until_closed(
        self, spool: Spool, body: AsyncIterable[bytes], promise: Promise, allowance: Allowance
    ) -> "_Taken":
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                return await self._fill(spool, body, promise, allowance)
        except TimeoutError as error:
            if scope.expired():
                raise StoreClosedError from error
            raise
        finally:
            self._scopes.discard(scope)

    async def _fill(
        self, spool: Spool, body: AsyncIterable[bytes], promise: Promise, allowance: Allowance
    ) -> "_Taken":
        seed = self._seeds.newest
        intake = _Intake(spool, Hasher(seed.value), self._slabs)
        try:
            if promise.size is not None:
                await allowance.cover(promise.size)
                if promise.size > _SMALL_BYTES:
                    await spool.reserve(promise.size)
            async for chunk in body:
                size = intake.size + len(chunk)
                self._check_size(size)
                if promise.size is None:
                    await allowance.cover(size)
                elif size > promise.size:
                    raise SizeMismatchError(promise.size, size)
                await intake.take(chunk)
            taken = await intake.conclude(seed.version)
            _check(taken.blob, promise)
        except BaseException:
            await self._finisher.run(spool.discard())
            raise
        finally:
            intake.close()
        return taken

    async def _commit(self, grant: NewGrant, spool: Spool, taken: "_Taken") -> Receipt:
        blob = taken.blob
        try:
            async with self._locks.adding(blob.digest):
                await spool.commit(blob.digest, taken.rest)
                now = self._clock()
                recorded = await self._index.record(
                    grant,
                    blob,
                    now=now,
                    lease_expires_at=self._lease.end(now),
                    quota_bytes=self._allowances.quota_bytes(grant.tenant),
                )
                self._hot.forget_blob(blob.digest)
        except BaseException:
            await spool.discard()
            raise
        return Receipt(recorded.held.grant, recorded.is_new)

    def _check_size(self, size: int) -> None:
        if size > self._max_blob_bytes:
            raise BlobTooLargeError(self._max_blob_bytes)


@dataclass(frozen=True, slots=True)
class _Taken:
    """A whole body: what it is, and what of it is still to be written."""

    blob: NewBlob
    rest: Sequence[Buffer]


class _Intake:
    """One body on its way into a spool."""

    def __init__(self, spool: Spool, hasher: Hasher, slabs: PieceBuffers) -> None:
        self._spool = spool
        self._hasher = hasher
        self._slabs = slabs
        self._small = bytearray()
        self._slab: mmap.mmap | None = None
        self._filled_bytes = 0
        self._parser = ImageParser()
        self._head: bytes | None = None
        self._blob: NewBlob | None = None
        self.size = 0

    async def take(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= _SMALL_BYTES:
            self._small += chunk
            return
        if self._slab is None:
            self._slab = self._slabs.take()
            small, self._small = self._small, bytearray()
            await self._fill(memoryview(small))
        await self._fill(memoryview(chunk))

    async def conclude(self, seed_version: int) -> _Taken:
        """Say what the whole was, with all of it written but what is small."""
        if self._slab is None:
            return _Taken(self._conclude(self._small, seed_version), [self._small])
        data = self._held()
        await self._spool.write([data], lambda: self._conclude(data, seed_version))
        assert self._blob is not None
        return _Taken(self._blob, ())

    def close(self) -> None:
        """Give the slab back, unless a cancelled write still reads it. May be called twice."""
        slab, self._slab = self._slab, None
        if slab is not None:
            self._slabs.give_back(slab)

    async def _fill(self, chunk: memoryview) -> None:
        while chunk:
            assert self._slab is not None
            part = chunk[: _SLAB_BYTES - self._filled_bytes]
            end = self._filled_bytes + part.nbytes
            self._slab[self._filled_bytes : end] = part
            self._filled_bytes = end
            chunk = chunk[part.nbytes :]
            if end == _SLAB_BYTES:
                await self._flush()

    async def _flush(self) -> None:
        data = self._held()
        await self._spool.write([data], lambda: self._hash(data))
        data.release()
        self._filled_bytes = 0

    def _held(self) -> memoryview:
        assert self._slab is not None
        return memoryview(self._slab)[: self._filled_bytes]

    def _conclude(self, data: Buffer, seed_version: int) -> NewBlob:
        self._hash(data)
        self._blob = self._describe(seed_version)
        return self._blob

    def _hash(self, data: Buffer) -> None:
        self._hasher.update(data)
        self._parser.feed(data)
        if self._head is None:
            self._head = bytes(memoryview(data)[:SNIFF_BYTES])

    def _describe(self, seed_version: int) -> NewBlob:
        head = self._head or b""
        image = self._parser.info()
        return NewBlob(
            digest=self._hasher.digest(),
            size=self._hasher.size,
            sniffed_type=sniff(head),
            width=image.width if image else None,
            height=image.height if image else None,
            frames=image.frames if image else None,
            checksums=self._hasher.checksums(),
            seed_version=seed_version,
        )


def _check(blob: NewBlob, promise: Promise) -> None:
    if promise.size is not None and blob.size != promise.size:
        raise SizeMismatchError(promise.size, blob.size)
    if blob.size == 0:
        raise EmptyBlobError
    if promise.digest is not None and blob.digest != promise.digest:
        raise DigestMismatchError(promise.digest, blob.digest)
