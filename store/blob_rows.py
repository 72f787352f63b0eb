"""Rows of blobs as recovery and scrub read them: by digest, whoever holds the blob."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Integer, String, bindparam, select
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest

from .backend import SHARDS
from .prepared import Prepared
from .schema import BlobState, blobs
from .seed import UNKNOWN_VERSION

_HIGHEST: Final = "sha256:g"  # behind every digest


@dataclass(frozen=True, slots=True)
class BlobFacts:
    """What the index says of a blob's bytes."""

    digest: Digest
    size: int
    checksums: bytes
    seed_version: int
    state: BlobState
    generation: int


_columns = (
    blobs.c.digest,
    blobs.c.size,
    blobs.c.checksums,
    blobs.c.seed_version,
    blobs.c.state,
    blobs.c.generation,
)
_find = Prepared(select(*_columns).where(blobs.c.digest == bindparam("of_digest", type_=String)))
_present_after = Prepared(
    select(*_columns)
    .where(
        blobs.c.digest > bindparam("after", type_=String),
        blobs.c.state != BlobState.QUARANTINED,
    )
    .order_by(blobs.c.digest)
    .limit(bindparam("limit", type_=Integer))
)
_of_shard = Prepared(
    select(blobs.c.digest, blobs.c.size, blobs.c.state).where(
        blobs.c.digest >= bindparam("begin", type_=String),
        blobs.c.digest < bindparam("end", type_=String),
    )
)
_adopt = Prepared(insert(blobs).on_conflict_do_nothing())


def find_blob(connection: Connection, digest: Digest) -> BlobFacts | None:
    """Return the row of one blob."""
    rows = _find.run(connection, {"of_digest": digest})
    return _facts(rows[0]) if rows else None


def present_after(connection: Connection, place: str, limit: int) -> list[BlobFacts]:
    """Return some blobs that are not in quarantine, behind this digest."""
    rows = _present_after.run(connection, {"after": place, "limit": limit})
    return [_facts(row) for row in rows]


def shard_rows(connection: Connection, shard: int) -> dict[str, tuple[int, str]]:
    """Return size and state of each blob of a shard, by the text of its digest."""
    end = f"sha256:{shard + 1:02x}" if shard + 1 < SHARDS else _HIGHEST
    rows = _of_shard.run(connection, {"begin": f"sha256:{shard:02x}", "end": end})
    return {digest: (size, state) for digest, size, state in rows}


def adopt(connection: Connection, digest: Digest, size: int, now: float) -> None:
    """Write a row for bytes that have none: condemned, since nobody holds them."""
    _adopt.run(
        connection,
        {
            "digest": digest,
            "size": size,
            "sniffed_type": None,
            "width": None,
            "height": None,
            "frames": None,
            "checksums": b"",
            "seed_version": UNKNOWN_VERSION,
            "state": BlobState.CONDEMNED,
            "generation": 1,
            "created_at": now,
            "state_since": now,
        },
    )


def _facts(row: Sequence[object]) -> BlobFacts:
    digest, size, checksums, seed_version, state, generation = row
    assert isinstance(digest, str)
    assert isinstance(size, int)
    assert isinstance(checksums, bytes)
    assert isinstance(seed_version, int)
    assert isinstance(state, str)
    assert isinstance(generation, int)
    return BlobFacts(Digest(digest), size, checksums, seed_version, BlobState(state), generation)
