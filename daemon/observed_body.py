"""A body, read for the report: inflated, parsed and measured in small steps, within bounds."""

from collections.abc import Callable
from dataclasses import dataclass

from coatcheck.protocol import DIALECTS
from coatcheck.web import Inflater, ProblemError, parse_codings

from .errors import TooLargeError
from .marks import Marker, TurnMarks
from .observation import ObservedBody, ObservedRequest
from .observed_turn import ObservedTurn, ReadLimits, SentTurn, measure, parse_turn


@dataclass(frozen=True, slots=True)
class FoundTurn:
    """What a body said, its marks, and how many different ones they are."""

    turn: ObservedTurn
    marks: TurnMarks
    mark_count: int


def read_observed(
    body: ObservedBody | ObservedRequest,
    marker: Marker,
    limits: ReadLimits,
    step: Callable[[], None],
) -> FoundTurn | None:
    """Read a body; None where it holds no turn that could be kept.

    Takes some milliseconds a megabyte, and calls `step` as often as it can: what that raises ends it.

    Raises:
        TooLargeError: it goes beyond the limits.
    """
    dialect = DIALECTS.get(body.dialect)
    if dialect is None:
        return None
    sent: SentTurn | None
    if isinstance(body, ObservedRequest):
        sent = body.sent
    else:
        raw = _inflated(body, limits.max_bytes, step)
        step()
        sent = None if raw is None else parse_turn(raw, dialect, limits)
        del raw
    step()
    turn = None if sent is None else measure(sent, dialect, limits, step)
    if turn is None:
        return None
    marks = marker.marks(body.tenant, turn, step)
    return FoundTurn(turn, marks, len(marks.all()))


def _inflated(body: ObservedBody, max_bytes: int, step: Callable[[], None]) -> bytes | None:
    """Return the body as JSON; None where its coding is not one of ours, or not what it says."""
    pieces: list[bytes] = []
    try:
        inflater = Inflater(parse_codings(body.content_encoding or ""), max_bytes)
        for chunk in body.chunks:
            for piece in inflater.pieces(chunk):
                pieces.append(piece)
                step()
        inflater.finish()
    except ProblemError as error:
        if error.problem.status == 413:
            raise TooLargeError("bytes of a body", "body_too_large", max_bytes=max_bytes) from error
        return None
    return b"".join(pieces)
