"""A reply as the three dialects write it, whole and as a stream, with all that providers add."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from .model import Call, Reply

Value = dict[str, object]

MODEL = "agent-vision"
_CREATED = 1_790_000_000
_PIECE = 24  # characters of a delta


def whole(dialect: str, reply: Reply) -> bytes:
    """Return the body of an unstreamed answer."""
    return _encode(_WHOLE[dialect](reply))


def stream(dialect: str, reply: Reply) -> list[bytes]:
    """Return the events of a streamed answer."""
    return list(_STREAM[dialect](reply))


def _chat(reply: Reply) -> Value:
    message: Value = {
        "role": "assistant",
        "content": reply.text,
        "refusal": None,
        "annotations": [],
        "tool_calls": [_chat_call(call) for call in reply.calls],
    }
    choice: Value = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": "tool_calls",
    }
    return {
        **_chat_head(reply, "chat.completion"),
        "choices": [choice],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _chat_stream(reply: Reply) -> Iterator[bytes]:
    def chunk(delta: Value, finish: str | None = None) -> bytes:
        choice: Value = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _event({**_chat_head(reply, "chat.completion.chunk"), "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in _pieces(reply.text):
        yield chunk({"content": piece})
    for number, call in enumerate(reply.calls):
        head = {"name": call.name, "arguments": ""}
        yield chunk(_delta(number, {"id": call.id, "type": "function", "function": head}))
        for piece in _pieces(call.arguments_text):
            yield chunk(_delta(number, {"function": {"arguments": piece}}))
    yield chunk({}, "tool_calls")
    yield b"data: [DONE]\n\n"


def _chat_head(reply: Reply, kind: str) -> Value:
    return {
        "id": f"chatcmpl-{reply.id}",
        "object": kind,
        "created": _CREATED,
        "model": MODEL,
        "service_tier": "default",
        "system_fingerprint": None,
    }


def _chat_call(call: Call) -> Value:
    function = {"name": call.name, "arguments": call.arguments_text}
    return {"id": call.id, "type": "function", "function": function}


def _delta(number: int, call: Value) -> Value:
    return {"tool_calls": [{"index": number, **call}]}


def _responses(reply: Reply) -> Value:
    return {
        **_response_head(reply, "completed"),
        "output": _output(reply),
        "usage": {
            "input_tokens": 1,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 1,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 2,
        },
    }


def _response_head(reply: Reply, status: str) -> Value:
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": _CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "model": MODEL,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "temperature": 1.0,
        "top_p": 1.0,
        "metadata": {},
    }


def _output(reply: Reply) -> Sequence[Value]:
    return [_said(reply), *(_function_call(call) for call in reply.calls)]


def _said(reply: Reply, status: str = "completed") -> Value:
    text: Value = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [text] if status == "completed" else [],
    }


def _function_call(call: Call) -> Value:
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": call.arguments_text,
    }


def _responses_stream(reply: Reply) -> Iterator[bytes]:
    number = iter(range(10_000))

    def event(kind: str, **fields: object) -> bytes:
        return _event({"type": kind, **fields, "sequence_number": next(number)}, kind)

    begun = _response_head(reply, "in_progress")
    yield event("response.created", response=begun)
    yield event("response.in_progress", response=begun)
    said = _said(reply)
    yield event("response.output_item.added", output_index=0, item=_said(reply, "in_progress"))
    where = {"item_id": said["id"], "output_index": 0, "content_index": 0}
    empty: Value = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    yield event("response.content_part.added", **where, part=empty)
    for piece in _pieces(reply.text):
        yield event("response.output_text.delta", **where, delta=piece, logprobs=[])
    yield event("response.output_text.done", **where, text=reply.text, logprobs=[])
    yield event("response.content_part.done", **where, part={**empty, "text": reply.text})
    yield event("response.output_item.done", output_index=0, item=said)
    for index, call in enumerate(reply.calls, 1):
        item = _function_call(call)
        begun_item = {**item, "status": "in_progress", "arguments": ""}
        yield event("response.output_item.added", output_index=index, item=begun_item)
        place = {"item_id": item["id"], "output_index": index}
        for piece in _pieces(call.arguments_text):
            yield event("response.function_call_arguments.delta", **place, delta=piece)
        yield event(
            "response.function_call_arguments.done",
            **place,
            name=call.name,
            arguments=call.arguments_text,
        )
        yield event("response.output_item.done", output_index=index, item=item)
    yield event("response.completed", response=_responses(reply))


def _messages(reply: Reply) -> Value:
    return {
        **_message_head(reply),
        "content": [{"type": "text", "text": reply.text}, *map(_tool_use, reply.calls)],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def _message_head(reply: Reply) -> Value:
    return {
        "id": f"msg_{reply.id}",
        "type": "message",
        "role": "assistant",
        "model": MODEL,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 0},
    }


def _tool_use(call: Call) -> Value:
    return {
        "type": "tool_use",
        "id": call.id.replace("call_", "toolu_"),
        "name": call.name,
        "input": dict(call.arguments),
    }


def _messages_stream(reply: Reply) -> Iterator[bytes]:
    def event(kind: str, **fields: object) -> bytes:
        return _event({"type": kind, **fields}, kind)

    yield event("message_start", message=_message_head(reply))
    yield event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield event("ping")
    for piece in _pieces(reply.text):
        yield event("content_block_delta", index=0, delta={"type": "text_delta", "text": piece})
    yield event("content_block_stop", index=0)
    for index, call in enumerate(reply.calls, 1):
        block: Value = {**_tool_use(call), "input": {}}
        yield event("content_block_start", index=index, content_block=block)
        for piece in _pieces(call.arguments_text):
            delta = {"type": "input_json_delta", "partial_json": piece}
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    ending = {"stop_reason": "tool_use", "stop_sequence": None}
    yield event("message_delta", delta=ending, usage={"output_tokens": 1})
    yield event("message_stop")


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _PIECE):
        yield text[start : start + _PIECE]


def _event(data: Value, kind: str = "") -> bytes:
    name = f"event: {kind}\n".encode() if kind else b""
    return name + b"data: " + _encode(data) + b"\n\n"


def _encode(value: Value) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


_WHOLE: Mapping[str, Callable[[Reply], Value]] = MappingProxyType(
    {
        "openai.chat": _chat,
        "openai.responses": _responses,
        "anthropic.messages": _messages,
    }
)
_STREAM: Mapping[str, Callable[[Reply], Iterator[bytes]]] = MappingProxyType(
    {
        "openai.chat": _chat_stream,
        "openai.responses": _responses_stream,
        "anthropic.messages": _messages_stream,
    }
)
DIALECTS = tuple(_WHOLE)
