"""Echo's voice in `openai.chat`.

Source: the `openai` package, types/chat/, version 3.
"""

from collections.abc import Iterator, Sequence

from coatcheck.protocol import Json, JsonObject, Path, encode_json, write_event

from .echo_voice import (
    EchoAnswer,
    Heard,
    Place,
    Said,
    event_stream,
    file_id_of,
    joined_texts,
    json_answer,
    require_list,
    require_object,
    require_one_of,
)

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})


class OpenAIChatVoice:
    """Hears and speaks `openai.chat`."""

    dialect = "openai.chat"
    takes_both_alphabets = False

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check the messages; see `Voice.places`."""
        messages = require_list(heard.body.get("messages"), "messages", "messages")
        places: list[Place] = []
        for index, item in enumerate(messages):
            message = item if isinstance(item, dict) else {}
            require_one_of(message.get("role"), _ROLES, f"messages.{index}.role")
            places += _places(message, index)
        return places

    def last_text(self, message: Json) -> str:
        """Return the text of a message."""
        return joined_texts(require_object(message, "messages").get("content"))

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return a completion, or its chunks."""
        head: JsonObject = {
            "id": f"chatcmpl-{said.id}",
            "created": said.created,
            "model": heard.body.get("model"),
        }
        spoken = len(said.words)
        usage: JsonObject = {
            "prompt_tokens": said.heard_tokens,
            "completion_tokens": spoken,
            "total_tokens": said.heard_tokens + spoken,
        }
        if heard.body.get("stream") is True:
            options = heard.body.get("stream_options")
            is_counted = isinstance(options, dict) and options.get("include_usage") is True
            return event_stream(_events(head, said.words, usage if is_counted else None))
        message: JsonObject = {"role": "assistant", "content": said.text}
        choice: JsonObject = {"index": 0, "message": message, "finish_reason": "stop"}
        answer = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
        return json_answer(200, answer)


def _places(message: JsonObject, index: int) -> Iterator[Place]:
    for key in ("content", "images"):
        parts = message.get(key)
        for at, part in enumerate(parts if isinstance(parts, list) else ()):
            if isinstance(part, dict):
                yield from _part(part, ("messages", index, key, at))


def _part(part: JsonObject, path: Path) -> Iterator[Place]:
    match part.get("type"):
        case "image_url":
            image = part.get("image_url")
            named = file_id_of(image) if isinstance(image, dict) else None
            yield Place((*path, "image_url"), is_image=True, file_id=named)
        case "input_audio":
            yield Place((*path, "input_audio"), is_image=False)
        case "file" if "file" in part:
            file = part["file"]
            named = file_id_of(file) if isinstance(file, dict) else None
            yield Place((*path, "file"), is_image=False, file_id=named)
        case "file":
            yield Place((*path, "file_id"), is_image=False, file_id=file_id_of(part))
        case _:
            pass


def _events(head: JsonObject, words: Sequence[str], usage: JsonObject | None) -> list[bytes]:
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in words]
    choices: list[JsonObject] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunk: JsonObject = {**head, "object": "chat.completion.chunk"}
    events: list[JsonObject] = [{**chunk, "choices": [choice]} for choice in choices]
    if usage:
        events.append({**chunk, "choices": [], "usage": usage})
    return [write_event(encode_json(event).decode()) for event in events] + [write_event("[DONE]")]
