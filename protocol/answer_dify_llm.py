"""Answers in `dify.llm`: `{"role": "assistant", "content": <text>, "name": null, "tool_calls": [..]}`.

So Dify's API writes a message of its memory, which has an answer's text. Every answer is a stream, of frames
whose `data` is a chunk; one with a `usage` or a `finish_reason` is the last. The arguments of a tool come in pieces,
of which one without an id, or with that of the last call, continues it. Source: `graphon` 0.8,
model_runtime/model_providers/__base/large_language_model.py.
"""

from collections.abc import Sequence

from .answer import AnswerParts, ModelAnswer, objects_of, text_of
from .attachment import Slot
from .json_value import Json, JsonObject


class DifyLlmAnswers:
    """The form of `dify.llm`."""

    dialect = "dify.llm"
    marks = (b'"base64_data"',)

    def read(self, body: Json) -> ModelAnswer | None:
        """Return None: every answer is a stream."""
        return None

    def parts(self) -> AnswerParts:
        """Return what puts frames together."""
        return _ChunkParts()

    def carried(self, value: Json) -> list[Json]:
        """Return the message of a frame."""
        return [*objects_of([_message(value)])]

    def passing(self, value: Json) -> list[Slot]:
        """Find nothing: all that a message carries comes back."""
        return []


class _ChunkParts:
    """The frames of one stream."""

    is_last = False  # the stream just ends

    def __init__(self) -> None:
        self.is_whole = False
        """Whether the last chunk came."""
        self._texts: list[str] = []
        self._calls: list[_ToolCall] = []
        self._is_known = True

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether a frame is an error; see `AnswerParts.is_failure`."""
        return event.get("code") != 0

    def take(self, event: JsonObject) -> None:
        """Take the next frame."""
        data = event.get("data")
        delta = data.get("delta") if isinstance(data, dict) else None
        if not isinstance(delta, dict):
            return
        if delta.get("usage") is not None or delta.get("finish_reason") is not None:
            self.is_whole = True
        message = delta.get("message")
        if not isinstance(message, dict):
            return
        content = message.get("content")
        self._is_known = self._is_known and not isinstance(content, list)
        self._texts.append(text_of(content))
        for call in objects_of(message.get("tool_calls")):
            self._call(call)

    def answer(self) -> ModelAnswer | None:
        """Return the text so far; None where there was more than text."""
        if not self._is_known:
            return None
        calls: Sequence[Json] = [call.whole() for call in self._calls]
        message: JsonObject = {
            "role": "assistant",
            "content": "".join(self._texts),
            "name": None,
            "tool_calls": [*calls],
        }
        return ModelAnswer(None, [message] if message["content"] or calls else [])

    def _call(self, call: JsonObject) -> None:
        function = call.get("function")
        if not isinstance(function, dict):
            self._is_known = False
            return
        id_, name = text_of(call.get("id")), text_of(function.get("name"))
        last = self._calls[-1] if self._calls else None
        if last is None or (id_ and id_ != last.id) or (name and not id_):
            last = _ToolCall(id_, text_of(call.get("type")) or "function", name)
            self._calls.append(last)
        last.pieces.append(text_of(function.get("arguments")))


class _ToolCall:
    """One call of a tool, put together."""

    def __init__(self, id_: str, kind: str, name: str) -> None:
        self.id = id_
        self.pieces: list[str] = []
        self._kind = kind
        self._name = name

    def whole(self) -> JsonObject:
        """Return the call."""
        function: JsonObject = {"name": self._name, "arguments": "".join(self.pieces)}
        return {"id": self.id, "type": self._kind, "function": function}


def _message(value: Json) -> Json:
    for key in ("data", "delta", "message"):
        value = value.get(key) if isinstance(value, dict) else None
    return value
