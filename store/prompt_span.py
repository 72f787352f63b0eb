"""Spans: in every so many messages of a list one row has the texts of all of them.

So a list of ten thousand messages is read in some two hundred steps, not in ten thousand.

1. A row whose depth is a multiple of `SPAN_MESSAGES` may have a span: the texts of the messages that end
   with its own, and what they continue. Whoever walks a list goes on from there.
2. Spans are a second copy: each row keeps its own text, since another list may branch off from it. One
   that is damaged is dropped and made again; without spans a list is only read more slowly.
3. A span goes with its row. What is erased or expires goes with all that follows it, and so with every
   span that it is in.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    LargeBinary,
    String,
    Text,
    and_,
    bindparam,
    case,
    func,
    select,
    update,
)

from coatcheck.protocol import piece_checksum

from .schema import prompts

SPAN_MESSAGES = 128
"""Reading takes a step for each span, and for each of up to as many messages behind the last one."""

_BETWEEN = "\x1e"  # JSON has it only escaped
_NO_SEED = 0

of_list = (
    prompts.c.tenant == bindparam("of_tenant", type_=String),
    prompts.c.dialect == bindparam("of_dialect", type_=String),
)
"""What a statement is about; beside `is_last`."""
is_last = and_(*of_list, prompts.c.digest == bindparam("of_digest", type_=String))
"""Whether a row is the last one of the list."""

length = case((prompts.c.span_parent.is_(None), 1), else_=SPAN_MESSAGES).label("length")
"""How many messages a row stands for where spans are used."""
before = func.coalesce(prompts.c.span_parent, prompts.c.parent).label("before")
"""What those messages continue."""

_walked = (prompts.c.tenant, prompts.c.dialect, prompts.c.digest, prompts.c.depth)
_last = select(*_walked, length, before).where(is_last).cte("walk", recursive=True)
_walk = _last.union_all(
    select(*_walked, length, before).join(
        _last,
        and_(
            prompts.c.tenant == _last.c.tenant,
            prompts.c.dialect == _last.c.dialect,
            prompts.c.digest == _last.c.before,
            prompts.c.depth == _last.c.depth - _last.c.length,
        ),
    )
)
_stretches = select(_walk.c.digest, _walk.c.depth, _walk.c.length).order_by(_walk.c.depth)

_put = (
    update(prompts)
    .where(is_last)
    .values(
        span=bindparam("span", type_=Text),
        span_parent=bindparam("span_parent", type_=String),
        span_checksum=bindparam("span_checksum", type_=LargeBinary),
    )
)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some messages of a list that follow each other: the last one, and how many stand before them."""

    digest: str
    above: int
    depth: int
    has_span: bool


def stretches(connection: Connection, named: dict[str, str | float]) -> list[Stretch]:
    """Return a list in stretches of at most `SPAN_MESSAGES`, the first messages first."""
    found: list[Stretch] = []
    for row in connection.execute(_stretches, named).all():
        above = row.depth - row.length
        last = found[-1] if found else None
        if row.length == 1 and last and not last.has_span and last.depth % SPAN_MESSAGES:
            found[-1] = Stretch(row.digest, last.above, row.depth, has_span=False)
        else:
            found.append(Stretch(row.digest, above, row.depth, has_span=row.length > 1))
    return found


def join(texts: Sequence[str]) -> str | None:
    """Return what a span keeps of its messages' texts; None where it can keep none of these."""
    joined = _BETWEEN.join(texts)
    return joined if joined.count(_BETWEEN) == SPAN_MESSAGES - 1 else None


def split(span: str) -> list[str]:
    """Return the texts that a span keeps."""
    return span.split(_BETWEEN)


def put(
    connection: Connection, named: dict[str, str | float], span: str | None, parent: str | None
) -> None:
    """Give a row its span, or take it away."""
    checksum = None if span is None or parent is None else span_checksum(named, parent, span)
    values = {"span": span, "span_parent": parent, "span_checksum": checksum}
    connection.execute(_put, named | values)


def span_checksum(named: dict[str, str | float], parent: str, span: str) -> bytes:
    """Return the checksum of a span and its place."""
    fields = (named["of_tenant"], named["of_dialect"], named["of_digest"], parent, span)
    return piece_checksum("\n".join(map(str, fields)).encode("utf-8", "surrogatepass"), _NO_SEED)
