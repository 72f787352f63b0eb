"""What the erasure of messages reads and removes, a bounded step at a time.

What follows a message of an end user's goes with it, because it contains it: each step gives the
end user's name to what follows directly, in the transaction that removes the message, and a later
step finds it by that name. So a step that was the last before a crash is gone on with by the next.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Integer, String, bindparam, delete, func, select, update

from coatcheck.protocol import Digest, InvalidDigestError

from .schema import prompts

_ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is to go, and the blobs that it names."""

    tenant: str
    dialect: str
    digest: str
    """As the row has it, which may have rotted."""
    blobs: tuple[Digest, ...]


_of_tenant = prompts.c.tenant == bindparam("of_tenant", type_=String)
_of_end_user = prompts.c.end_user == bindparam("of_end_user", type_=String)
_some = select(prompts.c.dialect, prompts.c.digest, prompts.c.blobs).limit(
    bindparam("limit", type_=Integer)
)
_count = select(func.count()).select_from(prompts)
_of_dialect = prompts.c.dialect == bindparam("of_dialect", type_=String)
_digest = bindparam("of_digest", type_=String)
_name_followers = (
    update(prompts)
    .where(_of_tenant, _of_dialect, prompts.c.parent == _digest)
    .values(end_user=bindparam("of_end_user", type_=String))
)
_remove = delete(prompts).where(_of_tenant, _of_dialect, prompts.c.digest == _digest)


def find(connection: Connection, tenant: str, end_user: str | None) -> list[Message]:
    """Return some of the messages of a tenant, or of one of its end users."""
    values = {"of_tenant": tenant, "limit": _ROWS_AT_ONCE}
    if end_user is None:
        rows = connection.execute(_some.where(_of_tenant), values)
    else:
        rows = connection.execute(
            _some.where(_of_tenant, _of_end_user), values | {"of_end_user": end_user}
        )
    return [
        Message(tenant, row.dialect, row.digest, tuple(_sound(row.blobs.split()))) for row in rows
    ]


def remove(connection: Connection, messages: Sequence[Message], end_user: str | None) -> int:
    """Remove messages; what follows them is the end user's from then on. Return how many went."""
    values = [
        {"of_tenant": item.tenant, "of_dialect": item.dialect, "of_digest": item.digest}
        for item in messages
    ]
    if end_user is not None:
        connection.execute(_name_followers, [value | {"of_end_user": end_user} for value in values])
    return connection.execute(_remove, values).rowcount


def count(connection: Connection, tenant: str, end_user: str | None) -> int:
    """Return how many messages a tenant has, or one of its end users."""
    if end_user is None:
        return connection.execute(_count.where(_of_tenant), {"of_tenant": tenant}).scalar_one()
    values = {"of_tenant": tenant, "of_end_user": end_user}
    return connection.execute(_count.where(_of_tenant, _of_end_user), values).scalar_one()


def _sound(texts: Iterable[str]) -> Iterator[Digest]:
    """Yield the digests; what has rotted names nothing."""
    for text in texts:
        with contextlib.suppress(InvalidDigestError):
            yield Digest(text)
