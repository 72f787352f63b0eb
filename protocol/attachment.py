"""Attachments: the parts of a message that are or name a blob, as the dialects find them."""

from dataclasses import dataclass
from typing import Protocol

import pybase64

from .digest import Digest
from .errors import MalformedMessageError, ProtocolError
from .media_type import parse_media_type
from .pointer import MAX_POINTER_BYTES, VERSION_LINE, Pointer, parse_pointer
from .ref import Ref

Path = tuple[str | int, ...]

_POINTER_PREFIX = pybase64.b64encode(VERSION_LINE).decode()  # 27 bytes: no padding inside
_MAX_POINTER_CHARS = 4 * -(-MAX_POINTER_BYTES // 3)
_MAX_DATA_URL_HEAD = 256  # characters before the comma; longer ones are not read as media types


@dataclass(frozen=True, slots=True)
class FoundRef:
    """A ref, in whichever spelling."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class FoundPointer:
    """A pointer in place of inline bytes, and the media type that stood beside it."""

    pointer: Pointer
    media_type: str | None


@dataclass(frozen=True, slots=True)
class FoundFileId:
    """One of our file ids."""

    file_id: str


@dataclass(frozen=True, slots=True)
class FoundInline:
    """Inline bytes: base64 in `text` from `start` on; nothing is copied until decoded."""

    text: str
    start: int
    media_type: str | None

    def decode(self) -> bytes | None:
        """Return the bytes; None when the base64 is not strict (RFC 4648 section 3.3).

        Such a text is left to the upstream as it is, since it could not be written back.
        """
        try:
            data = pybase64.b64decode(self.text[self.start :], validate=True)
        except ValueError:
            return None
        # Bits after the last byte must be zero, or the text could not be written back.
        last = pybase64.b64encode(data[-(len(data) % 3 or 3) :]).decode()
        return data if data and self.text.endswith(last) else None


Found = FoundRef | FoundPointer | FoundFileId | FoundInline


class Slot(Protocol):
    """The place of one attachment in a parsed message; the put methods change the message.

    Sibling keys keep their place and spelling.
    """

    @property
    def path(self) -> Path:
        """Where, from the top of the body, ending at the part's key."""
        ...

    @property
    def found(self) -> Found:
        """What stood there when the message was walked."""
        ...

    def put_ref(self, ref: Ref) -> None:
        """Put a ref there, as the dialect's ref form has it."""
        ...

    def put_inline(self, media_type: str, base64_text: str) -> None:
        """Put inline bytes there. `base64_text` may be a stand-in for the real text."""
        ...


def dotted(path: Path) -> str:
    """Return a path as answers spell it: `messages.0.content.1.image_url`."""
    return ".".join(map(str, path))


def inline_ref(found: FoundInline | FoundPointer, digest: Digest, sniffed: str | None) -> Ref:
    """Return the ref form of inline bytes: with the declared type where content differs.

    `sniffed` is what `sniff` says of the first bytes of what stood in the message, so for a
    pointer it is None: the ref form is a function of the request alone.
    """
    declared = found.media_type
    return Ref(digest, None if declared is None or declared == sniffed else declared)


def read_data_url(text: str, path: Path) -> FoundInline | FoundPointer | None:
    """Read a base64 data URL (RFC 2397); None for any other text.

    Raises:
        MalformedMessageError: it holds a malformed pointer.
    """
    if text[:5].lower() != "data:":
        return None
    comma = text.find(",", 5, _MAX_DATA_URL_HEAD)
    head = text[5:comma].lower()
    if comma < 0 or not head.endswith(";base64"):
        return None
    return read_base64(text, comma + 1, _media_type(head), path)


def read_base64(
    text: str, start: int, media_type: str | None, path: Path
) -> FoundInline | FoundPointer:
    """Read base64 from `start` on as inline bytes, or as the pointer that it spells.

    Raises:
        MalformedMessageError: it spells a malformed pointer.
    """
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


def _media_type(head: str) -> str | None:
    try:
        return parse_media_type(head.removesuffix(";base64"))
    except ProtocolError:
        return None
