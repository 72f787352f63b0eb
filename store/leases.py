"""Which blobs a tenant holds, and how using one keeps it.

A use renews the lease that is there; only an upload, and a client that asks what it still has to
upload, give one. What can be read is read: a lease that cannot be written ends as it was going to.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from coatcheck.protocol import Digest

from .errors import StoreFullError, StoreUnavailableError
from .finisher import Finisher
from .grant import HeldBlob
from .hot import HotGrants
from .index import Index
from .term import Term

_logger = logging.getLogger(__name__)


class Leases:
    """The grants of all tenants, from memory where they are known there."""

    def __init__(
        self,
        *,
        index: Index,
        hot: HotGrants,
        finisher: Finisher,
        term: Term,
        clock: Callable[[], float],
    ) -> None:
        self._index = index
        self._hot = hot
        self._finisher = finisher
        self._term = term
        self._clock = clock

    async def find(self, tenant: str, digests: Iterable[Digest]) -> dict[Digest, HeldBlob]:
        """Return those of the digests that the tenant holds; no use of them."""
        now = self._clock()
        held: dict[Digest, HeldBlob] = {}
        unknown: list[Digest] = []
        for digest in dict.fromkeys(digests):
            known = self._hot.get(tenant, digest, now)
            if known is None:
                unknown.append(digest)
            else:
                held[digest] = known
        if unknown:
            ticket = self._hot.ticket(tenant, unknown)
            found = await self._index.find(tenant, unknown, now)
            for blob in found.values():
                self._hot.put(blob, now, ticket)
            held |= found
        return held

    async def use(self, tenant: str, digests: Iterable[Digest]) -> dict[Digest, HeldBlob]:
        """Return what `find` does, and renew the leases of it."""
        held = await self.find(tenant, digests)
        now = self._clock()
        due = [
            digest
            for digest, blob in held.items()
            if (end := blob.grant.lease_expires_at) is not None
            and not self._term.is_fresh(end, now)
        ]
        try:
            return await self._refresh(tenant, held, due, self._index.renew)
        except (StoreFullError, StoreUnavailableError) as error:
            _logger.warning("%d leases of %r could not be renewed: %s", len(due), tenant, error)
            return held

    async def give(self, tenant: str, digests: Iterable[Digest]) -> dict[Digest, HeldBlob]:
        """Do what `use` does, and give a lease to what other holds alone keep.

        Raises:
            StoreFullError, StoreUnavailableError: a lease could not be written.
        """
        held = await self.find(tenant, digests)
        now = self._clock()
        due = [
            digest
            for digest, blob in held.items()
            if not self._term.is_fresh(blob.grant.lease_expires_at, now)
        ]
        return await self._refresh(tenant, held, due, self._index.lease)

    async def _refresh(
        self,
        tenant: str,
        held: dict[Digest, HeldBlob],
        due: Sequence[Digest],
        write: "_Write",
    ) -> dict[Digest, HeldBlob]:
        """Return `held` as it is after the leases that are due were written."""
        if not due:
            return held

        async def work() -> dict[Digest, HeldBlob]:
            now = self._clock()
            # From before the writing, and nobody is told of it: a lease that got longer makes no
            # grant untrue that others remember, and what others change meanwhile is seen.
            ticket = self._hot.ticket(tenant, due)
            written = await write(tenant, due, now=now, expires_at=self._term.end(now))
            for digest in due:
                self._hot.drop(tenant, digest)
            for blob in written.values():
                self._hot.put(blob, now, ticket)
            return written

        written = await self._finisher.run(work())
        asked = frozenset(due)
        # A grant that ended meanwhile is in neither.
        return {digest: blob for digest, blob in held.items() if digest not in asked} | written


class _Write(Protocol):
    """How `Index` extends leases: those that live, or also where there is none."""

    async def __call__(
        self, tenant: str, digests: Sequence[Digest], *, now: float, expires_at: float
    ) -> dict[Digest, HeldBlob]: ...
