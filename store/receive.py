"""The one verified way in.

1. Nothing is committed that is empty, too large, or not what its sender promised.
2. Disk is reserved before it is written; a full disk fails this upload and loses nothing.
3. Bytes that are known, of this tenant or of another, are received, hashed and synced in full
   all the same: how long an upload takes says nothing about what others have.
4. An upload that fails or is cancelled before its commit leaves no temporary. From the commit on
   it is carried to its end even when nobody waits for it any more.

One slab of the body is in memory for each upload; it is written and hashed at the same time, in
two threads.
"""

import asyncio
from collections.abc import AsyncIterable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from coatcheck.protocol import (
    SNIFF_BYTES,
    Digest,
    Hasher,
    image_size,
    parse_media_type,
    sniff,
)

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
from .index_rows import NewBlob
from .seed import Seeds
from .term import Term

_SLAB_BYTES = 1024 * 1024
# What an upload of unknown size reserves at a time.
_RESERVE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Promise:
    """What the sender said of the body beforehand."""

    declared_type: str | None
    digest: Digest | None
    size: int | None


class Receiver:
    """Takes uploads for one store. The executor is the store's, for uploads."""

    def __init__(
        self,
        *,
        backend: Backend,
        index: Index,
        hot: HotGrants,
        seeds: Seeds,
        locks: DigestLocks,
        finisher: Finisher,
        executor: Executor,
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
        self._executor = executor
        self._max_blob_bytes = max_blob_bytes
        self._lease = lease
        self._clock = clock
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
        if promise.size is not None:
            self._check_size(promise.size)
        spool = self._backend.spool()
        self._in_progress += 1
        self._idle.clear()
        try:
            blob = await self._fill_until_closed(spool, body, promise)
            return await self._finisher.run(self._commit(tenant, spool, blob, declared_type))
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    async def _fill_until_closed(
        self, spool: Spool, body: AsyncIterable[bytes], promise: Promise
    ) -> NewBlob:
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._scopes.add(scope)
                return await self._fill(spool, body, promise)
        except TimeoutError as error:
            if scope.expired():
                raise StoreClosedError from error
            raise
        finally:
            self._scopes.discard(scope)

    async def _fill(self, spool: Spool, body: AsyncIterable[bytes], promise: Promise) -> NewBlob:
        intake = _Intake(spool, Hasher(self._seeds.current), self._executor)
        try:
            if promise.size is not None:
                await intake.reserve(promise.size)
            async for chunk in body:
                size = intake.size + len(chunk)
                self._check_size(size)
                if promise.size is not None and size > promise.size:
                    raise SizeMismatchError(promise.size, size)
                await intake.take(chunk)
            blob = await intake.conclude(self._seeds.version)
            _check(blob, promise)
        except BaseException:
            await self._finisher.run(spool.discard())
            raise
        return blob

    async def _commit(
        self, tenant: str, spool: Spool, blob: NewBlob, declared_type: str | None
    ) -> Receipt:
        try:
            async with self._locks.adding(blob.digest):
                await spool.commit(blob.digest)
                now = self._clock()
                held, created = await self._index.record(
                    tenant,
                    blob,
                    declared_type,
                    now=now,
                    lease_expires_at=self._lease.end(now),
                )
                self._hot.forget_blob(blob.digest)
        except BaseException:
            await spool.discard()
            raise
        return Receipt(held.grant, created)

    def _check_size(self, size: int) -> None:
        if size > self._max_blob_bytes:
            raise BlobTooLargeError(self._max_blob_bytes)


class _Intake:
    """One body on its way into a spool."""

    def __init__(self, spool: Spool, hasher: Hasher, executor: Executor) -> None:
        self._spool = spool
        self._hasher = hasher
        self._executor = executor
        self._slab = bytearray()
        self._head = b""
        self._reserved_bytes = 0
        self.size = 0

    async def reserve(self, total_bytes: int) -> None:
        await self._spool.reserve(total_bytes)
        self._reserved_bytes = total_bytes

    async def take(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view.nbytes:
            part = view[: _SLAB_BYTES - len(self._slab)]
            self._slab.extend(part)
            self.size += part.nbytes
            view = view[part.nbytes :]
            if len(self._slab) == _SLAB_BYTES:
                await self._flush()

    async def conclude(self, seed_version: int) -> NewBlob:
        """Write what is left and say what the whole was."""
        if self._slab:
            await self._flush()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._describe, seed_version)

    async def _flush(self) -> None:
        slab, self._slab = self._slab, bytearray()
        if not self._head:
            self._head = bytes(slab[:SNIFF_BYTES])
        if self.size > self._reserved_bytes:
            await self.reserve(self.size + _RESERVE_BYTES)
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            self._spool.write(slab),
            loop.run_in_executor(self._executor, self._hasher.update, slab),
        )

    def _describe(self, seed_version: int) -> NewBlob:
        image = image_size(self._head)
        return NewBlob(
            digest=self._hasher.digest(),
            size=self._hasher.size,
            sniffed_type=sniff(self._head),
            width=image.width if image else None,
            height=image.height if image else None,
            frames=None,
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
