"""The end of the one verified way in: bytes whose digest is known become a blob, and its grant.

What was checked before is believed here. From here on an upload is carried to its end even when
nobody waits for it any more: call it by a `Finisher`.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from coatcheck.protocol import Buffer, Digest

from .allowance import Allowances
from .digest_locks import DigestLocks
from .grant import Receipt
from .hot import HotGrants
from .index import Index
from .index_rows import NewBlob, NewGrant
from .term import Term
from .upload_table import FinishedUpload


class Committable(Protocol):
    """Bytes that can become a blob; a `Spool` is one."""

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Append the rest, and make all of it the blob of this name, durably."""
        ...


class Committer:
    """Commits for one store."""

    def __init__(
        self,
        *,
        index: Index,
        hot: HotGrants,
        locks: DigestLocks,
        allowances: Allowances,
        lease: Term,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._hot = hot
        self._locks = locks
        self._allowances = allowances
        self._lease = lease
        self._clock = clock

    async def commit(
        self,
        grant: NewGrant,
        body: Committable,
        blob: NewBlob,
        *,
        rest: Sequence[Buffer] = (),
        finished: FinishedUpload | None = None,
    ) -> Receipt:
        """Make the body the blob and grant it, with a lease. Not to be cancelled while it runs.

        The row of a `finished` upload in parts is brought up to date in the same transaction.

        Raises:
            QuotaExceededError: the tenant has as many bytes as it may; nothing was granted.
            StoreFullError, StoreUnavailableError: the disk or the index failed.
        """
        async with self._locks.adding(blob.digest):
            await body.commit(blob.digest, rest)
            now = self._clock()
            recorded = await self._index.record(
                grant,
                blob,
                now=now,
                lease_expires_at=self._lease.end(now),
                quota_bytes=self._allowances.quota_bytes(grant.tenant),
                finished=finished,
            )
            self._hot.forget_blob(blob.digest)
        return Receipt(recorded.held.grant, recorded.is_new)
