"""What echo paints when it is asked for an image: a PNG of one colour, the same for the same words.

Models that make images are tried offline with it, and what becomes of an image that comes back.
"""

import struct
import zlib

from coatcheck.protocol import Digest

SIDE = 64
"""Pixels, each way."""


def paint(words: str, part: int = 0) -> bytes:
    """Return an image for some words; `part` counts those in the making, the first of which is 1."""
    colour = Digest.of(f"{part} {words}".encode()).raw[:3]
    rows = (b"\0" + colour * SIDE) * SIDE
    header = struct.pack(
        ">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0
    )  # 8 bits for each of red, green, blue
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        _chunk(kind, data)
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
