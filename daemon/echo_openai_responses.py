"""Echo's voice in `openai.responses`.

With the tool `image_generation` it paints an image, and calls no other tool. Source: the `openai` package, types/responses/, version 3.
"""

from collections.abc import Iterator, Sequence

from coatcheck.protocol import Json, JsonObject, Path, encode_json, write_event

from .echo_painting import SIDE, paint
from .echo_voice import (
    EchoAnswer,
    Heard,
    Place,
    Said,
    encode_base64,
    event_stream,
    file_id_of,
    joined_texts,
    json_answer,
    require_list,
    require_object,
    require_one_of,
)
from .errors import RequestRefusedError, UnknownIdError

_PARTS = 3  # images in the making, at most
_ROLES = frozenset({"system", "developer", "user", "assistant"})
_OUTPUTS = frozenset({"function_call_output", "custom_tool_call_output", "computer_call_output"})
_ITEMS = _OUTPUTS | {
    "additional_tools",
    "apply_patch_call",
    "apply_patch_call_output",
    "code_interpreter_call",
    "compaction",
    "compaction_trigger",
    "computer_call",
    "configuration_update",
    "custom_tool_call",
    "file_search_call",
    "function_call",
    "image_generation_call",
    "local_shell_call",
    "local_shell_call_output",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "message",
    "program",
    "program_output",
    "reasoning",
    "shell_call",
    "shell_call_output",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
}


class OpenAIResponsesVoice:
    """Hears and speaks `openai.responses`. It stores no response, and compacts nothing."""

    dialect = "openai.responses"
    takes_both_alphabets = False

    def places(self, heard: Heard) -> Sequence[Place]:
        """Check the input; see `Voice.places`."""
        body = heard.body
        if heard.path.endswith("/compact"):
            raise RequestRefusedError("echo compacts nothing", "unsupported_call")
        for key in ("previous_response_id", "conversation"):
            if body.get(key) is not None:
                raise UnknownIdError("echo keeps no response", "response_not_found", key)
        given = body.get("input")
        _image_tool(body)
        places = [*_places_beside(body)]
        if isinstance(given, str) and given:
            return places
        for index, item in enumerate(require_list(given, "input", "items")):
            places += _places(require_object(item, f"input.{index}"), index)
        return places

    def last_text(self, message: Json) -> str:
        """Return the text of an item."""
        item = require_object(message, "input")
        return joined_texts(item.get("content")) or joined_texts(item.get("output"))

    def answer(self, heard: Heard, said: Said) -> EchoAnswer:
        """Return a response, its events, or the count of tokens."""
        if heard.path.endswith("/input_tokens"):
            count: JsonObject = {"object": "response.input_tokens"}
            return json_answer(200, {**count, "input_tokens": said.heard_tokens})
        if heard.body.get("stream") is True:
            return event_stream(_events(heard, said))
        return json_answer(200, _response(heard, said, "completed"))


def _places(item: JsonObject, index: int) -> Iterator[Place]:
    kind, path = item.get("type", "message"), ("input", index)
    if kind == "item_reference" or (kind is None and "id" in item and "role" not in item):
        raise UnknownIdError("echo keeps no item", "item_not_found", f"input.{index}.id")
    if kind is None or kind == "message":
        require_one_of(item.get("role"), _ROLES, f"input.{index}.role")
        yield from _parts(item.get("content"), (*path, "content"))
        return
    if require_one_of(kind, _ITEMS, f"input.{index}.type") in _OUTPUTS:
        yield from _parts(item.get("output"), (*path, "output"))
    elif kind == "image_generation_call" and item.get("result") is not None:
        yield Place((*path, "result"), is_image=True)
    elif kind == "code_interpreter_call":
        outputs = item.get("outputs")
        for at, output in enumerate(outputs if isinstance(outputs, list) else ()):
            if isinstance(output, dict) and output.get("type") == "image":
                yield Place((*path, "outputs", at, "url"), is_image=True)


def _places_beside(body: JsonObject) -> Iterator[Place]:
    """Return what stands in the variables of a stored prompt, and in the masks of image tools."""
    prompt, tools = body.get("prompt"), body.get("tools")
    variables = prompt.get("variables") if isinstance(prompt, dict) else None
    for name, value in variables.items() if isinstance(variables, dict) else ():
        yield from _parts(value, ("prompt", "variables", name))
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        mask = tool.get("input_image_mask") if isinstance(tool, dict) else None
        if isinstance(mask, dict):
            named = file_id_of(mask)
            path = ("tools", index, "input_image_mask", "file_id" if named else "image_url")
            yield Place(path, is_image=True, file_id=named)


def _parts(parts: Json, path: Path) -> Iterator[Place]:
    if isinstance(parts, dict):
        yield from _part(parts, path)
    for at, part in enumerate(parts if isinstance(parts, list) else ()):
        if isinstance(part, dict):
            yield from _part(part, (*path, at))


