"""Streamed answers: read as they pass, and kept and named before the event that ends them.

Where a stream has no such event, or it was too long to be held, that comes behind the last event.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial

from coatcheck.protocol import (
    AnswerError,
    AnswerForm,
    AnswerStream,
    announcement,
    last_event_start,
)
from coatcheck.web import in_thread_if

from .limits import AnswerLimits
from .whole import Append


class AnswerEvents:
    """Reads one stream; see `StreamReading`."""

    def __init__(
        self,
        form: AnswerForm,
        codings: Sequence[str],
        append: Append,
        limits: AnswerLimits,
        takes_comments: bool,
    ) -> None:
        self.codings = codings
        self.hold_bytes = limits.hold_bytes
        self._append = append
        self._takes_comments = takes_comments
        self._stream: AnswerStream | None = AnswerStream(form.parts())
        self._left_bytes = limits.max_stream_bytes

    async def pass_on(self, data: bytes, *, begins_inside: bool) -> bytes:
        """Read some events; where one of them is the last, put the answer's name before it."""
        stream = self._stream
        if stream is None:
            return data
        self._left_bytes -= len(data)
        is_read = await in_thread_if(len(data), partial(_feed, stream, data))
        if not is_read or self._left_bytes < 0:
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
        named = await self._append(answer) if answer else None
        return announcement(named) if named and self._takes_comments else b""


def _feed(stream: AnswerStream, data: bytes) -> bool:
    """Read some bytes; say whether that is possible."""
    try:
        deque(stream.feed(data), maxlen=0)
    except AnswerError:
        return False
    return stream.failure is None
