"""Answers that nobody asked to keep: they pass, and images in them are taken in afterwards.

Looking for a mark in the bytes is all that an answer without images costs.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from coatcheck.protocol import FoundInline, Json, ProtocolError, split_events

from .keeping import AnsweredTurn, AnswerKeeping
from .marked import has_mark, value_of
from .whole import read_json

Absorb: TypeAlias = Callable[[AnsweredTurn, Callable[[], Sequence[Json]]], None]
"""Takes in what a function returns of messages, some time."""

_LEAST_BYTES = 1024  # of an answer or event that is looked at: most events of a stream are a word
_LOOKED_AT_BYTES = 256 * 1024  # at once, beside the traffic; more is looked at in a thread
_CODED_BYTES = 8 * 1024  # a shorter coded answer has hardly an image that is worth the decoding


class WholeWatch:
    """Looks at an answer that comes whole; see `Watch`."""

    def __init__(self, keeping: AnswerKeeping, codings: Sequence[str], absorb: Absorb) -> None:
        self._turn = keeping.turn
        self._max_bytes = keeping.limits.max_bytes
        self._codings = codings
        self._absorb = absorb
        self._held = _Held(self._max_bytes)

    def see(self, data: bytes, *, ends_inside: bool) -> None:
        """Hold what passes, within a bound."""
        self._held.add(data)

    def end(self) -> None:
        """Have it read if there may be an image."""
        size, pieces = self._held.size, self._held.take()
        if self._codings:
            is_worth = size >= _CODED_BYTES
        else:
            is_worth = size > _LOOKED_AT_BYTES or has_mark(self._turn.form, b"".join(pieces))
        if pieces and is_worth:
            self._absorb(
                self._turn, partial(_of_whole, self._turn, pieces, self._codings, self._max_bytes)
            )


class EventWatch:
    """Looks at a stream; see `Watch`."""

    def __init__(self, keeping: AnswerKeeping, absorb: Absorb) -> None:
        self._turn = keeping.turn
        self._absorb = absorb
        self._held = _Held(keeping.limits.max_bytes)

    def see(self, data: bytes, *, ends_inside: bool) -> None:
        """Have events read that may carry an image; a long one is held until it has ended."""
        if len(data) < _LEAST_BYTES and not self._held.size:
            return
        if ends_inside or self._held.size:
            self._held.add(data)
            if ends_inside:
                return
            pieces = self._held.take()
        elif has_mark(self._turn.form, data):
            pieces = [data]
        else:
            return
        if pieces:
            self._absorb(self._turn, partial(_of_events, self._turn, pieces))

    def end(self) -> None:
        """Nothing is left to do."""


class _Held:
    """Pieces in a row, none at all where they are too long."""

    def __init__(self, max_bytes: int) -> None:
        self.size = 0
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []

    def add(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= self._max_bytes:
            self._pieces.append(data)
        else:
            self._pieces = []

    def take(self) -> list[bytes]:
        pieces, self._pieces, self.size = self._pieces, [], 0
        return pieces


def _of_whole(
    turn: AnsweredTurn, pieces: Sequence[bytes], codings: Sequence[str], max_bytes: int
) -> Sequence[Json]:
    body = b"".join(pieces)
    if not codings and not has_mark(turn.form, body):
        return ()
    return _carried(turn, [read_json(body, codings, max_bytes)])


def _of_events(turn: AnsweredTurn, pieces: Sequence[bytes]) -> Sequence[Json]:
    data = b"".join(pieces)
    marked = [event for event in split_events(data) if has_mark(turn.form, event)]
    return _carried(turn, [value_of(event) for event in marked])


def _carried(turn: AnsweredTurn, values: Sequence[Json]) -> Sequence[Json]:
    """Return what values carry of messages, if there are bytes in them."""
    messages = [message for value in values for message in turn.form.carried(value)]
    try:
        slots = turn.dialect.walk(messages)
    except ProtocolError:
        return ()
    return messages if any(isinstance(slot.found, FoundInline) for slot in slots) else ()
