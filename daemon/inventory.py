"""What the daemon resolved lately: the cache inspection's memory.

A bounded map in order of last use. In `serve` the store beside the daemon keeps the bytes, so an
entry is a note, not a copy; forgetting one costs nothing but its history.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from coatcheck.protocol import Digest

from .cache.heals import Heal
from .source import Resolved


@dataclass(frozen=True, slots=True)
class Entry:
    """One blob. Times are Unix seconds; `verified_at` is when its bytes were last read whole."""

    digest: Digest
    size: int
    media_type: str
    source: str
    hits: int
    last_used_at: float
    verified_at: float | None


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the entries, and counts since the start."""

    entries: int
    bytes: int
    hits: int
    misses: int
    healed: int = 0
    """Copies that were gone or damaged, and were replaced from the store."""

    @property
    def hit_ratio(self) -> float | None:
        """Hits by uses; None before the first use."""
        uses = self.hits + self.misses
        return self.hits / uses if uses else None


@dataclass(frozen=True, slots=True)
class View:
    """What the inspection shows at one time: some entries, the most recently used first."""

    entries: Sequence[Entry]
    totals: Totals
    heals: Sequence[Heal] = ()
    """The copies replaced last, the newest first."""


class CacheView(Protocol):
    """What the cache inspection shows and evicts, and whom the resolver tells of uses."""

    def record_use(self, blobs: Iterable[Resolved], now: float) -> None:
        """Note that blobs were resolved."""
        ...

    def record_verified(self, digest: Digest, now: float) -> None:
        """Note that every byte of a blob was read and matched its checksum."""
        ...

    async def look(self, limit: int) -> View:
        """Return up to `limit` entries, and the sums over all.

        Raises:
            StoreUnavailableError: what is known of copies cannot be read.
        """
        ...

    async def evict(self, digest: Digest) -> bool:
        """Forget one entry, and its copy where there is one; False when there was none.

        Raises:
            StoreUnavailableError: the copy cannot be removed.
        """
        ...

    async def evict_all(self) -> int:
        """Forget every entry; return how many there were; raises as `evict`."""
        ...


@dataclass(slots=True)
class _Known:
    """What is counted for each turn, and becomes an `Entry` when somebody looks."""

    blob: Resolved
    last_used_at: float
    hits: int = 0
    verified_at: float | None = None

    def entry(self, source: str) -> Entry:
        blob = self.blob
        return Entry(
            blob.digest,
            blob.size,
            blob.media_type,
            source,
            self.hits,
            self.last_used_at,
            self.verified_at,
        )


class Inventory:
    """What one process resolved, where the store beside the daemon keeps the bytes.

    Entries by digest, the most recently used last. Used from the event loop only.
    """

    def __init__(self, source: str, max_entries: int = 10_000) -> None:
        self._source = source
        self._max_entries = max_entries  # some 400 bytes each
        self._known: OrderedDict[Digest, _Known] = OrderedDict()
        self._bytes = 0
        self._hits = 0
        self._misses = 0

    def record_use(self, blobs: Iterable[Resolved], now: float) -> None:
        """Note that blobs were resolved."""
        for blob in blobs:
            known = self._known.get(blob.digest)
            if known:
                self._hits += 1
                known.hits += 1
                known.last_used_at = now
            else:
                self._misses += 1
                self._bytes += blob.size
                self._known[blob.digest] = _Known(blob, now)
            self._known.move_to_end(blob.digest)
        while len(self._known) > self._max_entries:
            self._bytes -= self._known.popitem(last=False)[1].blob.size

    def record_verified(self, digest: Digest, now: float) -> None:
        """Note that every byte of a blob was read and matched its checksum."""
        if known := self._known.get(digest):
            known.verified_at = now

    def sizes(self) -> dict[Digest, int]:
        """Return all digests, and the bytes of each blob."""
        return {digest: known.blob.size for digest, known in self._known.items()}

    async def entries(self, limit: int) -> list[Entry]:
        """Return up to `limit` entries, the most recently used first."""
        newest = islice(reversed(self._known.values()), limit)
        return [known.entry(self._source) for known in newest]

    async def totals(self) -> Totals:
        """Return the sums."""
        return Totals(len(self._known), self._bytes, self._hits, self._misses)

    async def evict(self, digest: Digest) -> bool:
        """Forget one entry; False when there was none."""
        known = self._known.pop(digest, None)
        self._bytes -= known.blob.size if known else 0
        return known is not None

    async def evict_all(self) -> int:
        """Forget every entry; return how many there were."""
        count = len(self._known)
        self._known.clear()
        self._bytes = 0
        return count
