"""Echo's voice in `dify.llm`.

Source: langgenius/dify-plugin-daemon, pkg/entities/requests and pkg/entities/model_entities, and the entities
of `dify_plugin` 0.10.
"""

from collections.abc import Iterator, Sequence

from coatcheck.protocol import Json, JsonObject, Path, encode_json, write_event

from .echo_voice import (
    MAX_TEXT,
    EchoAnswer,
    Heard,
    Place,
    Said,
    event_stream,
    require_list,
    require_object,
    require_one_of,
)
from .errors import RequestRefusedError

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PICTURED = "image"
_POLLING = "/polling/"
_KINDS = frozenset({"text", _PICTURED, "document", "audio", "video"})
_MESSAGES = "data.prompt_messages"
_PRICES: JsonObject = {
    **{f"{kind}_unit_price": "0" for kind in ("prompt", "completion")},
    **{f"{kind}_price_unit": "0" for kind in ("prompt", "completion")},
    **{f"{kind}_price": "0" for kind in ("prompt", "completion", "total")},
    "currency": "USD",
    "latency": 0.0,
}


class DifyLlmVoice:
    """Hears and speaks `dify.llm`."""

    dialect = "dify.llm"
    takes_both_alphabets = False

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check the messages; see `Voice.places`."""
        if _POLLING in heard.path:
            raise RequestRefusedError("echo's turns are not polled", "invalid_request")
        data = require_object(heard.body.get("data"), "data")
        places: list[Place] = []
        for index, item in enumerate(
            require_list(data.get("prompt_messages"), _MESSAGES, "messages")
        ):
            message = item if isinstance(item, dict) else {}
            require_one_of(message.get("role"), _ROLES, f"{_MESSAGES}.{index}.role")
            content = message.get("content")
            for at, part in enumerate(content if isinstance(content, list) else ()):
                places += _places(part, ("data", "prompt_messages", index, "content", at))
        return places

    def last_text(self, message: Json) -> str:
        """Return the text of a message."""
        content = require_object(message, _MESSAGES).get("content")
        if isinstance(content, str):
            return content[:MAX_TEXT]
        parts = (
            [part for part in content if isinstance(part, dict)]
            if isinstance(content, list)
            else []
        )
        texts = [part.get("data") for part in parts if part.get("type") == "text"]
        return " ".join(text for text in texts if isinstance(text, str))[:MAX_TEXT]

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return the frames of an answer, or of a count of tokens."""
        if heard.path.endswith("/num_tokens"):
            return event_stream([_frame({"num_tokens": said.heard_tokens})])
        data = require_object(heard.body.get("data"), "data")
        head: JsonObject = {"model": data.get("model"), "system_fingerprint": ""}
        deltas = [_delta(index, word) for index, word in enumerate(said.words)]
        deltas.append(
            _delta(len(deltas), "")
            | {"usage": _usage(said.heard_tokens, len(deltas)), "finish_reason": "stop"}
        )
        chunks: list[JsonObject] = [
            {**head, "delta": delta, "prompt_messages": []} for delta in deltas
        ]
        return event_stream([_frame(chunk) for chunk in chunks])


def _places(part: Json, path: Path) -> Iterator[Place]:
    where = ".".join(map(str, path))
    item = require_object(part, where)
    kind = require_one_of(item.get("type"), _KINDS, f"{where}.type")
    if kind == "text":
        return
    for key in ("mime_type", "format"):
        if not isinstance(item.get(key), str):
            raise RequestRefusedError("a string is required", "invalid_request", f"{where}.{key}")
    key = "url" if item.get("url") else "base64_data"
    yield Place((*path, key), is_image=kind == _PICTURED)


def _delta(index: int, text: str) -> JsonObject:
    message: JsonObject = {
        "role": "assistant",
        "content": text,
        "name": "",
        "tool_calls": [],
        "tool_call_id": "",
    }
    return {"index": index, "message": message, "usage": None, "finish_reason": None}


def _usage(heard: int, spoken: int) -> JsonObject:
    return {
        "prompt_tokens": heard,
        "completion_tokens": spoken,
        "total_tokens": heard + spoken,
        **_PRICES,
    }


def _frame(data: Json) -> bytes:
    return write_event(encode_json({"code": 0, "message": "success", "data": data}).decode())
