"""Keys in SQL: a row for each that was ever made. Statements are built once.

No row is ever removed: a store that has had a key stays one that asks for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Row,
    String,
    bindparam,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from coatcheck.protocol import ALL_SCOPES, Scope

from .schema import keys


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """What is known of a key; not its secret. Times are Unix seconds."""

    id: str
    tenant: str | None
    """None: a daemon's, which asks for any tenant."""
    scopes: frozenset[Scope]
    label: str
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    last_used_at: float | None = None
    """To the minute; None: never."""

    def is_valid(self, now: float) -> bool:
        """Return whether the key opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


_of_id = keys.c.id == bindparam("of_id", type_=String)
_now = bindparam("now", type_=Float)
_any = select(exists().where(keys.c.id.is_not(None)))
_find = select(keys).where(_of_id)
_all = select(keys).order_by(keys.c.created_at, keys.c.id)
_revoke = update(keys).where(_of_id).values(revoked_at=func.coalesce(keys.c.revoked_at, _now))
_use = (
    update(keys)
    .where(
        _of_id,
        or_(
            keys.c.last_used_at.is_(None),
            keys.c.last_used_at <= bindparam("before", type_=Float),
        ),
    )
    .values(last_used_at=_now)
)


def any_exist(connection: Connection) -> bool:
    """Return whether there is a row, whatever has become of its key."""
    return bool(connection.execute(_any).scalar_one())


def add_key(connection: Connection, info: KeyInfo, secret_hash: bytes) -> None:
    """Write the row of a new key."""
    connection.execute(
        insert(keys).values(
            id=info.id,
            secret_hash=secret_hash,
            tenant=info.tenant,
            scopes=" ".join(sorted(info.scopes)),
            label=info.label,
            created_at=info.created_at,
            expires_at=info.expires_at,
        )
    )


def find_key(connection: Connection, key_id: str) -> tuple[KeyInfo, bytes] | None:
    """Return a key and the hash of its secret."""
    row = connection.execute(_find, {"of_id": key_id}).one_or_none()
    return None if row is None else (_info(row), bytes(row.secret_hash))


def list_keys(connection: Connection) -> Sequence[KeyInfo]:
    """Return every key, oldest first."""
    return [_info(row) for row in connection.execute(_all)]


def revoke_key(connection: Connection, key_id: str, now: float) -> KeyInfo | None:
    """Write when a key was revoked, once; return it, or None where there is none."""
    connection.execute(_revoke, {"of_id": key_id, "now": now})
    found = find_key(connection, key_id)
    return found and found[0]


def use_key(connection: Connection, key_id: str, now: float, before: float) -> None:
    """Write that a key is used, where the last time is not later than `before`."""
    connection.execute(_use, {"of_id": key_id, "now": now, "before": before})


def _info(row: Row[Any]) -> KeyInfo:
    return KeyInfo(
        id=row.id,
        tenant=row.tenant,
        scopes=frozenset(scope for scope in ALL_SCOPES if scope in row.scopes.split()),
        label=row.label,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
