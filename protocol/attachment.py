"""Attachments: the parts of a message that are or name a blob, as the dialects find them."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import pybase64

from .digest import Digest
from .pointer import Pointer
from .ref import Ref
from .short_json import TakenText

Path = tuple[str | int, ...]


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
    """Inline bytes: base64 in `text` from `start` on; nothing is copied until decoded.

    `is_url_safe` says which alphabet it has: that of RFC 4648 section 5, or of section 4.
    """

    text: str
    start: int
    media_type: str | None
    is_url_safe: bool = False

    @property
    def base64(self) -> str | memoryview:
        """The base64, which may lie elsewhere (`TakenText`)."""
        text = self.text
        if not isinstance(text, TakenText):
            return text[self.start :]
        return text.content if self.start == len(text.head) else text.whole[self.start :]

    @property
    def length(self) -> int:
        """Characters of base64."""
        text = self.text
        if isinstance(text, TakenText):
            return len(text.head) + len(text.content) - self.start
        return len(text) - self.start

    def decode(self) -> bytes | None:
        """Return the bytes; None when the base64 is not strict (RFC 4648 section 3.3).

        Such a text is left to the upstream as it is, since it could not be written back.
        """
        text = self.base64
        if self.is_url_safe and any(char in bytes_of(text) for char in (b"+", b"/")):
            return None  # the decoder takes both alphabets
        try:
            data = pybase64.b64decode(text, altchars=altchars(self.is_url_safe), validate=True)
        except ValueError:
            return None
        # Bits after the last byte must be zero, or the text could not be written back.
        last = data[-(len(data) % 3 or 3) :]
        written = pybase64.b64encode(last, altchars=altchars(self.is_url_safe)).decode()
        return data if data and bytes_of(text[-len(written) :]) == written.encode() else None


def bytes_of(text: str | memoryview) -> bytes:
    """Return base64 as bytes; what is none may have other characters."""
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


Found = FoundRef | FoundPointer | FoundFileId | FoundInline


class Slot(Protocol):
    """The place of one attachment in a parsed message; the put methods change the message.

    One of them is called, once: where it stands under another key afterwards, the slot is none any
    more. Sibling keys keep their place and spelling.
    """

    @property
    def path(self) -> Path:
        """Where, from the top of the body, ending at the part's key."""
        ...

    @property
    def found(self) -> Found:
        """What stood there when the message was walked."""
        ...

    @property
    def is_url_safe(self) -> bool:
        """Which alphabet inline bytes have there; see `FoundInline`."""
        ...

    def put_ref(self, ref: Ref) -> None:
        """Put a ref there, as the dialect's ref form has it."""
        ...

    def put_inline(self, media_type: str, base64_text: str) -> None:
        """Put inline bytes there. `base64_text` may be a stand-in for the real text."""
        ...


@runtime_checkable
class DeclaringSlot(Slot, Protocol):
    """A slot beside which a media type stands that `put_inline` leaves as it is written."""

    def declare(self, media_type: str) -> None:
        """Write another type in its place; before `put_inline`, for bytes of that other type."""
        ...


@runtime_checkable
class FileSlot(Slot, Protocol):
    """A slot where the provider takes a file of its own in place of bytes."""

    @property
    def filename(self) -> str | None:
        """What the file is called beside it; None where nothing says so."""
        ...

    def put_file(self, media_type: str, file: str) -> None:
        """Put the provider's file there: its id, or its URI where the provider goes by that."""
        ...


@runtime_checkable
class LinkSlot(Slot, Protocol):
    """A slot where the provider takes a URL that it fetches itself."""

    def put_url(self, media_type: str, url: str) -> None:
        """Put a URL there."""
        ...


@runtime_checkable
class UuidSlot(Slot, Protocol):
    """A slot beside which an engine takes a name of the bytes, under which it keeps what it made of them."""

    @property
    def uuid_kind(self) -> str:
        """What the bytes are taken for: a name is of bytes of one kind."""
        ...

    @property
    def has_uuid(self) -> bool:
        """Whether the client has named them itself."""
        ...

    def put_uuid(self, uuid: str, *, drops_bytes: bool) -> None:
        """Put the name beside what stands there; or in its place, with `drops_bytes`.

        May be called after `put_inline`.
        """
        ...


def altchars(is_url_safe: bool) -> bytes | None:
    """Return the two characters in which the alphabet of base64 differs; None: as usual."""
    return b"-_" if is_url_safe else None


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
