"""Answers in `gemini.generate`: the first candidate's `content`, as it came.

Of a stream each chunk's content is a message of its own: so Google's SDKs in Python and JavaScript
keep the history of a chat, and send it. A stream is a list of chunks in JSON too, without `alt=sse`.
Signatures of thoughts go back in the alphabet of base64 in which they came, as from JavaScript; the
Python SDK writes the other one. Source: the `google-genai` package, chats.py, version 3.
"""

from .answer import AnswerParts, ModelAnswer, first_of, name_of, objects_of
from .attachment import Slot
from .json_value import Json, JsonObject


class GeminiGenerateAnswers:
    """The form of `gemini.generate`."""

    dialect = "gemini.generate"
    marks = (b'"inlineData"', b'"inline_data"')

    def read(self, body: Json) -> ModelAnswer | None:
        """Read an answer, or the list that a stream is; see `AnswerForm.read`."""
        chunks = objects_of(body) if isinstance(body, list) else objects_of([body])
        parts = _CandidateParts()
        for chunk in chunks:
            if parts.is_failure(chunk, ""):
                return None
            parts.take(chunk)
        return parts.answer() if parts.is_whole else None

    def parts(self) -> AnswerParts:
        """Return what puts chunks together."""
        return _CandidateParts()

    def carried(self, value: Json) -> list[Json]:
        """Return the contents of all candidates."""
        chunks = objects_of(value if isinstance(value, list) else [value])
        candidates = [found for chunk in chunks for found in objects_of(chunk.get("candidates"))]
        return [*objects_of([candidate.get("content") for candidate in candidates])]

    def passing(self, value: Json) -> list[Slot]:
        """Find nothing: all that a content carries comes back."""
        return []


class _CandidateParts:
    """The chunks of one stream."""

    is_last = False  # the stream just ends

    def __init__(self) -> None:
        self.is_whole = False
        self._id: str | None = None
        self._contents: list[Json] = []

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether a chunk is an error; see `AnswerParts.is_failure`."""
        return event.get("error") is not None

    def take(self, event: JsonObject) -> None:
        """Take the next chunk."""
        self._id = self._id or name_of(event.get("responseId"))
        candidate = first_of(event.get("candidates"))
        if candidate is None:
            return
        content = candidate.get("content")
        if isinstance(content, dict) and _has_parts(content):
            self._contents.append(content)
        self.is_whole = self.is_whole or bool(candidate.get("finishReason"))

    def answer(self) -> ModelAnswer:
        """Return the contents so far."""
        return ModelAnswer(self._id, list(self._contents))


def _has_parts(content: JsonObject) -> bool:
    """Whether a next request may carry a content: none of its parts is empty, and it has one."""
    parts = content.get("parts")
    return isinstance(parts, list) and bool(parts) and all(parts)
