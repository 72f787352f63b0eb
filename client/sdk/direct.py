"""Going without Coatcheck: whether it is away, and what a provider can be sent without it."""

import pybase64

from coatcheck.protocol import (
    PROMPT_HEADER,
    SNIFF_BYTES,
    Dialect,
    FoundFileId,
    FoundPointer,
    FoundRef,
    JsonObject,
    Problem,
    altchars,
    copy_json,
    dotted,
    sniff,
)

from ..exchange import Reply
from ..refusal import code_of
from .attachments import attachments
from .sources import Sources

_GATEWAY_STATUSES = frozenset({502, 503})
AWAY = frozenset(
    {
        "store_closed",
        "store_failed",
        "store_refused",
        "store_unavailable",
        "too_many_connections",
        "upstream_unreachable",
    }
)
"""Codes of ours that say that the turn reached no provider, and that another way may."""
_OCTET_STREAM = "application/octet-stream"
_NAMED = 8  # paths in a message


def is_away(reply: Reply) -> bool:
    """Whether an answer says that nobody took the turn: ours, or a page of a proxy's in its place.

    What a provider says is JSON, and its answer; a page of its own proxy's comes with the name of the
    prompt that Coatcheck kept.
    """
    if reply.status not in _GATEWAY_STATUSES:
        return False
    kind = reply.headers.get("content-type", "")
    return code_of(reply) in AWAY if "json" in kind else PROMPT_HEADER.lower() not in reply.headers


def inlined(
    body: JsonObject, dialect: Dialect, sources: Sources
) -> tuple[JsonObject | None, list[str]]:
    """Put bytes that are at hand in place of pointers; return None where there is none.

    With it come the paths of what is ours and stays, which only Coatcheck can resolve. The body itself is
    not changed.

    Raises:
        MalformedMessageError: a message is not the dialect's.
    """
    copied = {key: copy_json(value) for key, value in body.items()}
    left: list[str] = []
    is_changed = False
    for slot in attachments(copied, dialect):
        found = slot.found
        held = sources.get(found.pointer.digest) if isinstance(found, FoundPointer) else None
        if isinstance(found, FoundPointer) and held is not None:
            media_type = found.media_type or sniff(held[:SNIFF_BYTES]) or _OCTET_STREAM
            text = pybase64.b64encode(held, altchars(slot.is_url_safe)).decode()
            slot.put_inline(media_type, text)
            is_changed = True
        elif isinstance(found, FoundPointer | FoundRef | FoundFileId):
            left.append(dotted(slot.path))
    return copied if is_changed else None, left


def unresolved(paths: list[str]) -> Problem:
    """Return what is wrong with a turn that has what only Coatcheck resolves, while that is away."""
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return Problem(
        503,
        "coatcheck_away",
        "Coatcheck is away",
        f"Coatcheck is away, and only it can resolve {', '.join(paths[:_NAMED])}{more}",
        {"path": paths[0]},
    )
