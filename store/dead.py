"""Holds that have ended, and the grants that nothing holds any more.

A hold that has ended is dead whether or not its row is still there. Its row stays for a while: a
message that was kept while the hold lived may still be on its way into the tables, and its own
hold asks whether the grant was alive then.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Float, Integer, String, bindparam, exists, select

from coatcheck.protocol import Digest

from .index_rows import delete_hold, remove_grant
from .prepared import Prepared
from .schema import holds

GRACE_SECONDS: Final = 60.0
"""For how long an ended hold's row stays: longer than any message waits to be written."""
_HOLDS_AT_ONCE: Final = 200


@dataclass(frozen=True, slots=True)
class Ended:
    """What a step removed."""

    holds: int
    grants: Sequence[tuple[str, Digest]]
    """Each tenant and digest whose last hold it was."""


_ended = (
    select(holds.c.tenant, holds.c.digest, holds.c.kind, holds.c.name)
    .where(holds.c.expires_at <= bindparam("before", type_=Float))
    .order_by(holds.c.expires_at)
    .limit(bindparam("limit", type_=Integer))
)
_find_ended = Prepared(_ended)
_find_ended_of = Prepared(_ended.where(holds.c.tenant == bindparam("of_tenant", type_=String)))
_is_held = Prepared(
    select(
        exists().where(
            holds.c.tenant == bindparam("of_tenant", type_=String),
            holds.c.digest == bindparam("of_digest", type_=String),
        )
    )
)


def end_holds(
    connection: Connection, before: float, *, now: float, tenant: str | None = None
) -> Ended:
    """Remove some of the holds that ended before this time, and grants that have none left.

    A few hundred at once, so that nobody waits long for the writer; call it until it finds none.
    `tenant` leaves the others' alone.
    """
    found = (
        _find_ended.run(connection, {"before": before, "limit": _HOLDS_AT_ONCE})
        if tenant is None
        else _find_ended_of.run(
            connection, {"before": before, "limit": _HOLDS_AT_ONCE, "of_tenant": tenant}
        )
    )
    for owner, digest, kind, name in found:
        delete_hold(connection, owner, digest, kind, name)
    grants: list[tuple[str, Digest]] = []
    for owner, digest in dict.fromkeys((row[0], row[1]) for row in found):
        if not _is_held.run(connection, {"of_tenant": owner, "of_digest": digest})[0][0]:
            remove_grant(connection, owner, Digest(digest), now)
            grants.append((owner, Digest(digest)))
    return Ended(len(found), grants)
