"""Reading the values that may be an attachment: URLs, base64 and file ids.

What every dialect shares. A dialect says where such a value stands; here is what it is.
"""

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace

import pybase64

from .attachment import FoundFileId, FoundInline, FoundPointer, FoundRef, Path, Slot, dotted
from .end_user import is_end_user
from .errors import InvalidRefError, MalformedMessageError, ProtocolError
from .json_value import Json, JsonObject
from .media_type import parse_media_type
from .pointer import MAX_POINTER_BYTES, VERSION_LINE, parse_pointer
from .ref import is_file_id, looks_like_ref, parse_blob_url, parse_ref
from .short_json import TakenText

_POINTER_PREFIX = pybase64.b64encode(VERSION_LINE).decode()  # 27 bytes: no padding inside
_MAX_POINTER_CHARS = 4 * -(-MAX_POINTER_BYTES // 3)
_MAX_DATA_URL_HEAD = 256  # characters before the comma; longer ones are not read as media types
_MAX_URL = 2048  # characters looked at; a data URL is not searched to its end
_file_name = re.compile(r"(?:https?://[^/?#]+/v1(?:alpha|beta)?/)?files/([^/?#]+)").fullmatch


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads values. `origins` are the authorities whose `/v1/blobs/` URLs are ours."""

    origins: Collection[str] = ()

    def ref(self, text: str, path: Path) -> FoundRef | None:
        """Read a ref, or a blob's URL; None for anything else.

        Raises:
            MalformedMessageError: it claims to be one and is not.
        """
        try:
            if looks_like_ref(text):
                return FoundRef(parse_ref(text))
            if self.origins and (ref := parse_blob_url(text[:_MAX_URL], self.origins)):
                return FoundRef(ref)
        except InvalidRefError as error:
            raise MalformedMessageError(str(error), dotted(path), error.code) from error
        return None

    def url(self, text: str, path: Path) -> FoundRef | FoundInline | FoundPointer | None:
        """Read a URL that may be a base64 data URL (RFC 2397); None for any other.

        Raises:
            MalformedMessageError: a malformed ref or pointer.
        """
        return self.ref(text, path) or _data_url(text, path)

    def link(self, text: str, path: Path) -> FoundRef | FoundPointer | None:
        """Read a URL where the provider takes no data URL: one with bytes is left to it.

        Raises:
            MalformedMessageError: a malformed ref or pointer.
        """
        found = self.url(text, path)
        return None if isinstance(found, FoundInline) else found

    def base64(
        self, text: str, media_type: str | None, path: Path, *, is_url_safe: bool = False
    ) -> FoundRef | FoundInline | FoundPointer:
        """Read base64, or a ref in its place; `media_type` is what is declared beside it.

        Raises:
            MalformedMessageError: a malformed ref or pointer.
        """
        if found := self.ref(text, path):
            return FoundRef(replace(found.ref, media_type=found.ref.media_type or media_type))
        inline = _base64(text, 0, media_type, path)
        if is_url_safe and isinstance(inline, FoundInline):
            return replace(inline, is_url_safe=True)
        return inline


def own_file_id(text: str | None) -> FoundFileId | None:
    """Read a file id; None for one that is the provider's."""
    return FoundFileId(text) if text and is_file_id(text) else None


def own_file_name(text: str) -> FoundFileId | None:
    """Read a file id as Gemini names files: `files/<id>`, or the URI of that, or the id alone."""
    match = _file_name(text[:_MAX_URL])
    return own_file_id(match[1] if match else text)


def declared_type(value: Json, path: Path) -> str | None:
    """Return the media type declared beside bytes, lower case, no parameters; None for none.

    Raises:
        MalformedMessageError: it is no string.
    """
    if value is not None and not isinstance(value, str):
        raise wrong("a string is required", path)
    return _parsed_type(value) if value else None


def object_at(value: Json, path: Path) -> JsonObject:
    """Return an object.

    Raises:
        MalformedMessageError: the value is none.
    """
    if not isinstance(value, dict):
        raise wrong("an object is required", path)
    return value


def string_at(holder: JsonObject, key: str, path: Path) -> str | None:
    """Return the string under a key; None when it is absent or null. `path` is the part's.

    Raises:
        MalformedMessageError: it is something else.
    """
    value = holder.get(key)
    if value is not None and not isinstance(value, str):
        raise wrong("a string is required", path if path[-1] == key else (*path, key))
    return value


def walk_list(
    messages: Json,
    path: Path,
    walk: Callable[[Json, Path], Iterable[Slot]],
    required: str = "a list of messages is required",
) -> list[Slot]:
    """Return the attachments of each message of a list, as `walk` finds them; `path` is the list's.

    Raises:
        MalformedMessageError: it is no list; its text is `required`.
    """
    if not isinstance(messages, list):
        raise wrong(required, path)
    return [slot for at, message in enumerate(messages) for slot in walk(message, (*path, at))]


def end_user_at(holder: JsonObject, *keys: str) -> str | None:
    """Return what stands under the first key that has a name an end user may have."""
    for key in keys:
        name = holder.get(key)
        if isinstance(name, str) and not isinstance(name, TakenText) and is_end_user(name):
            return name
    return None


def wrong(message: str, path: Path) -> MalformedMessageError:
    """Return the error for a value of a wrong type."""
    return MalformedMessageError(message, dotted(path))


def _data_url(text: str, path: Path) -> FoundInline | FoundPointer | None:
    if text[:5].lower() != "data:":
        return None
    comma = text.find(",", 5, _MAX_DATA_URL_HEAD)
    head = text[5:comma].lower()
    if comma < 0 or not head.endswith(";base64"):
        return None
    return _base64(text, comma + 1, _parsed_type(head.removesuffix(";base64")), path)


def _base64(
    text: str, start: int, media_type: str | None, path: Path
) -> FoundInline | FoundPointer:
    """Read base64 from `start` on as inline bytes, or as the pointer that it spells."""
    if text.startswith(_POINTER_PREFIX, start):
        # A whole number of quanta, one more than a pointer may have.
        head = text[start : start + _MAX_POINTER_CHARS + 4]
        try:
            pointer = parse_pointer(pybase64.b64decode(head, validate=True))
        except ProtocolError as error:
            raise MalformedMessageError(str(error), dotted(path), error.code) from error
        except ValueError:
            pointer = None  # not strict base64, so not a pointer either
        if pointer:
            return FoundPointer(pointer, media_type)
    return FoundInline(text, start, media_type)


def _parsed_type(text: str) -> str | None:
    try:
        return parse_media_type(text)
    except ProtocolError:
        return None
