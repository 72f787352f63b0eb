"""Echo's voice in `anthropic.messages`.

Source: the `anthropic` package, types/, version 2.
"""

from collections.abc import Iterator, Sequence

from coatcheck.protocol import Json, JsonObject, Path, dotted, encode_json, write_event

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
from .errors import RequestRefusedError

_ROLES = frozenset({"user", "assistant", "system"})
_SOURCES = frozenset({"base64", "url", "file", "text", "content"})
_IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
_DOCUMENT_TYPES = frozenset({"application/pdf"})


class AnthropicMessagesVoice:
    """Hears and speaks `anthropic.messages`."""

    dialect = "anthropic.messages"
    takes_both_alphabets = False

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check the messages; see `Voice.places`."""
        most = heard.body.get("max_tokens")
        is_number = isinstance(most, int) and not isinstance(most, bool) and most > 0
        if not (is_number or _is_count(heard)):
            raise RequestRefusedError("a number is required", "invalid_request", "max_tokens")
        places: list[Place] = []
        messages = require_list(heard.body.get("messages"), "messages", "messages")
        for index, item in enumerate(messages):
            message = require_object(item, f"messages.{index}")
            require_one_of(message.get("role"), _ROLES, f"messages.{index}.role")
            path: Path = ("messages", index, "content")
            content = message.get("content")
            if not isinstance(content, str):
                require_list(content, dotted(path), "blocks")
            places += _blocks(content, path)
        return places

    def last_text(self, message: Json) -> str:
        """Return the text of a message."""
        return joined_texts(require_object(message, "messages").get("content"))

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return a message, its events, or the count of tokens."""
        if _is_count(heard):
            return json_answer(200, {"input_tokens": said.heard_tokens})
        message: JsonObject = {
            "id": f"msg_{said.id}",
            "type": "message",
            "role": "assistant",
            "model": heard.body.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(said, 0),
        }
        if heard.body.get("stream") is True:
            return event_stream(_events(message, said))
        content: JsonObject = {"content": [{"type": "text", "text": said.text}]}
        end: JsonObject = {"stop_reason": "end_turn", "usage": _usage(said, len(said.words))}
        return json_answer(200, {**message, **content, **end})


def _is_count(heard: Heard) -> bool:
    return heard.path.endswith("/count_tokens")


def _usage(said: Said, spoken: int) -> JsonObject:
    return {
        "input_tokens": said.heard_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": spoken,
    }


def _blocks(content: Json, path: Path) -> Iterator[Place]:
    if isinstance(content, dict):
        yield from _block(content, path)
    for at, block in enumerate(content if isinstance(content, list) else ()):
        yield from _block(require_object(block, dotted((*path, at))), (*path, at))


def _block(block: JsonObject, path: Path) -> Iterator[Place]:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise RequestRefusedError("a block has a type", "invalid_value", dotted((*path, "type")))
    if kind in ("image", "document"):
        here = (*path, "source")
        source = require_object(block.get("source"), dotted(here))
        form = require_one_of(source.get("type"), _SOURCES, dotted((*here, "type")))
        if form == "base64":
            types = _IMAGE_TYPES if kind == "image" else _DOCUMENT_TYPES
            require_one_of(source.get("media_type"), types, dotted((*here, "media_type")))
        if form == "content":
            yield from _blocks(source.get("content"), (*here, "content"))
        elif form != "text":
            yield Place(here, kind == "image", file_id_of(source) if form == "file" else None)
    yield from _blocks(block.get("content"), (*path, "content"))


def _events(message: JsonObject, said: Said) -> list[bytes]:
    events: list[tuple[str, JsonObject]] = [
        ("message_start", {"message": message}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        ("ping", {}),
    ]
    for word in said.words:
        delta: JsonObject = {"type": "text_delta", "text": word}
        events.append(("content_block_delta", {"index": 0, "delta": delta}))
    end: JsonObject = {"stop_reason": "end_turn", "stop_sequence": None}
    events += [
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": end, "usage": {"output_tokens": len(said.words)}}),
        ("message_stop", {}),
    ]
    return [
        write_event(encode_json({"type": name, **data}).decode(), name) for name, data in events
    ]
