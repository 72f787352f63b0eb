"""What rows have to agree on, looked for over all of them, and mended.

Every transaction keeps it, so that what is found comes from damage, or from a fault of the program.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection

NAMED_AT_MOST: Final = 10


class FindingKind(StrEnum):
    """What may be wrong with a store."""

    INDEX_DAMAGED = "index_damaged"
    PROMPTS_DAMAGED = "prompts_damaged"
    NO_ROW = "no_row"
    NO_FILE = "no_file"
    OTHER_SIZE = "other_size"
    NOT_ASIDE = "not_aside"
    FOREIGN_FILE = "foreign_file"
    LIVE_WITHOUT_GRANT = "live_without_grant"
    CONDEMNED_WITH_GRANT = "condemned_with_grant"
    GRANT_WITHOUT_HOLD = "grant_without_hold"
    NO_REFERENCE = "no_reference"
    WRONG_SUM = "wrong_sum"


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing that is wrong."""

    kind: FindingKind
    count: int
    examples: Sequence[str]
    """Some of them: digests, names, or what SQLite says."""


_GRANTED = "EXISTS (SELECT 1 FROM grants WHERE grants.digest = blobs.digest)"
_HELD = (
    "EXISTS (SELECT 1 FROM holds WHERE holds.tenant = grants.tenant "
    "AND holds.digest = grants.digest)"
)
_TOTALS = """
    SELECT known.state, known.blobs, known.bytes, count(blobs.digest) AS n,
      coalesce(sum(blobs.size), 0) AS size
    FROM blob_totals AS known LEFT JOIN blobs ON blobs.state = known.state GROUP BY known.state
"""
_TENANTS = """
    SELECT known.tenant, known.grants, known.grant_bytes, count(grants.digest) AS n,
      coalesce(sum(blobs.size), 0) AS size
    FROM tenants AS known LEFT JOIN grants ON grants.tenant = known.tenant
    LEFT JOIN blobs ON blobs.digest = grants.digest GROUP BY known.tenant
"""
_RULES: Final[Mapping[FindingKind, Sequence[str]]] = MappingProxyType(
    {
        FindingKind.LIVE_WITHOUT_GRANT: (
            f"SELECT digest FROM blobs WHERE state = 'live' AND NOT {_GRANTED}",
        ),
        FindingKind.CONDEMNED_WITH_GRANT: (
            f"SELECT digest FROM blobs WHERE state = 'condemned' AND {_GRANTED}",
        ),
        FindingKind.GRANT_WITHOUT_HOLD: (
            f"SELECT tenant || ' ' || digest FROM grants WHERE NOT {_HELD}",
        ),
        FindingKind.NO_REFERENCE: (
            "SELECT \"table\" || ' ' || rowid FROM pragma_foreign_key_check",
        ),
        FindingKind.WRONG_SUM: (
            f"SELECT state FROM ({_TOTALS}) WHERE (blobs, bytes) != (n, size)",
            f"SELECT tenant FROM ({_TENANTS}) WHERE (grants, grant_bytes) != (n, size)",
        ),
    }
)
# In this order: what the first ones change, the last ones count.
_MENDING: Final = (
    f"DELETE FROM grants WHERE NOT {_HELD}",
    f"UPDATE blobs SET state = 'condemned', state_since = :now WHERE state = 'live' AND NOT {_GRANTED}",
    f"UPDATE blobs SET state = 'live', state_since = :now WHERE state = 'condemned' AND {_GRANTED}",
    f"""
    UPDATE blob_totals SET blobs = n, bytes = size FROM ({_TOTALS}) AS counted
    WHERE counted.state = blob_totals.state
      AND (blob_totals.blobs, blob_totals.bytes) != (n, size)
    """,
    f"""
    UPDATE tenants SET grants = n, grant_bytes = size FROM ({_TENANTS}) AS counted
    WHERE counted.tenant = tenants.tenant
      AND (tenants.grants, tenants.grant_bytes) != (n, size)
    """,
)


def find_inconsistencies(connection: sqlite3.Connection) -> list[Finding]:
    """Return what rows of the index do not agree on. Reads all of them."""
    findings: list[Finding] = []
    connection.execute("BEGIN")  # all of it as of one moment
    try:
        for kind, queries in _RULES.items():
            count, examples = 0, list[str]()
            for query in queries:
                for (name,) in connection.execute(query):
                    count += 1
                    if len(examples) < NAMED_AT_MOST:
                        examples.append(str(name))
            if count:
                findings.append(Finding(kind, count, examples))
    finally:
        connection.execute("ROLLBACK")
    return findings


def mend_rows(connection: Connection, now: float) -> int:
    """Make them agree; return how many rows that changed. Reads all of them, as the one writer."""
    changed = 0
    for statement in _MENDING:
        changed += connection.exec_driver_sql(
            statement, {"now": now} if ":now" in statement else {}
        ).rowcount
    return changed
