"""Media types from content, never from a name or a header.

Only the first bytes are looked at, and only signatures that cannot be text by accident.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

SNIFF_BYTES = 16
"""What decides."""

# Media types by their signatures, which stand at the beginning, and those by their first byte.
_TYPES: Mapping[bytes, str] = MappingProxyType(
    {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
        b"BM": "image/bmp",
        b"II*\x00": "image/tiff",
        b"MM\x00*": "image/tiff",
        b"%PDF-": "application/pdf",
        b"OggS": "audio/ogg",
        b"fLaC": "audio/flac",
        b"ID3": "audio/mpeg",
        b"\xff\xfb": "audio/mpeg",
        b"\xff\xf3": "audio/mpeg",
        b"\xff\xf2": "audio/mpeg",
        b"\x1aE\xdf\xa3": "video/webm",
        b"PK\x03\x04": "application/zip",
    }
)
_BEGINNING_WITH: Mapping[bytes, Sequence[bytes]] = MappingProxyType(
    {first: tuple(s for s in _TYPES if s[:1] == first) for first in {s[:1] for s in _TYPES}}
)
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_BRANDS = {  # ISO/IEC 14496-12 major brands
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"mif1": "image/heif",
    b"M4A ": "audio/mp4",
    b"qt  ": "video/quicktime",
}


def sniff(head: bytes) -> str | None:
    """Return the media type that the first bytes show, or None when they show none.

    The first `SNIFF_BYTES` decide; more do no harm.
    """
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    for signature in _BEGINNING_WITH.get(head[:1], ()):
        if head.startswith(signature):
            # `BM` is two letters: a bitmap also has four zero bytes that are reserved.
            if signature == b"BM" and head[6:10] != b"\0\0\0\0":
                continue
            return _TYPES[signature]
    return None
