"""A model's answer, whole or put together from the chunks of a stream."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from coatcheck.protocol import (
    Digest,
    Json,
    JsonError,
    JsonObject,
    SseError,
    SseEvent,
    SseReader,
    decode_json,
)

from .errors import InvalidAnswerError, StreamBrokenError, StreamError
from .refusal import error_told

# The comment that names the list with the answer stands on a line of its own, near the end.
_announces = re.compile(rb"[\r\n]: coatcheck-answer (sha256:[0-9a-f]{64})[\r\n]").search
_ANNOUNCEMENT_BYTES = 128
_END = "[DONE]"


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What came of a turn.

    `message` is the first choice in its plainest form, the role, the content and the tool calls:
    append it to the messages of the next turn as it is, and it is not sent again. `text` is its
    content, empty where it has none. `prompt` names the messages that were sent, None where the
    server does not keep them. `body` is the whole answer.
    """

    text: str
    message: JsonObject
    prompt: Digest | None
    body: JsonObject


def answer_of(body: JsonObject, prompt: Digest | None) -> ChatAnswer:
    """Read the answer to an unstreamed turn.

    Raises:
        InvalidAnswerError: it has no choice with a message.
    """
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(message, dict):
        raise InvalidAnswerError("the answer has no choice with a message")
    calls = message.get("tool_calls")
    plain = plainest(message.get("content"), calls if isinstance(calls, list) else [])
    return ChatAnswer(_text(plain), plain, prompt, body)


def plainest(content: Json, tool_calls: list[Json]) -> JsonObject:
    """Return the assistant's message without anything that a next request need not carry."""
    message: JsonObject = {"role": "assistant", "content": content}
    if tool_calls:
        message["tool_calls"] = tool_calls
    return message


class Assembly:
    """Turns a stream's bytes into chunks, and its chunks into the message.

    Feed it until the bytes end, then call `end`. `message` and `text` say what came so far.
    """

    def __init__(self) -> None:
        self.announced: Digest | None = None
        self.is_done = False
        self._reader = SseReader()
        self._tail = b"\n"
        self._content: list[str] = []
        self._calls: dict[int, JsonObject] = {}

    def feed(self, data: bytes) -> Iterator[JsonObject]:
        """Take the next bytes; yield the chunks that they complete, each once it is counted in.

        Raises:
            StreamError: the stream ended in an error event.
            InvalidAnswerError: an event is no chunk.
        """
        self._look_for_announcement(data)
        try:
            events = self._reader.feed(data)
        except SseError as error:
            raise InvalidAnswerError(f"the stream is not readable: {error}") from error
        for event in events:
            if (chunk := self._take(event)) is not None:
                yield chunk

    def end(self) -> None:
        """Learn that no more bytes come.

        Raises:
            StreamBrokenError: the stream did not say that it was done.
        """
        if not self.is_done:
            raise StreamBrokenError("the stream stopped before its end")

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._content)

    @property
    def message(self) -> JsonObject:
        """The first choice's message so far, in its plainest form."""
        calls: list[Json] = [self._calls[index] for index in sorted(self._calls)]
        return plainest(self.text if self._content or not calls else None, calls)

    def _look_for_announcement(self, data: bytes) -> None:
        seen = self._tail + data
        if found := _announces(seen):
            self.announced = Digest(found[1].decode())
        self._tail = seen[-_ANNOUNCEMENT_BYTES:]

    def _take(self, event: SseEvent) -> JsonObject | None:
        if self.is_done or event.data == _END:
            self.is_done = True
            return None
        try:
            chunk = decode_json(event.data)
        except JsonError as error:
            raise InvalidAnswerError(f"an event of the stream is not JSON: {error}") from error
        if not isinstance(chunk, dict):
            raise InvalidAnswerError("an event of the stream is no object")
        if chunk.get("error") is not None or event.event == "error":
            raise _stream_error(chunk)
        self._add(chunk)
        return chunk

    def _add(self, chunk: JsonObject) -> None:
        for choice in _objects(chunk.get("choices")):
            if choice.get("index", 0) == 0 and isinstance(delta := choice.get("delta"), dict):
                if isinstance(text := delta.get("content"), str):
                    self._content.append(text)
                for call in _objects(delta.get("tool_calls")):
                    self._add_call(call)

    def _add_call(self, delta: JsonObject) -> None:
        index = delta.get("index", 0)
        call = self._calls.setdefault(index if isinstance(index, int) else 0, {})
        for key, value in delta.items():
            if key == "function" and isinstance(value, dict):
                _add_function(cast("JsonObject", call.setdefault("function", {})), value)
            elif key != "index" and value is not None:
                call[key] = value


def _add_function(function: JsonObject, delta: JsonObject) -> None:
    """Arguments come in pieces; a name comes whole."""
    for key, value in delta.items():
        if key == "arguments" and isinstance(value, str):
            before = function.get(key, "")
            function[key] = (before if isinstance(before, str) else "") + value
        elif value is not None:
            function[key] = value


def _stream_error(chunk: JsonObject) -> StreamError:
    told = error_told(chunk)
    code, message = told.get("code"), told.get("message")
    return StreamError(
        200,
        code if isinstance(code, str) else None,
        message if isinstance(message, str) else "the stream ended in an error",
    )


def _objects(value: Json) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(message: JsonObject) -> str:
    content = message["content"]
    return content if isinstance(content, str) else ""
