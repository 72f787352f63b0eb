"""Rows that the index adds or brings up to date, each statement built once.

Building a statement costs several times what SQLite takes to run it. Nothing here begins a
transaction: `index.py` joins these into one.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Float, String, bindparam, delete, exists, func, select, update
from sqlalchemy.dialects.sqlite import insert

from coatcheck.protocol import Digest

from .held import is_live
from .prepared import Prepared, Row
from .schema import BlobState, HoldKind, blobs, end_users, grants, holds, tenants

MAX_CLAIMS: Final = 1000
"""End users of one grant that are noted: a claim costs a row, and a tenant may make up names for ever."""


@dataclass(frozen=True, slots=True)
class NewBlob:
    """What an upload learned about the bytes it committed."""

    digest: Digest
    size: int
    sniffed_type: str | None
    width: int | None
    height: int | None
    frames: int | None
    checksums: bytes
    seed_version: int


@dataclass(frozen=True, slots=True)
class NewGrant:
    """What an upload asks for: the blob for a tenant, and what its sender said of it."""

    tenant: str
    declared_type: str | None = None
    end_user: str | None = None
    """Whom the tenant uploads it for; None: it does not say."""


@dataclass(frozen=True, slots=True)
class PromptHold:
    """A kept message that names a blob."""

    tenant: str
    blob: Digest
    prompt: Digest
    kept_at: float
    """When the message was kept; the grant has to have been alive then."""
    expires_at: float


_insert_tenant = Prepared(insert(tenants).on_conflict_do_nothing(), ("tenant", "created_at"))

_insert_blob = insert(blobs)
_put_blob = Prepared(
    _insert_blob.on_conflict_do_update(
        index_elements=[blobs.c.digest],
        set_={
            name: _insert_blob.excluded[name]
            for name in (
                "size",  # a row that was made without reading the bytes may have a wrong one
                "sniffed_type",
                "width",
                "height",
                "frames",
                "checksums",
                "seed_version",
                "state",
                "state_since",
            )
        }
        | {"generation": blobs.c.generation + 1},
    ).returning(blobs.c.generation)
)

_insert_grant = insert(grants)
_put_grant = Prepared(
    _insert_grant.on_conflict_do_update(
        index_elements=[grants.c.tenant, grants.c.digest],
        set_={
            "media_type": func.coalesce(_insert_grant.excluded.media_type, grants.c.media_type),
            "unnamed": func.max(_insert_grant.excluded.unnamed, grants.c.unnamed),
        },
    )
)
_put_end_user = Prepared(insert(end_users).on_conflict_do_nothing())
_has_claim = Prepared(
    select(
        exists().where(
            end_users.c.tenant == bindparam("tenant", type_=String),
            end_users.c.digest == bindparam("digest", type_=String),
            end_users.c.end_user == bindparam("end_user", type_=String),
        )
    )
)
_claims = (
    select(end_users.c.end_user)
    .where(
        end_users.c.tenant == bindparam("tenant", type_=String),
        end_users.c.digest == bindparam("digest", type_=String),
    )
    .limit(MAX_CLAIMS)
)
_count_claims = Prepared(select(func.count()).select_from(_claims.subquery()))
_make_unnamed = Prepared(
    update(grants)
    .where(
        grants.c.tenant == bindparam("of_tenant", type_=String),
        grants.c.digest == bindparam("of_digest", type_=String),
    )
    .values(unnamed=1)
)
_delete_grant = Prepared(
    delete(grants).where(
        grants.c.tenant == bindparam("of_tenant", type_=String),
        grants.c.digest == bindparam("of_digest", type_=String),
    )
)

# What a grant was all that held goes before the sweep's judges. Bytes in quarantine are not
# condemned: they are out of every answer, and gone by another way.
_condemn = Prepared(
    update(blobs)
    .where(
        blobs.c.digest == bindparam("of_digest", type_=String),
        blobs.c.state == BlobState.LIVE,
        ~exists().where(grants.c.digest == blobs.c.digest),
    )
    .values(state=BlobState.CONDEMNED, state_since=bindparam("since", type_=Float))
)

_delete_hold = Prepared(
    delete(holds).where(
        holds.c.tenant == bindparam("of_tenant", type_=String),
        holds.c.digest == bindparam("of_digest", type_=String),
        holds.c.kind == bindparam("of_kind", type_=String),
        holds.c.name == bindparam("of_name", type_=String),
    )
)
_insert_hold = insert(holds)
_hold_columns = ("tenant", "digest", "kind", "name", "expires_at", "created_at")
_add_hold = Prepared(_insert_hold.on_conflict_do_nothing(), _hold_columns)
_extend_hold = Prepared(
    _insert_hold.on_conflict_do_update(
        index_elements=[holds.c.tenant, holds.c.digest, holds.c.kind, holds.c.name],
        set_={"expires_at": func.max(holds.c.expires_at, _insert_hold.excluded.expires_at)},
    ),
    _hold_columns,
)
_is_held = exists().where(
    holds.c.tenant == bindparam("tenant", type_=String),
    holds.c.digest == bindparam("digest", type_=String),
    is_live(bindparam("now", type_=Float)),
)
_has_live_hold = Prepared(select(_is_held))
_standing = Prepared(
    select(
        _is_held,
        exists().where(
            blobs.c.digest == bindparam("digest", type_=String), blobs.c.state == BlobState.LIVE
        ),
    )
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What an upload finds."""

    is_held: bool
    """Whether anything holds the tenant's grant, be the blob's bytes good or in quarantine."""
    is_good: bool
    """Whether the blob's bytes are there and good, whoever holds them."""


