"""Ids of responses in SQL. A row goes with its list's last message: the database sees to that."""

from sqlalchemy import (
    Connection,
    Integer,
    String,
    bindparam,
    delete,
    exists,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from .prompt_row import PromptKey
from .schema import prompts, responses

_ROWS_AT_ONCE = 200

_tenant = bindparam("of_tenant", type_=String)
_is_named = (responses.c.tenant == _tenant, responses.c.id == bindparam("of_id", type_=String))
_find = select(
    responses.c.dialect, responses.c.digest, responses.c.answered, responses.c.upstream
).where(*_is_named)
_remove = delete(responses).where(*_is_named)
_is_kept = select(
    exists().where(
        prompts.c.tenant == _tenant,
        prompts.c.dialect == bindparam("of_dialect", type_=String),
        prompts.c.digest == bindparam("of_digest", type_=String),
    )
)
_insert = insert(responses)
# An upstream that gives an id twice means its last response by it.
_put = _insert.on_conflict_do_update(
    index_elements=[responses.c.tenant, responses.c.id],
    set_={
        name: _insert.excluded[name]
        for name in ("dialect", "digest", "answered", "upstream", "created_at", "end_user")
    },
)
_of_end_user = (
    responses.c.tenant == _tenant,
    responses.c.end_user == bindparam("of_end_user", type_=String),
)
_remove_some = delete(responses).where(
    responses.c.tenant == _tenant,
    responses.c.id.in_(
        select(responses.c.id).where(*_of_end_user).limit(bindparam("limit", type_=Integer))
    ),
)
_count = select(func.count()).select_from(responses)


def put(
    connection: Connection,
    response_id: str,
    key: PromptKey,
    *,
    answered: int,
    upstream: str,
    created_at: float,
    end_user: str | None,
) -> bool:
    """Let an id name a kept list; return False, having done nothing, where the list is not kept."""
    named = {"of_tenant": key.tenant, "of_dialect": key.dialect, "of_digest": key.digest}
    if not connection.execute(_is_kept, named).scalar_one():
        return False
    connection.execute(
        _put,
        {
            "tenant": key.tenant,
            "id": response_id,
            "dialect": key.dialect,
            "digest": key.digest,
            "answered": answered,
            "upstream": upstream,
            "created_at": created_at,
            "end_user": end_user,
        },
    )
    return True


def find(connection: Connection, tenant: str, response_id: str) -> tuple[str, str, int, str] | None:
    """Return dialect, digest, how many messages are the answer's, and upstream."""
    row = connection.execute(_find, {"of_tenant": tenant, "of_id": response_id}).one_or_none()
    return None if row is None else (row.dialect, row.digest, row.answered, row.upstream)


def remove(connection: Connection, tenant: str, response_id: str) -> int:
    """Remove an id; return how many rows went."""
    return connection.execute(_remove, {"of_tenant": tenant, "of_id": response_id}).rowcount


def remove_some(connection: Connection, tenant: str, end_user: str) -> int:
    """Remove some ids of an end user's; return how many."""
    return connection.execute(
        _remove_some, {"of_tenant": tenant, "of_end_user": end_user, "limit": _ROWS_AT_ONCE}
    ).rowcount


def count(connection: Connection, tenant: str, end_user: str | None) -> int:
    """Return how many ids a tenant has, or one of its end users."""
    if end_user is None:
        whole = _count.where(responses.c.tenant == _tenant)
        return connection.execute(whole, {"of_tenant": tenant}).scalar_one()
    values = {"of_tenant": tenant, "of_end_user": end_user}
    return connection.execute(_count.where(*_of_end_user), values).scalar_one()
