"""A streamed answer, from its bytes: for whoever reads one, on either side of a daemon.

A daemon names the conversation that an answer makes in a comment near the stream's end:

    : coatcheck-answer <prompt digest>
"""

import re
from collections.abc import Iterator

from .answer import AnswerParts, ModelAnswer
from .buffer import Buffer
from .digest import Digest
from .errors import AnswerError, JsonError, SseError
from .json_value import JsonObject, decode_json
from .sse import SseEvent, SseReader, write_comment

ANSWER_HEADER = "Coatcheck-Answer"
"""Names the list with the answer, with an answer that is no stream."""

ANSWER_REFS_HEADER = "Coatcheck-Answer-Refs"
"""With the value `1` in a request it asks for refs in place of an answer's inline bytes."""

_END = "[DONE]"
_ANNOUNCEMENT = "coatcheck-answer"
# It stands on a line of its own.
_announces = re.compile(rb"[\r\n]: coatcheck-answer (sha256:[0-9a-f]{64})[\r\n]").search
_ANNOUNCEMENT_BYTES = 128


def announcement(digest: Digest) -> bytes:
    """Return the comment that names a list with its answer."""
    return write_comment(f"{_ANNOUNCEMENT} {digest}")


class AnswerStream:
    """Turns a stream's bytes into its events' JSON, and these into the answer.

    Feed it until the bytes end. What follows the end of a dialect's stream is passed over.
    """

    def __init__(self, parts: AnswerParts) -> None:
        self.announced: Digest | None = None
        """What the daemon named."""
        self.is_ended = False
        """Whether the event came that ends the stream."""
        self.failure: JsonObject | None = None
        """The event that told that there will be no answer."""
        self._parts = parts
        self._reader = SseReader()
        self._tail = b"\n"

    @property
    def is_whole(self) -> bool:
        """Whether all of the answer came."""
        return self.failure is None and (self.is_ended or self._parts.is_whole)

    def answer(self) -> ModelAnswer | None:
        """Return what came so far; None where it cannot be put together."""
        return None if self.failure is not None else self._parts.answer()

    def feed(self, data: Buffer) -> Iterator[JsonObject]:
        """Take the next bytes; yield the JSON of the events that they complete, each once counted in.

        Iterate over what it returns to its end before the next call. After a failure, which is not
        yielded, nothing more is taken.

        Raises:
            AnswerError: what came is no stream of JSON objects.
        """
        self._look_for_announcement(bytes(data))
        try:
            events = self._reader.feed(data)
        except SseError as error:
            raise AnswerError(f"the stream is not readable: {error}") from error
        for event in events:
            if (value := self._take(event)) is not None:
                yield value

    def _look_for_announcement(self, data: bytes) -> None:
        seen = self._tail + data
        if found := _announces(seen):
            self.announced = Digest(found[1].decode())
        self._tail = seen[-_ANNOUNCEMENT_BYTES:]

    def _take(self, event: SseEvent) -> JsonObject | None:
        if self.is_ended or self.failure is not None:
            return None
        if event.data == _END:
            self.is_ended = True
            return None
        value = event_object(event)
        if self._parts.is_failure(value, event.event):
            self.failure = value
            return None
        self._parts.take(value)
        self.is_ended = self._parts.is_last
        return value


def event_object(event: SseEvent) -> JsonObject:
    """Return the JSON of an event.

    Raises:
        AnswerError: it is no object.
    """
    try:
        value = decode_json(event.data)
    except JsonError as error:
        raise AnswerError(f"an event of the stream is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise AnswerError("an event of the stream is no object")
    return value