def find_standing(connection: Connection, tenant: str, digest: Digest, now: float) -> Standing:
    """Return how a tenant's grant for a blob stands; the same question for any digest."""
    is_held, is_good = _standing.run(connection, {"tenant": tenant, "digest": digest, "now": now})[
        0
    ]
    return Standing(bool(is_held), bool(is_good))


def put_blob(connection: Connection, blob: NewBlob, now: float) -> int:
    """Record bytes that were just committed: a new blob, or the next generation of a known one.

    It is live then, whatever it was before: an upload revives what was condemned, and heals what
    was in quarantine. Returns the generation.
    """
    rows = _put_blob.run(
        connection,
        {
            "digest": blob.digest,
            "size": blob.size,
            "sniffed_type": blob.sniffed_type,
            "width": blob.width,
            "height": blob.height,
            "frames": blob.frames,
            "checksums": blob.checksums,
            "seed_version": blob.seed_version,
            "state": BlobState.LIVE,
            "generation": 1,
            "created_at": now,
            "state_since": now,
        },
    )
    return int(rows[0][0])


def put_grant(
    connection: Connection, grant: NewGrant, digest: Digest, now: float, *, is_held: bool
) -> None:
    """Add the grant, or what is said of it now to the one that `is_held`; a dead one begins anew."""
    tenant = grant.tenant
    _insert_tenant.run(connection, {"tenant": tenant, "created_at": now})
    if not is_held:
        _delete_grant.run(connection, {"of_tenant": tenant, "of_digest": digest})
    row: Row = {
        "tenant": tenant,
        "digest": digest,
        "media_type": grant.declared_type,
        "created_at": now,
        "unnamed": int(grant.end_user is None),
    }
    _put_grant.run(connection, row)
    if grant.end_user is not None:
        put_claim(connection, tenant, digest, grant.end_user, now)


def put_claim(
    connection: Connection, tenant: str, digest: Digest, end_user: str, now: float
) -> None:
    """Note that the grant, which is there, is for this end user too. May be called twice.

    A grant that has `MAX_CLAIMS` of others is for anybody instead: no erasure of one end user ends it.
    """
    if has_claim(connection, tenant, digest, end_user):
        return
    row: Row = {"tenant": tenant, "digest": digest}
    if _count_claims.run(connection, row)[0][0] < MAX_CLAIMS:
        _put_end_user.run(connection, {**row, "end_user": end_user, "created_at": now})
    else:
        _make_unnamed.run(connection, {"of_tenant": tenant, "of_digest": digest})


def has_claim(connection: Connection, tenant: str, digest: Digest, end_user: str) -> bool:
    """Return whether the grant is for this end user, as far as the tenant said."""
    row: Row = {"tenant": tenant, "digest": digest, "end_user": end_user}
    return bool(_has_claim.run(connection, row)[0][0])


def remove_grant(connection: Connection, tenant: str, digest: Digest, now: float) -> None:
    """Remove the grant, if there is one, with its holds; a blob without any other is condemned."""
    _delete_grant.run(connection, {"of_tenant": tenant, "of_digest": digest})
    condemn(connection, digest, now)


def condemn(connection: Connection, digest: Digest, now: float) -> None:
    """Condemn a live blob that no tenant has a grant for; leave any other as it is."""
    _condemn.run(connection, {"of_digest": digest, "since": now})


def has_live_hold(connection: Connection, tenant: str, digest: Digest, now: float) -> bool:
    """Return whether anything holds the grant, be the blob's bytes good or in quarantine."""
    values: Row = {"tenant": tenant, "digest": digest, "now": now}
    return bool(_has_live_hold.run(connection, values)[0][0])


def put_leases(
    connection: Connection, tenant: str, digests: Iterable[Digest], now: float, expires_at: float
) -> None:
    """Give each live grant a lease, or extend the one it has."""
    for digest in digests:
        lease: Row = {"tenant": tenant, "digest": digest, "kind": HoldKind.LEASE, "name": ""}
        _extend_hold.run(connection, {**lease, "expires_at": expires_at, "created_at": now})


def put_pin(connection: Connection, tenant: str, digest: Digest, now: float) -> None:
    """Give the live grant a pin, or leave the one it has."""
    pin: Row = {"tenant": tenant, "digest": digest, "kind": HoldKind.PIN, "name": ""}
    _add_hold.run(connection, {**pin, "expires_at": None, "created_at": now})


def delete_hold(connection: Connection, tenant: str, digest: str, kind: str, name: str) -> bool:
    """Remove one hold; return whether it was there."""
    row: Row = {"of_tenant": tenant, "of_digest": digest, "of_kind": kind, "of_name": name}
    return _delete_hold.change(connection, row) > 0


def end_prompt_hold(
    connection: Connection, tenant: str, digest: Digest, prompt: str, now: float
) -> None:
    """Remove the hold, and the grant with it where nothing else holds that."""
    removed = delete_hold(connection, tenant, digest, HoldKind.PROMPT, prompt)
    if removed and not has_live_hold(connection, tenant, digest, now):
        remove_grant(connection, tenant, digest, now)


def put_prompt_hold(connection: Connection, hold: PromptHold) -> None:
    """Add or extend the hold, if the grant was alive when the message was kept."""
    if has_live_hold(connection, hold.tenant, hold.blob, hold.kept_at):
        row: Row = {
            "tenant": hold.tenant,
            "digest": hold.blob,
            "kind": HoldKind.PROMPT,
            "name": hold.prompt,
            "expires_at": hold.expires_at,
            "created_at": hold.kept_at,
        }
        _extend_hold.run(connection, row)
