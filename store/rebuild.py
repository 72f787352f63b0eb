"""A new index from the blobs, and from what can still be read of the old one.

1. A blob is a file whose name is a digest. What the old index says of it is believed if the sizes
   agree; else its first bytes are looked at, and its digest decides at its first read.
2. Grants and holds come from the old index. A grant without any hold gets a lease, a hold without its
   grant brings it back.
3. What no grant names is condemned, and waits for its review; an upload revives it. But in a store that
   never had a key it goes to the one tenant that there ever was, with a fresh lease, unless the old
   index says that it was condemned.
4. A store that has had a key never opens to everybody: if no key can be read, a revoked one stands in.

All of it blocks, in a thread of its own. The file that is filled is nobody's until it is whole.
"""

import logging
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Table

from coatcheck.protocol import (
    CHECKSUM_BYTES,
    DEFAULT_TENANT,
    PIECE_BYTES,
    Digest,
    parse_image,
    sniff,
)

from .backend import SHARDS, Backend
from .errors import StoreError
from .graft import graft
from .salvage import Damaged, Value
from .schema import blobs, end_users, grants, holds, keys, seeds, tenants, uploads
from .seed import MAX_VERSION, UNKNOWN_VERSION

_T = TypeVar("_T")

_SALVAGED: Final[tuple[Table, ...]] = (
    tenants,
    seeds,
    keys,
    blobs,
    grants,
    holds,
    end_users,
    uploads,
)
_AT_ONCE: Final = 1000
_HEAD_BYTES: Final = 64 * 1024
"""In which a picture nearly always says how large it is."""
_SAY_SECONDS: Final = 5.0
_LOST_KEY: Final = "lostkeys"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RebuildTerms:
    """What a rebuild is told."""

    now: float
    lease_seconds: float
    is_keyed: bool
    """Whether the store has ever had a key."""
    monotonic: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What is in the new index."""

    blobs: int
    granted_blobs: int
    missing_blobs: int
    """That are granted, and have no bytes: in quarantine until an upload heals them."""
    grants: int
    given_grants: int
    """Of them, to the one tenant of a store without keys."""
    keys: int
    is_closed: bool
    """Whether no key could be read of a store that had some."""


def rebuild_index(new: Path, old: Path, backend: Backend, terms: RebuildTerms) -> Rebuilt:
    """Fill the new index, which has its tables and no rows, and bring it to the disk.

    Raises:
        sqlite3.Error: the new index cannot be written.
        StoreUnavailableError: the folder of the blobs cannot be read.
    """
    with ExitStack() as stack:
        damaged = _open_damaged(new, old) if old.is_file() else None
        if damaged is not None:
            stack.callback(damaged.close)
        connection = stack.enter_context(closing(sqlite3.connect(new, isolation_level=None)))
        for pragma in (
            "journal_mode = DELETE",
            "journal_mode = MEMORY",  # a crash costs a new beginning
            "synchronous = OFF",  # it is brought to the disk as a whole
            "foreign_keys = OFF",  # rows come in any order
            "cache_size = -32768",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("BEGIN")
        filling = _Filling(connection, backend, terms)
        if damaged is not None:
            filling.salvage(damaged)
        filling.walk()
        rebuilt = filling.conclude()
        connection.execute("COMMIT")
    return rebuilt


def grafted(new: Path) -> Path:
    """Return where a copy of the old index lies while it is read, if it has to be copied."""
    return new.with_name(f"{new.name}-grafted")


def _open_damaged(new: Path, old: Path) -> Damaged:
    """Open the old index; with the first pages of the new one where its own are lost."""
    damaged = Damaged.open(old)
    if all(map(damaged.has, (tenants, seeds, keys, blobs, grants, holds))):
        return damaged
    copy = grafted(new)
    try:
        graft(old, new, copy)
    except (OSError, sqlite3.Error) as error:
        _logger.warning("the tables of the old index cannot be looked for: %s", error)
        return damaged
    damaged.close()
    return Damaged.open(copy)


class _Filling:
    """One new index, while it is filled."""

    def __init__(
        self, connection: sqlite3.Connection, backend: Backend, terms: RebuildTerms
    ) -> None:
        self._connection = connection
        self._backend = backend
        self._terms = terms
        self._said_at = terms.monotonic()

    def salvage(self, damaged: Damaged) -> None:
        """Take what can be read of the old index."""
        for table in _SALVAGED:
            before = self._count(table.name)
            marks = ", ".join("?" * len(table.columns))
            insert = f'INSERT OR IGNORE INTO "{table.name}" VALUES ({marks})'
            for rows in _some(damaged.rows(table)):
                self._connection.executemany(insert, rows)
                self._say(f"reading {table.name} of the old one")
            _logger.info("%d rows of %s were read", self._count(table.name) - before, table)
        self._execute(
            "UPDATE blobs SET checksums = x'', seed_version = ? "
            "WHERE seed_version NOT BETWEEN 0 AND ? OR size < 0 OR generation < 1 "
            "OR length(checksums) != ? * ((size + ?) / ?)",
            UNKNOWN_VERSION,
            MAX_VERSION,
            CHECKSUM_BYTES,
            PIECE_BYTES - 1,
            PIECE_BYTES,
        )
        self._execute("DELETE FROM seeds WHERE version NOT BETWEEN 1 AND ?", MAX_VERSION)
        self._execute("DELETE FROM seeds WHERE length(seed) != 8")
        self._execute("UPDATE blobs SET generation = 1 WHERE generation < 1")

    def walk(self) -> None:
        """Take the blobs from their folder."""
        # Files that the old index said nothing of.
        self._execute("CREATE TEMP TABLE unheard (digest TEXT PRIMARY KEY)")
        for shard in range(SHARDS):
            self._take_shard(shard)
            self._say(f"taking the blobs, {shard + 1} of {SHARDS} folders")

    def _take_shard(self, shard: int) -> None:
        stored = self._backend.listing(shard).sizes
        known = {
            digest: (size, state)
            for digest, size, state in self._connection.execute(
                "SELECT digest, size, state FROM blobs WHERE digest >= ? AND digest < ?",
                (f"sha256:{shard:02x}", f"sha256:{shard + 1:02x}" if shard < 255 else "sha256:g"),
            )
        }
        fresh = sorted(stored.keys() - known.keys())
        for some in _some(fresh):
            self._connection.executemany(
                "INSERT INTO blobs (digest, size, sniffed_type, width, height, frames, checksums, "
                "seed_version, state, generation, created_at, state_since) "
                "VALUES (?, ?, ?, ?, ?, ?, x'', ?, 'live', 1, ?, ?)",
                [self._new_row(digest, stored[digest]) for digest in some],
            )
            self._connection.executemany(
                "INSERT INTO unheard VALUES (?)", [(digest,) for digest in some]
            )
            self._say(f"looking at the blobs, {shard + 1} of {SHARDS} folders")
        self._connection.executemany(
            "UPDATE blobs SET size = ?, checksums = x'', seed_version = ?, state = 'live' "
            "WHERE digest = ?",
            [
                (stored[digest], UNKNOWN_VERSION, digest)
                for digest, (size, state) in known.items()
                if digest in stored and (size != stored[digest] or state == "quarantined")
            ],
        )
        self._connection.executemany(
            "UPDATE blobs SET state = 'quarantined', state_since = ? "
            "WHERE digest = ? AND state != 'quarantined'",
            [(self._terms.now, digest) for digest in known.keys() - stored.keys()],
        )

    def _new_row(self, digest: str, size: int) -> tuple[Value, ...]:
        head = self._head(Digest(digest))
        image = parse_image(head)
        now = self._terms.now
        return (
            digest,
            size,
            sniff(head),
            image.width if image else None,
            image.height if image else None,
            image.frames if image else None,
            UNKNOWN_VERSION,
            now,
            now,
        )

    def _head(self, digest: Digest) -> bytes:
        """Return a blob's first bytes; none where it cannot be read, which its first read will find."""
        try:
            file = self._backend.open(digest)
            if file is None:
                return b""
            try:
                buffer = bytearray(min(file.size, _HEAD_BYTES))
                return bytes(buffer[: file.read_into(0, memoryview(buffer))])
            finally:
                file.close()
        except StoreError as error:
            _logger.warning("the first bytes of %s cannot be read: %s", digest, error)
            return b""

    def conclude(self) -> Rebuilt:
        """Bring grants, holds and states to agree, and count."""
        now = self._terms.now
        lease_end = now + self._terms.lease_seconds
        self._execute(
            "INSERT OR IGNORE INTO grants (tenant, digest, media_type, created_at, unnamed) "
            "SELECT tenant, digest, NULL, min(created_at), 1 FROM holds GROUP BY tenant, digest"
        )
        given = self._give_to_the_one_tenant()
        self._execute(
            "INSERT OR IGNORE INTO tenants (tenant, created_at) "
            "SELECT tenant, min(created_at) FROM grants GROUP BY tenant"
        )
        self._execute(
            "INSERT INTO holds (tenant, digest, kind, name, expires_at, created_at) "
            "SELECT tenant, digest, 'lease', '', ?, ? FROM grants WHERE NOT EXISTS (SELECT 1 FROM "
            "holds WHERE holds.tenant = grants.tenant AND holds.digest = grants.digest)",
            lease_end,
            now,
        )
        self._execute(
            "INSERT INTO blobs (digest, size, checksums, seed_version, state, generation, "
            "created_at, state_since) SELECT DISTINCT digest, 0, x'', ?, 'quarantined', 1, ?, ? "
            "FROM grants WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.digest = grants.digest)",
            UNKNOWN_VERSION,
            now,
            now,
        )
        self._execute(
            "DELETE FROM end_users WHERE NOT EXISTS (SELECT 1 FROM grants WHERE "
            "grants.tenant = end_users.tenant AND grants.digest = end_users.digest)"
        )
        self._settle_states()
        is_closed = self._keep_closed()
        self._count_anew()
        return Rebuilt(
            blobs=self._count("blobs WHERE state != 'quarantined'"),
            granted_blobs=self._count("blobs WHERE state = 'live'"),
            missing_blobs=self._count(
                "blobs WHERE state = 'quarantined' "
                "AND EXISTS (SELECT 1 FROM grants WHERE grants.digest = blobs.digest)"
            ),
            grants=self._count("grants"),
            given_grants=given,
            keys=self._count("keys"),
            is_closed=is_closed,
        )

    def _give_to_the_one_tenant(self) -> int:
        """Grant what nobody was granted, where it can have been one tenant's alone."""
        others = self._count(f"tenants WHERE tenant != '{DEFAULT_TENANT}'") + self._count(
            f"grants WHERE tenant != '{DEFAULT_TENANT}'"
        )
        if self._terms.is_keyed or others or self._count("keys"):
            return 0
        before = self._count("grants")
        self._execute(
            "INSERT INTO grants (tenant, digest, media_type, created_at, unnamed) "
            "SELECT ?, digest, NULL, ?, 1 FROM unheard WHERE NOT EXISTS "
            "(SELECT 1 FROM grants WHERE grants.digest = unheard.digest)",
            DEFAULT_TENANT,
            self._terms.now,
        )
        return self._count("grants") - before

    def _settle_states(self) -> None:
        granted = "EXISTS (SELECT 1 FROM grants WHERE grants.digest = blobs.digest)"
        now = self._terms.now
        self._execute(
            f"UPDATE blobs SET state = 'condemned', state_since = ? "
            f"WHERE state = 'live' AND NOT {granted}",
            now,
        )
        self._execute(
            f"UPDATE blobs SET state = 'live', state_since = ? "
            f"WHERE state = 'condemned' AND {granted}",
            now,
        )

    def _keep_closed(self) -> bool:
        """Let a revoked key stand in for keys that were lost; return whether it does."""
        if not self._terms.is_keyed or self._count("keys"):
            return False
        self._execute(
            "INSERT INTO keys (id, secret_hash, tenant, scopes, label, created_at, revoked_at) "
            "VALUES (?, zeroblob(32), NULL, '', 'stands in for keys that were lost', ?, ?)",
            _LOST_KEY,
            self._terms.now,
            self._terms.now,
        )
        return True

    def _count_anew(self) -> None:
        """Count the sums; the triggers met rows whose others were still to come."""
        self._execute(
            "UPDATE blob_totals SET blobs = (SELECT count(*) FROM blobs AS b "
            "WHERE b.state = blob_totals.state), bytes = (SELECT coalesce(sum(size), 0) "
            "FROM blobs AS b WHERE b.state = blob_totals.state)"
        )
        self._execute(
            "UPDATE tenants SET (grants, grant_bytes) = (SELECT count(*), coalesce(sum(size), 0) "
            "FROM grants JOIN blobs USING (digest) WHERE grants.tenant = tenants.tenant)"
        )

    def _execute(self, statement: str, *values: Value) -> None:
        self._connection.execute(statement, values)

    def _count(self, what: str) -> int:
        return int(self._connection.execute(f"SELECT count(*) FROM {what}").fetchone()[0])

    def _say(self, doing: str) -> None:
        if self._terms.monotonic() - self._said_at >= _SAY_SECONDS:
            self._said_at = self._terms.monotonic()
            _logger.info("making a new index: %s", doing)


def _some(items: Iterable[_T]) -> Iterable[list[_T]]:
    batch: list[_T] = []
    for item in items:
        batch.append(item)
        if len(batch) == _AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
