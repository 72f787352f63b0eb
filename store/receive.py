"""The one verified way in, for a body that comes in one request.

1. Nothing is committed that is empty, too large, or not what its sender promised.
2. Disk is reserved before it is written; a full disk fails this upload and loses nothing.
3. Bytes that are known, of this tenant or of another, are received, hashed and synced in full
   all the same: how long an upload takes says nothing about what others have.
4. An upload that fails or is cancelled before its commit leaves no temporary. From the commit on
   it is carried to its end even when nobody waits for it any more.

What comes in parts over more than one request (`uploads.py`) keeps the same rules but the fourth, and
ends in the same commit.

One slab of the body is in memory for each upload; it is written and hashed in one turn of a thread.
A body that ends before it fills a thread's while is hashed where it is and written as it is
committed, which makes that one turn in all.
"""

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass

from coatcheck.protocol import Buffer, parse_media_type

from .allowance import Allowance, Allowances
from .backend import Backend, Spool
from .commit import Committer
from .errors import BlobTooLargeError, SizeMismatchError
from .finisher import Finisher
from .grant import Receipt
from .index_rows import NewBlob, NewGrant
from .piece_buffers import PieceBuffers
from .probe import Probe
from .promise import Promise
from .reception import Reception
from .seed import Seeds
from .slab import Slab

# Hashing so much takes less than a turn in a thread, about 50 us.
_SMALL_BYTES = 64 * 1024


class Receiver:
    """Takes uploads for one store."""

    def __init__(
        self,
        *,
        backend: Backend,
        reception: Reception,
        committer: Committer,
        seeds: Seeds,
        slabs: PieceBuffers,
        finisher: Finisher,
        allowances: Allowances,
        max_blob_bytes: int,
    ) -> None:
        """`slabs` lends buffers of `SLAB_BYTES`."""
        self._backend = backend
        self._reception = reception
        self._committer = committer
        self._seeds = seeds
        self._slabs = slabs
        self._finisher = finisher
        self._allowances = allowances
        self._max_blob_bytes = max_blob_bytes

    async def receive(self, tenant: str, body: AsyncIterable[bytes], promise: Promise) -> Receipt:
        """Receive one body; see `Store.receive`."""
        declared_type = promise.declared_type and parse_media_type(promise.declared_type)
        grant = NewGrant(tenant, declared_type, promise.end_user)
        if promise.size is not None:
            self._check_size(promise.size)
        await self._seeds.refresh()
        with self._reception.attend(), self._allowances.begin(tenant) as allowance:
            spool = self._backend.spool()
            async with self._reception.until_closed():
                taken = await self._fill(spool, body, promise, allowance)
            allowance.begin_commit()
            return await self._finisher.run(self._commit(grant, spool, taken))

    async def _fill(
        self, spool: Spool, body: AsyncIterable[bytes], promise: Promise, allowance: Allowance
    ) -> "_Taken":
        intake = _Intake(spool, Probe(self._seeds), self._slabs)
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
            taken = await intake.conclude()
            promise.check(taken.blob)
        except BaseException:
            await self._finisher.run(spool.discard())
            raise
        finally:
            intake.close()
        return taken

    async def _commit(self, grant: NewGrant, spool: Spool, taken: "_Taken") -> Receipt:
        try:
            return await self._committer.commit(grant, spool, taken.blob, rest=taken.rest)
        except BaseException:
            await spool.discard()
            raise

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

    def __init__(self, spool: Spool, probe: Probe, slabs: PieceBuffers) -> None:
        self._spool = spool
        self._probe = probe
        self._slab = Slab(slabs, self._write)
        self._small = bytearray()
        self.size = 0

    async def take(self, chunk: bytes) -> None:
        self.size += len(chunk)
        if self.size <= _SMALL_BYTES:
            self._small += chunk
            return
        if not self._slab.is_begun:
            small, self._small = self._small, bytearray()
            await self._slab.fill(small)
        await self._slab.fill(chunk)

    async def conclude(self) -> _Taken:
        """Say what the whole was, with all of it written but what is small."""
        if self._slab.is_begun:
            await self._slab.flush()
            return _Taken(self._probe.blob(), ())
        self._probe.update(self._small)
        return _Taken(self._probe.blob(), [self._small])

    def close(self) -> None:
        """Give the slab back. May be called twice."""
        self._slab.close()

    async def _write(self, data: memoryview) -> None:
        await self._spool.write([data], lambda: self._probe.update(data))
