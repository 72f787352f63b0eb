"""Anthropic's Messages format.

An attachment is the `source` of a block: `{"type": "base64", "media_type", "data"}`, `{"type":
"url", "url"}` or `{"type": "file", "file_id"}`. Blocks stand in a message's `content`, in that of a
`tool_result` or another tool's result, and in a `source` that is itself of type `content`. A
`source` of type `text` is text. Source: the types of the `anthropic` package,
types/content_block_param.py, version 2.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import partial

from .attachment import Found, Path, Slot
from .dialect import Call
from .json_value import Json, JsonObject
from .provider_anthropic import Anthropic
from .reading import Reader, declared_type, end_user_at, own_file_id, string_at, walk_list, wrong
from .ref import Ref

_HAVE_SOURCE = frozenset({"image", "document"})


class AnthropicMessages:
    """The dialect `anthropic.messages`."""

    name = "anthropic.messages"
    provider = Anthropic()
    calls = (
        Call("/v1/messages", "Serve one turn of Messages"),
        Call("/v1/messages/count_tokens", "Count a turn's tokens", is_turn=False),
    )
    messages_key = "messages"
    model_key = "model"

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list itself."""
        return messages if isinstance(messages, list) else None

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom the body says that it is for; see `Dialect.end_user`."""
        metadata = body.get("metadata")
        return end_user_at(metadata, "user_id") if isinstance(metadata, dict) else None

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`."""
        walk = partial(_walk_message, reader=Reader(origins))
        return walk_list(messages, (self.messages_key,), walk)

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find nothing: `system` is text."""
        return []


@dataclass(frozen=True, slots=True)
class _SourceSlot:
    """`part["source"]`, as a whole; its keys that are none of a source's three forms stay."""

    path: Path
    found: Found
    part: JsonObject
    is_url_safe = False

    def put_ref(self, ref: Ref) -> None:
        self._put({"type": "url", "url": str(ref)})

    def put_inline(self, media_type: str, base64_text: str) -> None:
        self._put({"type": "base64", "media_type": media_type, "data": base64_text})

    @property
    def filename(self) -> str | None:
        return None

    def put_file(self, media_type: str, file: str) -> None:
        self._put({"type": "file", "file_id": file})

    def put_url(self, media_type: str, url: str) -> None:
        self._put({"type": "url", "url": url})

    def _put(self, source: JsonObject) -> None:
        old = self.part["source"]
        assert isinstance(old, dict)
        kept = {key: value for key, value in old.items() if key not in _SOURCE_KEYS}
        self.part["source"] = {**source, **kept}


_SOURCE_KEYS = frozenset({"type", "media_type", "data", "url", "file_id"})


def _walk_message(message: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    if not isinstance(message, dict):
        raise wrong("a message is an object", path)
    yield from _walk_content(message, path, reader)


def _walk_content(holder: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    """Walk what stands under `content`: text, a list of blocks, or one block of a tool's result."""
    content = holder.get("content")
    here = (*path, "content")
    if isinstance(content, list):
        for index, block in enumerate(content):
            if isinstance(block, dict):
                yield from _walk_block(block, (*here, index), reader)
            elif not isinstance(block, str):
                raise wrong("a block is an object", (*here, index))
    elif isinstance(content, dict):
        yield from _walk_block(content, here, reader)
    elif content is not None and not isinstance(content, str):
        raise wrong("content is a string or a list of blocks", here)


def _walk_block(block: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    source, here = block.get("source"), (*path, "source")
    kind = block.get("type")
    if isinstance(source, dict):
        yield from _walk_source(block, source, here, reader)
    elif source is not None and isinstance(kind, str) and kind in _HAVE_SOURCE:
        raise wrong("a source is an object", here)
    if kind == "container_upload" and own_file_id(string_at(block, "file_id", path)):
        raise wrong("a container takes the provider's own files", (*path, "file_id"))
    yield from _walk_content(block, path, reader)


def _walk_source(
    block: JsonObject, source: JsonObject, path: Path, reader: Reader
) -> Iterator[Slot]:
    found: Found | None = None
    match source.get("type"):
        case "base64":
            media_type = declared_type(source.get("media_type"), (*path, "media_type"))
            if data := string_at(source, "data", path):
                found = reader.base64(data, media_type, path)
        case "url":
            if url := string_at(source, "url", path):
                found = reader.link(url, path)
        case "file":
            found = own_file_id(string_at(source, "file_id", path))
        case "content":
            yield from _walk_content(source, path, reader)
        case _:
            pass
    if found:
        yield _SourceSlot(path, found, block)
