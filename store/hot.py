"""Grants remembered in memory, so that resolving what is in use asks no database.

1. Only live grants are remembered, never their absence; absence is always asked for.
2. A grant is believed for `seconds` at most, and never longer than its holds last.
3. Whoever changes a grant, in this process or in another, notes it in `Changes` after the change:
   `forget` does. What was read before is not believed from then on, also if it arrives later:
   that is what the ticket is for.

Belongs to the event loop; nothing here waits.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from coatcheck.protocol import Digest

from .changes import Changes, Stamp
from .grant import HeldBlob

Ticket: TypeAlias = Mapping[Digest, Stamp]


@dataclass(frozen=True, slots=True)
class _Entry:
    held: HeldBlob
    read_at: float
    stamp: Stamp


class HotGrants:
    """At most `entries` grants, the least recently used forgotten first."""

    def __init__(self, entries: int, seconds: float, changes: Changes) -> None:
        """`changes` stays the caller's."""
        self._limit = entries
        self._seconds = seconds
        self._changes = changes
        self._entries: OrderedDict[tuple[str, Digest], _Entry] = OrderedDict()

    def ticket(self, tenant: str, digests: Iterable[Digest]) -> Ticket:
        """Return what `put` wants to see with an answer, to be taken before asking the index."""
        return {digest: self._changes.stamp(tenant, digest) for digest in digests}

    def get(self, tenant: str, digest: Digest, now: float) -> HeldBlob | None:
        """Return the grant, if it is remembered and still to be believed."""
        entry = self._entries.get((tenant, digest))
        if entry is None:
            return None
        # A clock that was set back makes an entry old, not new.
        is_old = not 0 <= now - entry.read_at <= self._seconds or entry.held.held_until <= now
        if is_old or entry.stamp != self._changes.stamp(tenant, digest):
            self.drop(tenant, digest)
            return None
        self._entries.move_to_end((tenant, digest))
        return entry.held

    def put(self, held: HeldBlob, now: float, ticket: Ticket) -> None:
        """Remember an answer of the index, unless the grant changed since the ticket."""
        tenant, digest = held.grant.tenant, held.grant.digest
        stamp = ticket[digest]
        if stamp != self._changes.stamp(tenant, digest):
            return
        self._entries[tenant, digest] = _Entry(held, now, stamp)
        self._entries.move_to_end((tenant, digest))
        while len(self._entries) > self._limit:
            self._entries.popitem(last=False)

    def drop(self, tenant: str, digest: Digest) -> None:
        """Forget a grant in this process, which may be asked for again."""
        self._entries.pop((tenant, digest), None)

    def forget(self, tenant: str, digest: Digest) -> None:
        """Forget one tenant's grant in every process, because it changed."""
        self._changes.change(tenant, digest)
        self.drop(tenant, digest)

    def forget_blob(self, digest: Digest) -> None:
        """Forget every tenant's grant in every process, because the bytes changed."""
        self._changes.change_blob(digest)

    def __len__(self) -> int:
        return len(self._entries)
