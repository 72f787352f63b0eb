"""OpenAI's Responses format.

`input` is a string or a list of items. Attachments stand in the parts of an item's `content` and of
a tool's `output`: `image_url`, `file_data`, `file_url` and `file_id`, each a string beside the
part's `type`; in `input_audio.data`; in the `result` of an `image_generation_call`; and in the
`outputs` of a `code_interpreter_call`. Beside the messages, the variables of a stored `prompt` and
the mask of the image tool may be attachments. An `item_reference` is the provider's.
Source: the types of the `openai` package, responses/response_input_item_param.py, version 3.
"""

from collections.abc import Collection, Iterator
from functools import partial

from .attachment import Path, Slot
from .dialect import Call
from .json_value import Json, JsonObject
from .openai_chat import FileDataSlot, walk_audio, walk_file_data
from .provider_openai import END_USER_KEYS, OpenAI
from .reading import Reader, end_user_at, own_file_id, string_at, walk_list, wrong
from .slots import Base64Slot, UrlSlot, replace_keys

_GENERATED = "image_generation_call"
# Items of which it is known that `content` and `output` are text or parts; a message may have no type.
_KNOWN = frozenset(
    {"message", "function_call_output", "custom_tool_call_output", "computer_call_output"}
)


class OpenAIResponses:
    """The dialect `openai.responses`."""

    name = "openai.responses"
    provider = OpenAI()
    calls = (
        Call("/v1/responses", "Serve one turn of the Responses API"),
        Call("/v1/responses/input_tokens", "Count a turn's tokens", is_turn=False),
        Call("/v1/responses/compact", "Compact a conversation", is_turn=False),
    )
    messages_key = "input"
    model_key = "model"

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list; a string counts as one user message."""
        if isinstance(messages, str):
            return [{"role": "user", "content": messages}]
        return messages if isinstance(messages, list) else None

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom the body says that it is for; see `Dialect.end_user`."""
        return end_user_at(body, *END_USER_KEYS)

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`. A stored prompt may stand in for `input`."""
        if messages is None or isinstance(messages, str):
            return []
        walk = partial(_walk_item, reader=Reader(origins))
        required = "a string or a list of items is required"
        return walk_list(messages, (self.messages_key,), walk, required)

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find the variables of a stored prompt, and the masks of image tools."""
        reader = Reader(origins)
        prompt, tools = body.get("prompt"), body.get("tools")
        slots: list[Slot] = []
        variables = prompt.get("variables") if isinstance(prompt, dict) else None
        for name, value in variables.items() if isinstance(variables, dict) else ():
            if isinstance(value, dict):
                slots += _walk_part(value, ("prompt", "variables", name), reader)
        for index, tool in enumerate(tools if isinstance(tools, list) else ()):
            mask = tool.get("input_image_mask") if isinstance(tool, dict) else None
            if isinstance(mask, dict):
                slots += _walk_part(mask, ("tools", index, "input_image_mask"), reader)
        return slots


class _ImageSlot(UrlSlot):
    """An image, by URL or file id."""

    __slots__ = ()
    filename = None

    def put_file(self, media_type: str, file: str) -> None:
        replace_keys(self.holder, self.key, {"file_id": file})

    def put_url(self, media_type: str, url: str) -> None:
        replace_keys(self.holder, self.key, {"image_url": url})


class _FileSlot(FileDataSlot):
    """A file, which may be fetched too."""

    __slots__ = ()

    def put_url(self, media_type: str, url: str) -> None:
        self.holder.pop("filename", None)  # of bytes
        replace_keys(self.holder, self.key, {"file_url": url})


def _walk_item(item: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    if not isinstance(item, dict):
        raise wrong("an item is an object", path)
    kind = item.get("type")
    is_known = kind is None or (isinstance(kind, str) and kind in _KNOWN)
    for key in ("content", "output"):
        yield from _walk_parts(item.get(key), (*path, key), reader, is_known=is_known)
    if kind == _GENERATED and (result := string_at(item, "result", (*path, "result"))):
        here = (*path, "result")
        yield Base64Slot(here, reader.base64(result, None, here), item, "result")
    outputs = item.get("outputs")
    for index, output in enumerate(outputs if isinstance(outputs, list) else ()):
        if isinstance(output, dict) and output.get("type") == "image":
            yield from _walk_url(output, "url", (*path, "outputs", index), reader)


def _walk_parts(parts: Json, path: Path, reader: Reader, *, is_known: bool) -> Iterator[Slot]:
    """Walk a list of parts, or the one part that a computer's output is."""
    if isinstance(parts, dict):
        yield from _walk_part(parts, path, reader)
    elif isinstance(parts, list):
        for index, part in enumerate(parts):
            if isinstance(part, dict):
                yield from _walk_part(part, (*path, index), reader)
            elif is_known:
                raise wrong("a part is an object", (*path, index))
    elif is_known and not (parts is None or isinstance(parts, str)):
        raise wrong("a string or a list of parts is required", path)


def _walk_part(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    yield from _walk_url(part, "image_url", path, reader, _ImageSlot)
    yield from walk_file_data(part, (*path, "file_data"), reader, _FileSlot)
    here = (*path, "file_url")
    link = string_at(part, "file_url", here)
    if link and (linked := reader.link(link, here)):
        yield _FileSlot(here, linked, part, "file_url", "file_data")
    here = (*path, "file_id")
    if named := own_file_id(string_at(part, "file_id", here)):
        is_file = part.get("type") == "input_file"
        slot = _FileSlot if is_file else _ImageSlot
        yield slot(here, named, part, "file_id", "file_data" if is_file else "image_url")
    if "input_audio" in part:
        yield from walk_audio(part["input_audio"], (*path, "input_audio"), reader)


def _walk_url(
    part: JsonObject, key: str, path: Path, reader: Reader, slot: type[UrlSlot] = UrlSlot
) -> Iterator[Slot]:
    here = (*path, key)
    url = string_at(part, key, here)
    if url and (found := reader.url(url, here)):
        yield slot(here, found, part, key, key)
