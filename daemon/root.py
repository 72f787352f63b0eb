"""A conversation's root: what all of its turns begin with, and few others do.

It is the prompt digest of the first messages up to the first that is no instruction: programs give every
conversation the same instructions. In ref form, so that it is the same whether an image came inline
or as a ref, in a whole list or behind an envelope, and in every process.
"""

from collections.abc import Sequence

from coatcheck.protocol import (
    Dialect,
    Json,
    PromptDigestError,
    messages_in,
    prompt_digests,
    put_back,
    ref_form,
)

from .turn import Turn

_INSTRUCTING = frozenset({"system", "developer"})


def conversation_root(dialect: Dialect, turn: Turn) -> bytes | None:
    """Return the root of a turn's conversation; None for a turn without messages, or without a digest.

    Before anything is put into the turn's slots. Decodes and hashes what is inline in these messages, so
    a large turn belongs in a thread.
    """
    messages = dialect.list_messages(messages_in(dialect, turn.body)) or []
    first = [put_back(message) for message in messages[: _count(messages)]]
    if not first:
        return None
    try:
        return prompt_digests(dialect.name, ref_form(dialect, first, turn.origins).messages)[-1].raw
    except PromptDigestError:
        return None


def _count(messages: Sequence[Json]) -> int:
    for index, message in enumerate(messages):
        if not (isinstance(message, dict) and message.get("role") in _INSTRUCTING):
            return index + 1
    return len(messages)
