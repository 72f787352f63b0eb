"""What a client sent now, copied to be kept."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from coatcheck.protocol import Dialect, Digest, Json

from .received import Received
from .turn import LargeValue, Turn


@dataclass(frozen=True, slots=True)
class Sent:
    """What a client sent now, copied to be kept: messages after `parent`, of which there are `start`.

    `beside` are large values beside the messages, `end_user` is whom the request is for.
    """

    parent: Digest | None
    start: int
    messages: Sequence[Json]
    beside: Sequence[LargeValue]
    origins: Collection[str]
    end_user: str | None


def sent_of(turn: Turn, received: Received, dialect: Dialect, *, is_kept: bool) -> Sent:
    """Copy what the client sent now, since hydration writes into it; with every string whole if kept."""
    return Sent(
        parent=turn.parent,
        start=turn.start,
        messages=turn.copy_appended(puts_back=is_kept),
        beside=turn.copy_beside(dialect) if is_kept else [],
        origins=turn.origins,
        end_user=received.end_user,
    )
