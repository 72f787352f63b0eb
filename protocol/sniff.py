"""Media types and picture sizes from content, never from a name or a header.

Only the first bytes are looked at, and only signatures that cannot be text by accident. Sizes are
read from the headers of PNG, GIF, JPEG and WebP within `SNIFF_BYTES`; nothing is decoded.
"""

from dataclasses import dataclass

SNIFF_BYTES = 64 * 1024

_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    # offset, bytes there, media type
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (0, b"BM", "image/bmp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"OggS", "audio/ogg"),
    (0, b"fLaC", "audio/flac"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf2", "audio/mpeg"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"PK\x03\x04", "application/zip"),
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
# ITU-T T.81 table B.1
_LONE_MARKERS = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RSTn, SOI: no length follows
_LAST_MARKERS = frozenset({0xD9, 0xDA})  # EOI, SOS: no frame header comes after
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn, without DHT, JPG, DAC


@dataclass(frozen=True, slots=True)
class ImageSize:
    """Pixels, as the header claims them; EXIF orientation is not applied."""

    width: int
    height: int


def sniff(head: bytes) -> str | None:
    """Return the media type that the first bytes show, or None when they show none.

    The first 16 bytes decide; more do no harm.
    """
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video/mp4")
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset):
            # `BM` is two letters: a bitmap also has four zero bytes that are reserved.
            if media_type == "image/bmp" and head[6:10] != b"\0\0\0\0":
                continue
            return media_type
    return None


def image_size(head: bytes) -> ImageSize | None:
    """Return the size that a PNG, GIF, JPEG or WebP header claims.

    Give it up to `SNIFF_BYTES` from the start. None for other types, for a header that lies
    beyond them, and for one that claims no pixels.
    """
    read = {
        "image/png": _png_size,
        "image/gif": _gif_size,
        "image/jpeg": _jpeg_size,
        "image/webp": _webp_size,
    }.get(sniff(head) or "")
    size = read(head) if read else None
    return size if size and size.width and size.height else None


def _png_size(head: bytes) -> ImageSize | None:
    if len(head) < 24 or head[12:16] != b"IHDR":
        return None
    return ImageSize(int.from_bytes(head[16:20]), int.from_bytes(head[20:24]))


def _gif_size(head: bytes) -> ImageSize | None:
    if len(head) < 10:
        return None
    return ImageSize(int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little"))


def _jpeg_size(head: bytes) -> ImageSize | None:
    """Walk the segments up to the first frame header (ITU-T T.81 annex B)."""
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = head[at + 5 : at + 7], head[at + 7 : at + 9]
            return ImageSize(int.from_bytes(width), int.from_bytes(height))
        if marker in _LAST_MARKERS:
            return None
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _LONE_MARKERS:
            at += 2
        else:
            at += 2 + max(2, int.from_bytes(head[at + 2 : at + 4]))
    return None


def _webp_size(head: bytes) -> ImageSize | None:
    """Read the first chunk: lossy, lossless or extended (RFC 9649)."""
    kind = head[12:16]
    if len(head) < 30:
        return None
    if kind == b"VP8 " and head[23:26] == b"\x9d\x01\x2a":
        width, height = int.from_bytes(head[26:28], "little"), int.from_bytes(head[28:30], "little")
        return ImageSize(width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L" and head[20] == 0x2F:
        bits = int.from_bytes(head[21:25], "little")
        return ImageSize((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        return ImageSize(
            int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        )
    return None
