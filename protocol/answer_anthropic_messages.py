"""Answers in `anthropic.messages`: `{"role": "assistant", "content": [<blocks>]}`, the blocks as they came.

`{"role": "assistant", "content": response.content}` is how programs go on. Thinking goes back with its
signature, or the provider refuses the next turn. Of a stream a block is what it began with and its
deltas, put together as the SDK does. Source: the `anthropic` package, lib/streaming/_messages.py and
_beta_messages.py, version 2.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .answer import AnswerParts, ModelAnswer, name_of, text_of
from .attachment import Slot
from .errors import JsonError
from .json_value import Json, JsonObject, decode_json


class AnthropicMessagesAnswers:
    """The form of `anthropic.messages`."""

    dialect = "anthropic.messages"
    marks = (b'"base64"',)

    def read(self, body: Json) -> ModelAnswer | None:
        """Read a message; see `AnswerForm.read`."""
        if not isinstance(body, dict) or body.get("type") != "message":
            return None
        content = body.get("content")
        return _answer(body.get("id"), content) if isinstance(content, list) else None

    def parts(self) -> AnswerParts:
        """Return what puts events together."""
        return _MessageParts()

    def carried(self, value: Json) -> list[Json]:
        """Return a message, or the block that an event begins with."""
        if not isinstance(value, dict):
            return []
        message = value.get("message", value)
        begun = value.get("content_block")
        if isinstance(begun, dict):
            return [{"content": [begun]}]
        return [message] if isinstance(message, dict) and "content" in message else []

    def passing(self, value: Json) -> list[Slot]:
        """Find nothing: all that a message carries comes back."""
        return []


class _MessageParts:
    """The events of one stream."""

    def __init__(self) -> None:
        self.is_last = False
        self._id: Json = None
        self._blocks: dict[int, _Block] = {}
        self._is_known = True

    @property
    def is_whole(self) -> bool:
        """Whether the message stopped."""
        return self.is_last

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether an event is an error; see `AnswerParts.is_failure`."""
        return event.get("type", name) == "error"

    def take(self, event: JsonObject) -> None:
        """Take the next event."""
        match event.get("type"):
            case "message_start":
                self._start(event.get("message"))
            case "content_block_start":
                self._begin(event.get("index"), event.get("content_block"))
            case "content_block_delta":
                index, delta = event.get("index"), event.get("delta")
                block = self._blocks.get(index) if isinstance(index, int) else None
                is_taken = block is not None and isinstance(delta, dict) and block.add(delta)
                self._is_known = self._is_known and is_taken
            case "message_stop":
                self.is_last = True
            case _:
                pass

    def answer(self) -> ModelAnswer | None:
        """Return the blocks so far; None after a delta of a kind that is not known here."""
        if not self._is_known:
            return None
        try:
            blocks = [self._blocks[index].whole() for index in sorted(self._blocks)]
        except JsonError:
            return None
        return _answer(self._id, blocks)

    def _start(self, message: Json) -> None:
        if isinstance(message, dict):
            self._id = message.get("id")
            content = message.get("content")
            for index, block in enumerate(content if isinstance(content, list) else ()):
                self._begin(index, block)

    def _begin(self, index: Json, block: Json) -> None:
        if isinstance(index, int) and isinstance(block, dict):
            self._blocks[index] = _Block(block)
        else:
            self._is_known = False


class _Block:
    """One block: what it began with, and what its deltas add."""

    def __init__(self, begun: JsonObject) -> None:
        self._block: JsonObject = dict(begun)
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Json] = []

    def add(self, delta: JsonObject) -> bool:
        """Take a delta; False for a kind that is not known."""
        kind = text_of(delta.get("type"))
        if kind in _TEXTS:
            key, place = _TEXTS[kind]
            self._pieces.setdefault(place, []).append(text_of(delta.get(key)))
        elif kind == "citations_delta":
            self._citations.append(delta.get("citation"))
        elif kind in _WHOLE:
            self._block.update({key: delta[key] for key in _WHOLE[kind] if key in delta})
        else:
            return False
        return True

    def whole(self) -> JsonObject:
        """Return the block.

        Raises:
            JsonError: the input of a tool breaks off.
        """
        block = dict(self._block)
        for place, pieces in self._pieces.items():
            text = text_of(block.get(place)) + "".join(pieces)
            if place != _INPUT:
                block[place] = text
            elif text:
                block[place] = decode_json(text)
        if self._citations:
            before = block.get("citations")
            block["citations"] = [*(before if isinstance(before, list) else ()), *self._citations]
        return block


_INPUT = "input"
# By a delta's type: the key of its text, and that of the block which it is added to.
_TEXTS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "text_delta": ("text", "text"),
        "thinking_delta": ("thinking", "thinking"),
        "input_json_delta": ("partial_json", _INPUT),
    }
)
_WHOLE: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "signature_delta": ("signature",),
        "compaction_delta": ("content", "encrypted_content"),
    }
)


def _answer(id_: Json, content: Sequence[Json]) -> ModelAnswer:
    message: JsonObject = {"role": "assistant", "content": [*content]}
    return ModelAnswer(name_of(id_), [message] if content else [])
