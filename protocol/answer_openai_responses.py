"""Answers in `openai.responses`: the items of `output`, each as it came.

`input += response.output` is how programs go on; the SDK writes the keys that were sent, and no others.
Reasoning, calls and generated images are items like the rest. Of a stream the last event has all of
them; where a server leaves them out there, those count that it announced as done. Source: the `openai`
package, types/responses/response_stream_event.py and lib/streaming/responses/, version 3.
"""

from .answer import AnswerParts, ModelAnswer, name_of, objects_of
from .json_value import Json, JsonObject

_FINISHED = frozenset({"completed", "incomplete"})
_LAST = frozenset({"response.completed", "response.incomplete"})
_FAILURES = frozenset({"error", "response.failed"})


class OpenAIResponsesAnswers:
    """The form of `openai.responses`."""

    dialect = "openai.responses"

    def read(self, body: Json) -> ModelAnswer | None:
        """Read a response; see `AnswerForm.read`. One that is made in the background is not finished."""
        if not isinstance(body, dict) or not isinstance(body.get("output"), list):
            return None
        if body.get("status", "completed") not in _FINISHED or body.get("error"):
            return None
        return ModelAnswer(name_of(body.get("id")), objects_of(body["output"]))

    def parts(self) -> AnswerParts:
        """Return what puts events together."""
        return _ResponseParts()


class _ResponseParts:
    """The events of one stream."""

    def __init__(self) -> None:
        self.is_whole = False
        self.is_last = False
        self._id: str | None = None
        self._done: dict[int, JsonObject] = {}

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether the response failed; see `AnswerParts.is_failure`."""
        kind = event.get("type", name)
        return isinstance(kind, str) and kind in _FAILURES

    def take(self, event: JsonObject) -> None:
        """Take the next event."""
        kind = event.get("type")
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
