"""Answers in `openai.chat`: `{"role": "assistant", "content": ..}` of the first choice, and its calls.

That is the message which programs write themselves, and less than the SDK's object, which repeats
every key that the provider sent (`"refusal": null`, `"annotations": []`). Source: the `openai` package,
types/chat/chat_completion_assistant_message_param.py and chat_completion_chunk.py, version 3.
"""

from io import StringIO

from .answer import AnswerParts, ModelAnswer, first_of, name_of, objects_of, text_of
from .attachment import Path, Slot
from .json_value import Json, JsonObject
from .reading import Reader
from .slots import Base64Slot

# Of what a call holds under its kind, what a stream sends in pieces; everything else comes whole.
_PIECEMEAL = frozenset({"arguments", "input"})
_SOUND: Path = ("message", "audio", "data")
_KEYS = 2  # of every plain message: role and content


class OpenAIChatAnswers:
    """The form of `openai.chat`."""

    dialect = "openai.chat"
    marks = (b'"images"', b'"audio"')

    def read(self, body: Json) -> ModelAnswer | None:
        """Read a completion; see `AnswerForm.read`."""
        first = first_of(body.get("choices")) if isinstance(body, dict) else None
        message = first.get("message") if first else None
        if not isinstance(body, dict) or not isinstance(message, dict):
            return None
        return _answer(body.get("id"), _plain(message))

    def parts(self) -> AnswerParts:
        """Return what puts chunks together."""
        return ChatParts()

    def carried(self, value: Json) -> list[Json]:
        """Return the messages of all choices, or what a chunk has of them."""
        return [*_messages(value)]

    def passing(self, value: Json) -> list[Slot]:
        """Find the sound of a whole answer; a stream's comes in pieces that are none for themselves."""
        return [
            Base64Slot(_SOUND, Reader().base64(data, None, _SOUND), audio, "data")
            for message in _messages(value, "message")
            if isinstance(audio := message.get("audio"), dict)
            if (data := text_of(audio.get("data")))
        ]


class ChatParts:
    """The chunks of one stream."""

    is_last = False  # the stream ends with `[DONE]`

    def __init__(self) -> None:
        self.is_whole = False
        self._id: Json = None
        self._content: StringIO | None = None
        self._refusal = StringIO()
        self._audio: JsonObject = {}
        self._function = _Pieces()
        self._calls: dict[tuple[int, str], dict[str, Json | _Pieces]] = {}
        self._open_calls: dict[int, str] = {}
        self._images: list[Json] = []

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether a chunk is an error; see `AnswerParts.is_failure`."""
        return event.get("error") is not None or name == "error"

    def take(self, event: JsonObject) -> None:
        """Take the next chunk."""
        self._id = self._id or event.get("id")
        for choice in objects_of(event.get("choices")):
            if choice.get("index", 0) != 0:
                continue
            if isinstance(delta := choice.get("delta"), dict):
                self._add(delta)
            self.is_whole = self.is_whole or bool(choice.get("finish_reason"))

    def answer(self) -> ModelAnswer:
        """Return what came so far."""
        return _answer(self._id, self.message)

    @property
    def text(self) -> str:
        """The text so far."""
        return self._content.getvalue() if self._content else ""

    @property
    def message(self) -> JsonObject:
        """The message so far, in its plainest form."""
        beside: JsonObject = {
            "refusal": self._refusal.getvalue(),
            "audio": self._audio,
            "function_call": self._function.whole() or None,
            "tool_calls": [
                {
                    name: value.whole() if isinstance(value, _Pieces) else value
                    for name, value in self._calls[key].items()
                }
                for key in sorted(self._calls, key=lambda key: key[0])
            ],
            "images": self._images,
        }
        has_text = self._content is not None or not any(beside.values())
        return _plain({"content": self.text if has_text else None, **beside})

    def _add(self, delta: JsonObject) -> None:
        if isinstance(text := delta.get("content"), str):
            self._content = self._content or StringIO()
            self._content.write(text)
        self._refusal.write(text_of(delta.get("refusal")))
        if isinstance(audio := delta.get("audio"), dict):
            self._audio.update({"id": audio["id"]} if audio.get("id") else {})
        if isinstance(function := delta.get("function_call"), dict):
            self._function.add(function)
        self._images += objects_of(delta.get("images"))
        for call in objects_of(delta.get("tool_calls")):
            self._add_call(call)

    def _add_call(self, delta: JsonObject) -> None:
        """Add to a call. One with another id is another one: some servers give all the index 0."""
        given = delta.get("index", 0)
        index = given if isinstance(given, int) else 0
        named = text_of(delta.get("id")) or self._open_calls.get(index, "")
        self._open_calls[index] = named
        call = self._calls.setdefault((index, named), {})
        for key, value in delta.items():
            if isinstance(value, dict):
                inner = call.setdefault(key, _Pieces())
                if isinstance(inner, _Pieces):
                    inner.add(value)
            elif key != "index" and value is not None:
                call[key] = value


class _Pieces:
    """What a call holds under its kind, put together in time linear in its length."""

    def __init__(self) -> None:
        self._values: JsonObject = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, delta: JsonObject) -> None:
        for key, value in delta.items():
            if key in _PIECEMEAL and isinstance(value, str):
                self._values.setdefault(key, "")
                self._texts.setdefault(key, []).append(value)
            elif value is not None:
                self._values[key] = value
                self._texts.pop(key, None)

    def whole(self) -> JsonObject:
        return {**self._values, **{key: "".join(texts) for key, texts in self._texts.items()}}


def _plain(message: JsonObject) -> JsonObject:
    """Return an assistant's message with what a next request carries of it, and nothing else.

    Beside role, content and calls that is a refusal, the id of a sound, and `images`, which
    several compatible servers know.
    """
    plain: JsonObject = {"role": "assistant", "content": message.get("content")}
    if refusal := name_of(message.get("refusal")):
        plain["refusal"] = refusal
    if isinstance(audio := message.get("audio"), dict) and name_of(audio.get("id")):
        plain["audio"] = {"id": audio["id"]}
    if isinstance(function := message.get("function_call"), dict):
        plain["function_call"] = function
    for key in ("tool_calls", "images"):
        if isinstance(items := message.get(key), list) and items:
            plain[key] = items
    return plain


def _messages(value: Json, *keys: str) -> list[JsonObject]:
    """Return what stands under one of the keys of each choice."""
    choices = objects_of(value.get("choices")) if isinstance(value, dict) else []
    found = [choice.get(key) for choice in choices for key in keys or ("message", "delta")]
    return objects_of(found)


def _answer(id_: Json, plain: JsonObject) -> ModelAnswer:
    is_empty = plain["content"] is None and len(plain) == _KEYS
    return ModelAnswer(name_of(id_), [] if is_empty else [plain])
