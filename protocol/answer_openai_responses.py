"""Answers in `openai.responses`: the items of `output`, each as it came.

`input += response.output` is how programs go on; the SDK writes the keys that were sent, and no others.
Reasoning, calls and generated images are items like the rest. Of a stream the last event has all of
them; where a server leaves them out there, those count that it announced as done. Source: the `openai`
package, types/responses/response_stream_event.py and lib/streaming/responses/, version 3.
"""

from .answer import AnswerParts, ModelAnswer, name_of, objects_of, text_of
from .attachment import Slot
from .json_value import Json, JsonObject
from .reading import Reader
from .slots import Base64Slot

_FINISHED = frozenset({"completed", "incomplete"})
_LAST = frozenset({"response.completed", "response.incomplete"})
_PARTIAL = "partial_image_b64"
_FAILURES = frozenset({"error", "response.failed"})


class OpenAIResponsesAnswers:
    """The form of `openai.responses`."""

    dialect = "openai.responses"
    marks = (b'"image_generation_call"', b'"partial_image_b64"', b'"data:')

    def read(self, body: Json) -> ModelAnswer | None:
        """Read a response; see `AnswerForm.read`. One that is made in the background is not finished."""
        if not isinstance(body, dict) or not isinstance(body.get("output"), list):
            return None
        if text_of(body.get("status", "completed")) not in _FINISHED or body.get("error"):
            return None
        return ModelAnswer(name_of(body.get("id")), objects_of(body["output"]))

    def parts(self) -> AnswerParts:
        """Return what puts events together."""
        return _ResponseParts()

    def carried(self, value: Json) -> list[Json]:
        """Return the items of a response, or the one of an event."""
        if not isinstance(value, dict):
            return []
        response = value.get("response", value)
        output = response.get("output") if isinstance(response, dict) else None
        return [*objects_of([value.get("item")]), *objects_of(output)]

    def passing(self, value: Json) -> list[Slot]:
        """Find an image in the making."""
        data = text_of(value.get(_PARTIAL)) if isinstance(value, dict) else ""
        if not data or not isinstance(value, dict):
            return []
        return [Base64Slot((_PARTIAL,), Reader().base64(data, None, (_PARTIAL,)), value, _PARTIAL)]


class _ResponseParts:
    """The events of one stream."""

    def __init__(self) -> None:
        self.is_whole = False
        self.is_last = False
        self._id: str | None = None
        self._done: dict[int, JsonObject] = {}

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether the response failed; see `AnswerParts.is_failure`."""
        return text_of(event.get("type", name)) in _FAILURES

    def take(self, event: JsonObject) -> None:
        """Take the next event."""
        kind = text_of(event.get("type"))
        response, item = event.get("response"), event.get("item")
        if isinstance(response, dict):
            self._id = name_of(response.get("id")) or self._id
        if kind == "response.output_item.done" and isinstance(item, dict):
            index = event.get("output_index")
            self._done[index if isinstance(index, int) else len(self._done)] = item
        self.is_last = isinstance(kind, str) and kind in _LAST
        if self.is_last:
            self.is_whole = True
            output = objects_of(response.get("output")) if isinstance(response, dict) else []
            if output:
                self._done = dict(enumerate(output))

    def answer(self) -> ModelAnswer:
        """Return the items that are done."""
        return ModelAnswer(self._id, [self._done[index] for index in sorted(self._done)])
