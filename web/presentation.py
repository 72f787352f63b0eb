"""How a blob's bytes are shown to a browser: as what they are, or as nothing that can run.

The type comes from the content, never from what an uploader declared. What a browser could take
for a page or a script has no signature that `sniff` knows, so it goes out as bytes to be saved.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Protocol
from urllib.parse import quote

from coatcheck.protocol import OCTET_STREAM, Digest, clean_filename

from .conditions import entity_tag


class BlobFacts(Protocol):
    """What an answer with a blob says of it. Sizes of pictures are in pixels."""

    @property
    def digest(self) -> Digest:
        """The blob's name."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...

    @property
    def media_type(self) -> str:
        """The descriptor's media type: the declared one, else what the content shows."""
        ...

    @property
    def sniffed_type(self) -> str | None:
        """What the content shows; None where it shows nothing known."""
        ...

    @property
    def width(self) -> int | None:
        """Of a picture, where it is known."""
        ...

    @property
    def height(self) -> int | None:
        """Of a picture, where it is known."""
        ...

    @property
    def frames(self) -> int | None:
        """Of an animation, where it is known."""
        ...


# Types that a browser only ever decodes; what stands here is shown in place.
_SUFFIXES_SHOWN: Mapping[str, str] = MappingProxyType(
    {
        "image/png": ".png",
        "image/jpeg": ".jpg",
        "image/gif": ".gif",
        "image/webp": ".webp",
        "image/avif": ".avif",
        "image/bmp": ".bmp",
        "audio/flac": ".flac",
        "audio/mp4": ".m4a",
        "audio/mpeg": ".mp3",
        "audio/ogg": ".ogg",
        "audio/wav": ".wav",
        "video/mp4": ".mp4",
        "video/webm": ".webm",
    }
)
_SUFFIXES_SAVED: Mapping[str, str] = MappingProxyType(
    {
        "application/pdf": ".pdf",
        "application/zip": ".zip",
        "image/heic": ".heic",
        "image/heif": ".heif",
        "image/tiff": ".tiff",
    }
)
_NAME_DIGITS = 16
_UNSAFE_IN_NAME = re.compile(r"[^0-9A-Za-z ._()+,=@~-]")


def blob_headers(facts: BlobFacts, saved_as: str | None = None) -> dict[str, str]:
    """Return the headers of every successful answer with this blob, whole, part or HEAD.

    With `saved_as` it is no picture to be shown but a file to be saved by this name.

    `Coatcheck-*` carry the rest of the descriptor. A part has all of them too, also after If-Range,
    where RFC 9110 section 15.3.7 would have them left out: without its type a browser would guess.
    """
    return {
        **validators(facts),
        "Content-Type": shown_type(facts),
        "Content-Disposition": _disposition(facts) if saved_as is None else _attachment(saved_as),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "Coatcheck-Media-Type": facts.media_type,
        **{name: str(value) for name, value in _sizes(facts).items() if value is not None},
    }


def validators(facts: BlobFacts) -> dict[str, str]:
    """Return what a 304 repeats: the entity tag and the caching rule (RFC 9110 section 15.4.5).

    A 200 has no Content-Location, Expires or Vary, so a 304 has none. It has no digest fields either:
    the client has them with its copy, and the tag says the same.
    """
    return {
        "ETag": entity_tag(facts.digest),
        "Cache-Control": "private, max-age=31536000, immutable",
    }


def _sizes(facts: BlobFacts) -> dict[str, int | None]:
    return {
        "Coatcheck-Width": facts.width,
        "Coatcheck-Height": facts.height,
        "Coatcheck-Frames": facts.frames,
    }


def shown_type(facts: BlobFacts) -> str:
    """Return the type that a blob is served as."""
    sniffed = facts.sniffed_type
    is_known = sniffed in _SUFFIXES_SHOWN or sniffed in _SUFFIXES_SAVED
    return sniffed if sniffed is not None and is_known else OCTET_STREAM


def name_suffix(media_type: str) -> str:
    """Return how the names of files of a type end, such as `.png`; empty where that is not known."""
    return _SUFFIXES_SHOWN.get(media_type) or _SUFFIXES_SAVED.get(media_type, "")


def _disposition(facts: BlobFacts) -> str:
    """The name is made of the digest, so no uploader's text is in the header."""
    shown = shown_type(facts)
    suffix = name_suffix(shown) or ".bin"
    kind = "inline" if shown in _SUFFIXES_SHOWN else "attachment"
    return f'{kind}; filename="{facts.digest.hex[:_NAME_DIGITS]}{suffix}"'


def _attachment(filename: str) -> str:
    """Name a file to be saved (RFC 6266): in ASCII that means nothing to anybody, then as it is."""
    name = clean_filename(filename) or "file"
    plain = _UNSAFE_IN_NAME.sub("_", name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
