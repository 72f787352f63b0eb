"""Grants remembered in memory, so that resolving what is in use asks no database.

1. Only live grants are remembered, never their absence; absence is always asked for.
2. A grant is believed for `seconds` at most, and never longer than its holds last.
3. Whoever changes a grant calls `forget` after the change; an answer read before the change and
   arriving after it is not remembered. That is what the ticket is for.

Belongs to the event loop; nothing here waits.
"""

from collections import OrderedDict
from dataclasses import dataclass

from coatcheck.protocol import Digest

from .grant import HeldBlob


@dataclass(frozen=True, slots=True)
class _Entry:
    held: HeldBlob
    read_at: float


class HotGrants:
    """At most `entries` grants, the least recently used forgotten first."""

    def __init__(self, entries: int, seconds: float) -> None:
        self._limit = entries
        self._seconds = seconds
        self._entries: OrderedDict[tuple[str, Digest], _Entry] = OrderedDict()
        self._tenants: dict[Digest, set[str]] = {}
        self._changes = 0

    def ticket(self) -> int:
        """Return what `put` wants to see with an answer, to be taken before asking the index."""
        return self._changes

    def get(self, tenant: str, digest: Digest, now: float) -> HeldBlob | None:
        """Return the grant, if it is remembered and still to be believed."""
        entry = self._entries.get((tenant, digest))
        if entry is None:
            return None
        # A clock that was set back makes an entry old, not new.
        if not 0 <= now - entry.read_at <= self._seconds or entry.held.held_until <= now:
            self._drop(tenant, digest)
            return None
        self._entries.move_to_end((tenant, digest))
        return entry.held

    def put(self, held: HeldBlob, now: float, ticket: int) -> None:
        """Remember an answer of the index, unless something changed since the ticket."""
        if ticket != self._changes:
            return
        tenant, digest = held.grant.tenant, held.grant.digest
        self._entries[tenant, digest] = _Entry(held, now)
        self._entries.move_to_end((tenant, digest))
        self._tenants.setdefault(digest, set()).add(tenant)
        while len(self._entries) > self._limit:
            self._drop(*next(iter(self._entries)))

    def forget(self, tenant: str, digest: Digest) -> None:
        """Forget one tenant's grant, because it changed."""
        self._changes += 1
        self._drop(tenant, digest)

    def forget_blob(self, digest: Digest) -> None:
        """Forget every tenant's grant, because the bytes changed."""
        self._changes += 1
        for tenant in tuple(self._tenants.get(digest, ())):
            self._drop(tenant, digest)

    def __len__(self) -> int:
        return len(self._entries)

    def _drop(self, tenant: str, digest: Digest) -> None:
        if self._entries.pop((tenant, digest), None) is None:
            return
        tenants = self._tenants[digest]
        tenants.discard(tenant)
        if not tenants:
            del self._tenants[digest]
