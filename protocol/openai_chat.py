"""OpenAI's Chat Completions format, and its many compatible speakers.

Attachments stand in the parts of a message's `content` list: `image_url.url` (a URL or data URL;
some speakers write `image_url` as that string itself), `input_audio.data` (base64),
`file.file_data` (data URL or base64) and `file.file_id`. Some speakers know `image_url.file_id` and
a `file_id` beside the part's `type` too, and answers with `images` beside the `content`. Source: the types of the `openai` package,
chat/chat_completion_content_part_*.py, version 3.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from .attachment import FoundFileId, Path, Slot
from .dialect import Call
from .json_value import Json, JsonObject
from .provider_openai import END_USER_KEYS, OpenAI
from .reading import Reader, end_user_at, object_at, own_file_id, string_at, walk_list, wrong
from .ref import Ref
from .slots import Base64Slot, UrlSlot, replace_keys


class OpenAIChat:
    """The dialect `openai.chat`."""

    name = "openai.chat"
    provider = OpenAI()
    calls = (Call("/v1/chat/completions", "Serve one turn of a chat"),)
    messages_key = "messages"
    model_key = "model"

    def list_messages(self, messages: Json) -> list[Json] | None:
        """Return the list itself."""
        return messages if isinstance(messages, list) else None

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom the body says that it is for; see `Dialect.end_user`."""
        return end_user_at(body, *END_USER_KEYS)

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find the attachments; see `Dialect.walk`."""
        walk = partial(_walk_message, reader=Reader(origins))
        return walk_list(messages, (self.messages_key,), walk)

    def walk_beside(self, body: JsonObject, origins: Collection[str] = ()) -> list[Slot]:
        """Find nothing: attachments stand in messages alone."""
        return []


@dataclass(frozen=True, slots=True)
class _PartFileIdSlot:
    """A `file_id` beside the part's `type`: bytes take its place as a `file`, with what that says."""

    path: Path
    found: FoundFileId
    holder: JsonObject
    is_url_safe = False

    def put_ref(self, ref: Ref) -> None:
        self._put(str(ref))

    def put_inline(self, media_type: str, base64_text: str) -> None:
        self._put(f"data:{media_type};base64,{base64_text}")

    @property
    def filename(self) -> str | None:
        return None

    def put_file(self, media_type: str, file: str) -> None:
        self.holder["file_id"] = file

    def _put(self, value: str) -> None:
        beside = self.holder.get("file")
        file = beside if isinstance(beside, dict) else {}
        replace_keys(self.holder, "file_id", {"file": {**file, "file_data": value}})


class FileDataSlot(UrlSlot):
    """The bytes of a file, beside which its name may stand; the provider's file has its own."""

    __slots__ = ()

    @property
    def filename(self) -> str | None:
        name = self.holder.get("filename")
        return name if isinstance(name, str) else None

    def put_file(self, media_type: str, file: str) -> None:
        self.holder.pop("filename", None)
        replace_keys(self.holder, self.key, {"file_id": file})


@dataclass(frozen=True, slots=True)
class _MediaSlot(UrlSlot):
    """An image, sound or film by its URL; `part` is what has the `type`, `name` its key there.

    vLLM takes a `uuid` beside the type, and nothing else for what it has (its documentation,
    features/multimodal_inputs, "Cached inputs").
    """

    part: JsonObject
    name: str

    @property
    def uuid_kind(self) -> str:
        return self.name

    @property
    def has_uuid(self) -> bool:
        return self.part.get("uuid") is not None

    def put_url(self, media_type: str, url: str) -> None:
        replace_keys(self.holder, self.key, {self.target: url})

    def put_uuid(self, uuid: str, *, drops_bytes: bool) -> None:
        if drops_bytes:
            self.part[self.name] = None
        self.part["uuid"] = uuid


def walk_audio(audio: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    """Find what stands in the value of `input_audio`."""
    holder = object_at(audio, path)
    if data := string_at(holder, "data", path):
        yield Base64Slot(path, reader.base64(data, None, path), holder, "data")


def walk_file_data(
    file: JsonObject, path: Path, reader: Reader, slot: type[FileDataSlot] = FileDataSlot
) -> Iterator[Slot]:
    """Find what stands in `file_data`: a data URL, or base64 alone."""
    data = string_at(file, "file_data", path)
    if not data:
        return
    found = reader.url(data, path)
    if found is None and "://" not in data[:16]:
        found = reader.base64(data, None, path)
    if found:
        yield slot(path, found, file, "file_data", "file_data")


def _walk_message(message: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    if not isinstance(message, dict):
        raise wrong("a message is an object", path)
    yield from _walk_images(message.get("images"), (*path, "images"), reader)
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    here = (*path, "content")
    if not isinstance(content, list):
        raise wrong("content is a string, a list of parts, or null", here)
    for index, part in enumerate(content):
        if isinstance(part, dict):
            yield from _walk_part(part, (*here, index), reader)
        elif not isinstance(part, str):
            raise wrong("a part is an object", (*here, index))


def _walk_images(images: Json, path: Path, reader: Reader) -> Iterator[Slot]:
    """Walk what compatible servers give beside the content of an answer; others have it as they like."""
    for index, part in enumerate(images if isinstance(images, list) else ()):
        if isinstance(part, dict):
            yield from _walk_part(part, (*path, index), reader)


def _walk_part(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    for key, walk in _WALKS.items():
        if part.get(key) is not None:
            yield from walk(part, (*path, key), reader)


def _walk_url(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    """Walk what stands under the path's key; sound and video there are extensions of engines."""
    name = str(path[-1])
    value = part[name]
    if isinstance(value, str):
        holder, key = part, name
    elif isinstance(value, dict):
        holder, key = value, "url"
    else:
        raise wrong(f"{name} is an object with a url", path)
    url = string_at(holder, key, path)
    if url and (found := reader.url(url, path)):
        yield _MediaSlot(path, found, holder, key, key, part, name)
    if key == "url" and (named := own_file_id(string_at(holder, "file_id", path))):
        yield _MediaSlot(path, named, holder, "file_id", "url", part, name)


def _walk_input_audio(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    return walk_audio(part["input_audio"], path, reader)


def _walk_file(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    file = object_at(part["file"], path)
    yield from walk_file_data(file, path, reader)
    if found := own_file_id(string_at(file, "file_id", path)):
        yield FileDataSlot(path, found, file, "file_id", "file_data")


def _walk_file_id(part: JsonObject, path: Path, reader: Reader) -> Iterator[Slot]:
    file_id = part["file_id"]
    if isinstance(file_id, str) and (found := own_file_id(file_id)):
        yield _PartFileIdSlot(path, found, part)


_WALKS: Mapping[str, Callable[[JsonObject, Path, Reader], Iterator[Slot]]] = MappingProxyType(
    {
        "image_url": _walk_url,
        "video_url": _walk_url,
        "audio_url": _walk_url,
        "input_audio": _walk_input_audio,
        "file": _walk_file,
        "file_id": _walk_file_id,
    }
)