def _part(part: JsonObject, path: Path) -> Iterator[Place]:
    named = file_id_of(part)
    match part.get("type"):
        case "input_image" | "computer_screenshot":
            key = "file_id" if named else "image_url"
            yield Place((*path, key), is_image=True, file_id=named)
        case "input_file":
            keys = [key for key in ("file_url", "file_data", "file_id") if part.get(key)]
            key = keys[-1] if keys else "file_data"
            yield Place((*path, key), is_image=False, file_id=named)
        case "input_audio":
            yield Place((*path, "input_audio"), is_image=False)
        case _:
            pass


def _response(heard: Heard, said: Said, status: str) -> JsonObject:
    is_done = status == "completed"
    spoken = len(said.words)
    usage: JsonObject = {
        "input_tokens": said.heard_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": spoken,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": said.heard_tokens + spoken,
    }
    return {
        "id": f"resp_{said.id}",
        "object": "response",
        "created_at": said.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": heard.body.get("model"),
        "output": _output(heard, said) if is_done else [],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage if is_done else None,
    }


def _output(heard: Heard, said: Said) -> list[Json]:
    painted = [_painted(said)] if _image_tool(heard.body) is not None else []
    return [*painted, _message(said, _text(said.text), "completed")]


def _painted(said: Said) -> JsonObject:
    return {
        **_painting(said, "completed"),
        "background": "opaque",
        "output_format": "png",
        "quality": "low",
        "result": encode_base64(paint(said.text)),
        "size": f"{SIDE}x{SIDE}",
    }


def _painting(said: Said, status: str) -> JsonObject:
    return {"id": f"ig_{said.id}", "type": "image_generation_call", "status": status}


def _image_tool(body: JsonObject) -> JsonObject | None:
    """Return the tool that makes images, as its provider would take it; None where there is none.

    Raises:
        RequestRefusedError: it is malformed.
    """
    tools = body.get("tools")
    for index, tool in enumerate(tools if isinstance(tools, list) else ()):
        if isinstance(tool, dict) and tool.get("type") == "image_generation":
            parts = tool.get("partial_images", 0)
            if not isinstance(parts, int) or isinstance(parts, bool) or not 0 <= parts <= _PARTS:
                path = f"tools.{index}.partial_images"
                raise RequestRefusedError("a number up to 3 is required", "invalid_value", path)
            return tool
    return None


def _message(said: Said, part: JsonObject | None, status: str) -> JsonObject:
    return {
        "id": f"msg_{said.id}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [part] if part else [],
    }


def _text(text: str) -> JsonObject:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _painting_events(tool: JsonObject, said: Said) -> Iterator[tuple[str, JsonObject]]:
    call: JsonObject = {"output_index": 0, "item_id": f"ig_{said.id}"}
    kind = "response.image_generation_call"
    begun = _painting(said, "in_progress")
    yield "response.output_item.added", {"output_index": 0, "item": {**begun, "result": None}}
    yield f"{kind}.in_progress", call
    yield f"{kind}.generating", call
    parts = tool.get("partial_images", 0)
    for index in range(parts if isinstance(parts, int) else 0):
        data = encode_base64(paint(said.text, index + 1))
        yield (
            f"{kind}.partial_image",
            {**call, "partial_image_index": index, "partial_image_b64": data},
        )
    yield f"{kind}.completed", call
    yield "response.output_item.done", {"output_index": 0, "item": _painted(said)}


def _events(heard: Heard, said: Said) -> list[bytes]:
    begun = _response(heard, said, "in_progress")
    tool = _image_tool(heard.body)
    at = 0 if tool is None else 1
    item: JsonObject = {"output_index": at}
    part: JsonObject = {"item_id": f"msg_{said.id}", "output_index": at, "content_index": 0}
    whole = _text(said.text)
    events: list[tuple[str, JsonObject]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        *(_painting_events(tool, said) if tool is not None else ()),
        ("response.output_item.added", {**item, "item": _message(said, None, "in_progress")}),
        ("response.content_part.added", {**part, "part": _text("")}),
    ]
    for word in said.words:
        delta: JsonObject = {**part, "delta": word, "logprobs": []}
        events.append(("response.output_text.delta", delta))
    events += [
        ("response.output_text.done", {**part, "text": said.text, "logprobs": []}),
        ("response.content_part.done", {**part, "part": whole}),
        ("response.output_item.done", {**item, "item": _message(said, whole, "completed")}),
        ("response.completed", {"response": _response(heard, said, "completed")}),
    ]
    return [
        write_event(encode_json({"type": name, "sequence_number": number, **data}).decode(), name)
        for number, (name, data) in enumerate(events)
    ]
