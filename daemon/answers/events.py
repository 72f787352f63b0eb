"""Streamed answers: read as they pass, and kept and named before the event that ends them.

Where a stream has no such event, or it was too long to be held, that comes behind the last event.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from functools import partial

from coatcheck.protocol import (
    AnswerError,
    AnswerForm,
    AnswerStream,
    JsonObject,
    announcement,
    encode_json,
    last_event_start,
    replace_data,
    split_events,
)
from coatcheck.web import in_thread_if

from ..parsed_request import count_values
from .keeping import AnswerKeeping
from .marked import has_mark, value_of

_STREAM_OF_VALUES = 4


class AnswerEvents:
    """Reads one stream; see `StreamReading`."""

    def __init__(self, keeping: AnswerKeeping, codings: Sequence[str]) -> None:
        turn = keeping.turn
        self.codings = codings
        self.hold_bytes = keeping.limits.max_bytes
        self._keeping = keeping
        self._stream = AnswerStream(turn.form.parts()) if turn.prompt else None
        self._left_bytes = keeping.limits.max_stream_bytes
        self._left_values = _STREAM_OF_VALUES * keeping.limits.max_values

    async def pass_on(self, data: bytes, *, begins_inside: bool) -> bytes:
        """Read some events; where one of them is the last, put the answer's name before it."""
        turn = self._keeping.turn
        if turn.wants_refs and not begins_inside and has_mark(turn.form, data):
            data = await self._with_refs(data)
        stream = self._stream
        if stream is None:
            return data
        self._left_bytes -= len(data)
        room = min(self._left_values, self._keeping.limits.max_values)
        values = await in_thread_if(len(data), partial(_feed, stream, data, room))
        self._left_values -= values or 0
        if values is None or self._left_bytes < 0:
            self._stream = None
        elif stream.is_ended:
            name = await self.end()
            at = last_event_start(data)
            at = len(data) if begins_inside and not at else at
            return data[:at] + name + data[at:]
        return data

    async def end(self) -> bytes:
        """Keep the answer if all of it came, once; return the comment that names it."""
        stream, self._stream = self._stream, None
        answer = stream.answer() if stream and stream.is_whole else None
        named = await self._keeping.append(answer)
        return announcement(named) if named and self._keeping.turn.takes_comments else b""

    async def _with_refs(self, data: bytes) -> bytes:
        marking = partial(_marked, self._keeping.turn.form, data)
        events = await in_thread_if(len(data), marking)
        return b"".join(
            [
                await self._event_with_refs(event) if is_marked else event
                for event, is_marked in events
            ]
        )

    async def _event_with_refs(self, event: bytes) -> bytes:
        value = await asyncio.to_thread(value_of, event, self._keeping.limits.max_values)
        if value is None or not await self._keeping.put_refs(value):
            return event
        return await in_thread_if(len(event), partial(_written, event, value))


def _marked(form: AnswerForm, data: bytes) -> list[tuple[bytes, bool]]:
    """Return some events, each with whether it may carry bytes inline."""
    return [(event, has_mark(form, event)) for event in split_events(data)]


def _written(event: bytes, value: JsonObject) -> bytes:
    return replace_data(event, encode_json(value))


def _feed(stream: AnswerStream, data: bytes, max_values: int) -> int | None:
    """Read some bytes; return how many values they have, None where they cannot be read."""
    values = count_values(data)
    if values > max_values:
        return None
    try:
        deque(stream.feed(data), maxlen=0)
    except AnswerError:
        return None
    return values if stream.failure is None else None
