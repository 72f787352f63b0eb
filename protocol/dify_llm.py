"""The format in which Dify's API asks its plugin daemon for a language model.

What is asked stands in the body's `data`: the model, its `credentials`, and `prompt_messages`, whose `content` is a
string or a list. An item of that list other than text has its bytes in `base64_data`, or a URL in `url`, and the type
in `mime_type`. `url` is the one field that every part of Dify passes on, so that a ref rides there; it is read in
`base64_data` too. A data URL in `url` stays what it is, and so do bytes beside another's URL, which nobody reads. Source:
the entities of `dify_plugin` 0.10 (entities/model/message.py) and of `graphon` 0.8 (model_runtime/entities), and
langgenius/dify-plugin-daemon, pkg/entities/model_entities/llm.go.

The plugin daemon reads keys in any case of their letters (Go, encoding/json, Unmarshal). Here they have one: another
is refused where it would hide an attachment.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

from .attachment import Found, FoundInline, FoundRef, Path, Slot
from .dialect import Call, messages_path
from .json_value import Json, JsonObject
from .provider_dify import DIFY
from .reading import Reader, declared_type, end_user_at, own_file_id, string_at, walk_list, wrong
from .ref import Ref

_TEXT = "text"
_BYTES = "base64_data"
_URL = "url"
_TYPE = "mime_type"
_ITEM_KEYS = frozenset({"type", _BYTES, _URL, _TYPE})
# Where a plugin is found: by its id and tenant, by what the request says of both, or by its package.
_PLACES = (
    ("/plugin/{tenant}/dispatch", "by its plugin's id"),
    ("/plugin/{tenant}/dispatch/redirect/v1", "by where it is redirected to"),
    ("/v2/invoke/dispatch", "by its plugin's package"),
)
_OPERATIONS = (
    ("llm/invoke", "Serve one turn of a Dify model", True),
    ("llm/num_tokens", "Count the tokens of a turn of a Dify model", False),
    ("model/polling/start", "Begin a turn of a Dify model that is polled", False),
)


class DifyLlm:
    """The dialect `dify.llm`."""

    name = "dify.llm"
    provider = DIFY
    calls = tuple(
        Call(f"{place}/{operation}", f"{summary}, {named}", is_turn=is_turn)
        for place, named in _PLACES
        for operation, summary, is_turn in _OPERATIONS
    )
    messages_key = "prompt_messages"
    model_key = "model"

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list itself."""
        return messages if isinstance(messages, list) else None

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom the body says that it is for; see `Dialect.end_user`."""
        return end_user_at(body, "user_id")

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`."""
        walk = partial(_walk_message, reader=Reader(origins))
        return walk_list(messages, messages_path(self), walk)

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find nothing: attachments stand in messages alone, and these in one place."""
        _require_spelling(body, frozenset({"data"}), ())
        data = body.get("data")
        if isinstance(data, dict):
            _require_spelling(data, frozenset({self.messages_key}), ("data",))
        return []


@dataclass(frozen=True, slots=True)
class _ContentSlot:
    """An item of a content: bytes in one of its fields, and nothing then in the other."""

    path: Path
    found: Found
    holder: JsonObject
    is_url_safe = False

    def put_ref(self, ref: Ref) -> None:
        """Put a ref there, without its type: that stands beside it."""
        self.put_url("", str(replace(ref, media_type=None)))

    def put_inline(self, media_type: str, base64_text: str) -> None:
        """Put base64 there; a type that stands there stays as it is written."""
        self.holder[_BYTES] = base64_text
        if self.holder.get(_URL) is not None:
            self.holder[_URL] = ""
        if not self.holder.get(_TYPE):
            self.holder[_TYPE] = media_type

    def put_url(self, media_type: str, url: str) -> None:
        """Put a URL there."""
        self.holder[_BYTES] = ""
        self.holder[_URL] = url

    def declare(self, media_type: str) -> None:
        """Write the type of other bytes, which the format names too."""
        self.holder[_TYPE] = media_type
        if "format" in self.holder:
            self.holder["format"] = media_type.partition("/")[2]


def _walk_message(message: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    if not isinstance(message, dict):
        raise wrong("a message is an object", path)
    _require_spelling(message, frozenset({"content"}), path)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    here = (*path, "content")
    if not isinstance(content, list):
        raise wrong("content is a string, a list, or null", here)
    for index, item in enumerate(content):
        if not isinstance(item, dict):
            raise wrong("an item of a content is an object", (*here, index))
        _require_spelling(item, _ITEM_KEYS, (*here, index))
        if item.get("type") != _TEXT:
            yield from _walk_item(item, (*here, index), reader)


def _walk_item(item: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    at_url, at_bytes = (*path, _URL), (*path, _BYTES)
    media_type = declared_type(item.get(_TYPE), (*path, _TYPE))
    url, base64 = string_at(item, _URL, at_url), string_at(item, _BYTES, at_bytes)
    named = _named(url, media_type, at_url, reader) if url else None
    if named:  # who reads an item prefers it
        yield _ContentSlot(at_url, named, item)
        return
    found = reader.base64(base64, media_type, at_bytes) if base64 else None
    if isinstance(found, FoundInline):
        if not url and item.get(_TYPE):
            yield _ContentSlot(at_bytes, found, item)
    elif found:
        if url:
            raise wrong("bytes of ours stand beside another's URL", at_bytes)
        yield _ContentSlot(at_bytes, found, item)


def _require_spelling(holder: JsonObject, keys: Collection[str], path: Path) -> None:
    for key in holder:
        if key not in keys and key.casefold() in keys:
            raise wrong(f"a key is spelled {key.casefold()}", (*path, key))


def _named(url: str, media_type: str | None, path: Path, reader: Reader) -> Found | None:
    """Read what a URL names here; a type beside it is the one that it is presented as."""
    found = reader.link(url, path) or own_file_id(url)
    if isinstance(found, FoundRef) and media_type:
        return FoundRef(replace(found.ref, media_type=media_type))
    return found
