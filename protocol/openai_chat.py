"""OpenAI's Chat Completions format, and its many compatible speakers.

Attachments stand in the parts of a message's `content` list: `image_url.url` (a URL or data URL;
some speakers write `image_url` as that string itself), `input_audio.data` (base64),
`file.file_data` (data URL or base64) and `file.file_id`. Source: the types of the `openai`
package, chat/chat_completion_content_part_*.py, version 3.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

from .attachment import (
    Found,
    FoundFileId,
    FoundInline,
    FoundPointer,
    FoundRef,
    Path,
    Slot,
    dotted,
    read_base64,
    read_data_url,
)
from .end_user import is_end_user
from .errors import InvalidRefError, MalformedMessageError
from .json_value import Json, JsonObject
from .provider_openai import OpenAI
from .ref import Ref, is_file_id, looks_like_ref, parse_blob_url, parse_ref

# The second is what the first was called before.
_END_USER_KEYS = ("safety_identifier", "user")
_MAX_BLOB_URL = 2048  # characters looked at; a data URL is not searched to its end


@dataclass(frozen=True, slots=True)
class _Slot:
    """One string value: `holder[key]`."""

    path: Path
    found: Found
    holder: JsonObject
    key: str

    def put_ref(self, ref: Ref) -> None:
        self.holder[self.key] = str(ref)

    def put_inline(self, media_type: str, base64_text: str) -> None:
        self.holder[self.key] = f"data:{media_type};base64,{base64_text}"


class _AudioSlot(_Slot):
    """`input_audio.data`: bare base64, whose type is the sibling `format`."""

    __slots__ = ()

    def put_ref(self, ref: Ref) -> None:
        self.holder[self.key] = str(replace(ref, media_type=None))

    def put_inline(self, media_type: str, base64_text: str) -> None:
        self.holder[self.key] = base64_text


class _FileIdSlot(_Slot):
    """`file.file_id`: bytes take its place as `file_data`."""

    __slots__ = ()

    def put_ref(self, ref: Ref) -> None:
        self._put(str(ref))

    def put_inline(self, media_type: str, base64_text: str) -> None:
        self._put(f"data:{media_type};base64,{base64_text}")

    def _put(self, value: str) -> None:
        entries = [
            ("file_data", value) if key == self.key else (key, item)
            for key, item in self.holder.items()
        ]
        self.holder.clear()
        self.holder.update(entries)


class OpenAIChat:
    """The dialect `openai.chat`."""

    name = "openai.chat"
    provider = OpenAI()
    messages_key = "messages"

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom the body says that it is for; see `Dialect.end_user`."""
        for key in _END_USER_KEYS:
            if isinstance(name := body.get(key), str) and is_end_user(name):
                return name
        return None

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`."""
        top: Path = (self.messages_key,)
        if not isinstance(messages, list):
            raise _wrong("a list of messages is required", top)
        return [
            slot
            for index, message in enumerate(messages)
            for slot in _walk_message(message, (*top, index), origins)
        ]


def _walk_message(message: Json, path: Path, origins: Collection[str]) -> Iterator[Slot]:
    if not isinstance(message, dict):
        raise _wrong("a message is an object", path)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    here = (*path, "content")
    if not isinstance(content, list):
        raise _wrong("content is a string, a list of parts, or null", here)
    for index, part in enumerate(content):
        if isinstance(part, dict):
            yield from _walk_part(part, (*here, index), origins)
        elif not isinstance(part, str):
            raise _wrong("a part is an object", (*here, index))


def _walk_part(part: JsonObject, path: Path, origins: Collection[str]) -> Iterator[Slot]:
    for key, read in _READERS.items():
        if (value := part.get(key)) is not None:
            yield from read(part, value, (*path, key), origins)


def _read_image(
    part: JsonObject, value: Json, path: Path, origins: Collection[str]
) -> Iterator[Slot]:
    if isinstance(value, str):
        holder, key = part, "image_url"
    elif isinstance(value, dict):
        holder, key = value, "url"
    else:
        raise _wrong("an image is an object with a url", path)
    url = _string(holder, key, path)
    if url and (found := _found_in_url(url, path, origins)):
        yield _Slot(path, found, holder, key)


def _read_audio(
    part: JsonObject, value: Json, path: Path, origins: Collection[str]
) -> Iterator[Slot]:
    audio = _object(value, path)
    data = _string(audio, "data", path)
    if data:
        found = _found_ref(data, path, origins) or read_base64(data, 0, None, path)
        yield _AudioSlot(path, found, audio, "data")


def _read_file(
    part: JsonObject, value: Json, path: Path, origins: Collection[str]
) -> Iterator[Slot]:
    file = _object(value, path)
    data, file_id = _string(file, "file_data", path), _string(file, "file_id", path)
    if data:
        found = _found_in_url(data, path, origins)
        if found is None and "://" not in data[:16]:
            found = read_base64(data, 0, None, path)
        if found:
            yield _Slot(path, found, file, "file_data")
    if file_id and is_file_id(file_id):
        yield _FileIdSlot(path, FoundFileId(file_id), file, "file_id")


_READERS: dict[str, Callable[[JsonObject, Json, Path, Collection[str]], Iterator[Slot]]] = {
    "image_url": _read_image,
    "input_audio": _read_audio,
    "file": _read_file,
}


def _found_in_url(
    url: str, path: Path, origins: Collection[str]
) -> FoundRef | FoundInline | FoundPointer | None:
    return _found_ref(url, path, origins) or read_data_url(url, path)


def _found_ref(url: str, path: Path, origins: Collection[str]) -> FoundRef | None:
    try:
        if looks_like_ref(url):
            return FoundRef(parse_ref(url))
        if origins and (ref := parse_blob_url(url[:_MAX_BLOB_URL], origins)):
            return FoundRef(ref)
    except InvalidRefError as error:
        raise MalformedMessageError(str(error), dotted(path), error.code) from error
    return None


def _object(value: Json, path: Path) -> JsonObject:
    if not isinstance(value, dict):
        raise _wrong("an object is required", path)
    return value


def _string(holder: JsonObject, key: str, path: Path) -> str | None:
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        here = path if path[-1] == key else (*path, key)
        raise _wrong("a string is required", here)
    return value


def _wrong(message: str, path: Path) -> MalformedMessageError:
    return MalformedMessageError(message, dotted(path))
