"""Media types from content, never from a name or a header.

Only the first bytes are looked at, and only signatures that cannot be text by accident.
"""

SNIFF_BYTES = 16
"""What decides."""

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


def sniff(head: bytes) -> str | None:
    """Return the media type that the first bytes show, or None when they show none.

    The first `SNIFF_BYTES` decide; more do no harm.
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
