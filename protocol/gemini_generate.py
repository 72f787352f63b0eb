"""Gemini's generateContent format.

`contents` is a list of contents, each with `parts`; either may be a single object. Attachments are
`inlineData` (`mimeType`, `data`) and `fileData` (`fileUri`, `mimeType`), in a part or in the parts of
its `functionResponse`. Keys may be written in camel case or in snake case, outer and inner ones each
for itself, as protobuf's JSON has it. Base64 may have either alphabet; what is written here has the one
that who writes such keys uses: inner keys in snake case below an outer one in camel case are Google's
own Python SDK, which writes the URL-safe one. What has the other is left as it is. Beside the messages, the system
instruction has parts too, and a count of tokens may hold a whole request. Source: the `google-genai`
package, types.py, version 3.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from .attachment import Found, Path, Slot
from .dialect import Call
from .json_value import Json, JsonObject
from .provider_gemini import Gemini
from .reading import Reader, declared_type, object_at, own_file_name, string_at, wrong
from .ref import Ref
from .slots import replace_keys

_INLINE: Mapping[str, str] = MappingProxyType(
    {"fileData": "inlineData", "file_data": "inline_data"}
)
_FILE: Mapping[str, str] = MappingProxyType({inline: file for file, inline in _INLINE.items()})
_TYPE_KEYS = ("mimeType", "mime_type")
_URI_KEYS = ("fileUri", "file_uri")
_RESPONSE_KEYS = ("functionResponse", "function_response")
_SYSTEM_KEYS = ("systemInstruction", "system_instruction")
_REQUEST_KEYS = ("generateContentRequest", "generate_content_request")
_CAMEL = frozenset({"inlineData", "fileData", "functionResponse"})
_STREAM = "streamGenerateContent"
_METHODS: Mapping[str, str] = MappingProxyType(
    {
        "generateContent": "Serve one turn",
        _STREAM: "Serve one turn as a stream",
        "countTokens": "Count a turn's tokens",
    }
)


class GeminiGenerate:
    """The dialect `gemini.generate`."""

    name = "gemini.generate"
    provider = Gemini()
    calls = tuple(
        Call(
            f"/{version}/models/{{model}}:{method}",
            summary,
            method != "countTokens",
            method == _STREAM,
        )
        for version in ("v1", "v1beta", "v1alpha")
        for method, summary in _METHODS.items()
    )
    messages_key = "contents"
    model_key = None

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list; a single content counts as one."""
        if isinstance(messages, dict):
            return [messages]
        return messages if isinstance(messages, list) else None

    def end_user(self, body: JsonObject) -> str | None:
        """Return nobody: the format has no field for one."""
        return None

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`. A count of tokens may have no contents."""
        return list(_walk_contents(messages, (self.messages_key,), Reader(origins)))

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find those of the system instruction, and of the request whose tokens are counted."""
        reader = Reader(origins)
        slots = list(_walk_system(body, (), reader))
        for key in _REQUEST_KEYS:
            request = body.get(key)
            if isinstance(request, dict):
                here = (key, self.messages_key)
                slots += _walk_contents(request.get(self.messages_key), here, reader)
                slots += _walk_system(request, (key,), reader)
        return slots


@dataclass(frozen=True, slots=True)
class _DataSlot:
    """`part[key]`, inline or by URI, whose type stays as it is written.

    The other form has the same casing, of the outer key and of the inner ones.
    """

    path: Path
    found: Found
    part: JsonObject
    key: str

    @property
    def is_url_safe(self) -> bool:
        return _is_sdks(self.part[self.key], self.path)

    @property
    def filename(self) -> str | None:
        return None

    def put_ref(self, ref: Ref) -> None:
        data = self._data()
        self._put_uri(str(replace(ref, media_type=None)), _declared(data), data)

    def put_file(self, media_type: str, file: str) -> None:
        self.put_url(media_type, file)

    def put_url(self, media_type: str, url: str) -> None:
        data = self._data()
        declared = _declared(data) or {_TYPE_KEYS[self._is_snake(data)]: media_type}
        self._put_uri(url, declared, data)

    def put_inline(self, media_type: str, base64_text: str) -> None:
        data = self._data()
        declared = _declared(data) or {_TYPE_KEYS[self._is_snake(data)]: media_type}
        self._put(_INLINE.get(self.key, self.key), {**declared, "data": base64_text}, data)

    def declare(self, media_type: str) -> None:
        data = self._data()
        data.update(dict.fromkeys(_declared(data), media_type))

    def _data(self) -> JsonObject:
        data = self.part[self.key]
        assert isinstance(data, dict)
        return data

    def _is_snake(self, data: JsonObject) -> bool:
        inner = [key for key in (*_URI_KEYS, *_TYPE_KEYS) if key in data]
        return "_" in (inner[0] if inner else self.key)

    def _put_uri(self, uri: str, declared: JsonObject, data: JsonObject) -> None:
        key = _URI_KEYS[self._is_snake(data)]
        self._put(_FILE.get(self.key, self.key), {key: uri, **declared}, data)

    def _put(self, key: str, entries: JsonObject, data: JsonObject) -> None:
        dropped = {*_URI_KEYS, *_TYPE_KEYS, "data"}
        kept = {name: value for name, value in data.items() if name not in dropped}
        replace_keys(self.part, self.key, {key: {**entries, **kept}})


def _is_sdks(data: Json, path: Path) -> bool:
    """Whether the Python SDK writes so: inner keys in snake case below any in camel case."""
    is_snake = isinstance(data, dict) and ("mime_type" in data or "file_uri" in data)
    return is_snake and any(step in _CAMEL for step in path)


def _declared(data: JsonObject) -> JsonObject:
    """Return the declared type with its key, as written."""
    return {key: data[key] for key in _TYPE_KEYS if data.get(key)}


def _walk_contents(contents: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    for here, content in _each(contents, path):
        if not isinstance(content, dict):
            raise wrong("a content is an object", here)
        yield from _walk_parts(content.get("parts"), (*here, "parts"), reader)


def _walk_system(request: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    for key in _SYSTEM_KEYS:
        instruction = request.get(key)
        if isinstance(instruction, dict):
            yield from _walk_parts(instruction.get("parts"), (*path, key, "parts"), reader)


def _walk_parts(parts: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    for here, part in _each(parts, path):
        if not isinstance(part, dict):
            raise wrong("a part is an object", here)
        for key in _FILE:
            if part.get(key) is not None:
                yield from _walk_inline(part, key, (*here, key), reader)
        for key in _INLINE:
            if part.get(key) is not None:
                yield from _walk_file(part, key, (*here, key), reader)
        for key in _RESPONSE_KEYS:
            answer = part.get(key)
            if isinstance(answer, dict):
                yield from _walk_parts(answer.get("parts"), (*here, key, "parts"), reader)


def _walk_inline(part: JsonObject, key: str, path: Path, reader: Reader) -> Iterator[Slot]:
    inline = object_at(part[key], path)
    media_type = _declared_type(inline, path)
    if data := string_at(inline, "data", path):
        is_url_safe = _is_sdks(inline, path)
        found = reader.base64(data, media_type, path, is_url_safe=is_url_safe)
        yield _DataSlot(path, found, part, key)


def _walk_file(part: JsonObject, key: str, path: Path, reader: Reader) -> Iterator[Slot]:
    file = object_at(part[key], path)
    _declared_type(file, path)
    for name in _URI_KEYS:
        uri = string_at(file, name, path)
        if uri and (found := reader.link(uri, path) or own_file_name(uri)):
            yield _DataSlot(path, found, part, key)
            return


def _declared_type(data: JsonObject, path: Path) -> str | None:
    types = [declared_type(data.get(key), (*path, key)) for key in _TYPE_KEYS]
    return next((found for found in types if found), None)


def _each(value: Json, path: Path) -> Iterator[tuple[Path, Json]]:
    """Yield what a repeated field holds, with its path: a list, or one object in its place."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield (*path, index), item
    elif isinstance(value, dict):
        yield (*path, 0), value
    elif value is not None:
        raise wrong("a list is required", path)
