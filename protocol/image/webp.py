"""Walks the chunks of a WebP (RFC 9649 section 2) and counts its frames."""

from struct import Struct

from .info import ImageFault
from .scan import Scan, Walk

_RIFF = Struct("<4xI4x")
_CHUNK = Struct("<4sI")
_ANIMATED = 0x02
_PIXELS = frozenset({b"ALPH", b"ANIM"})


def walk_webp(scan: Scan) -> Walk:
    """Note size, frames and metadata, up to the end that the RIFF header claims."""
    while scan.at + _RIFF.size > scan.end:
        yield _RIFF.size
    (size,) = _RIFF.unpack_from(scan.data, scan.at)
    end = scan.base + scan.at + 8 + size
    scan.at += _RIFF.size
    is_first, is_animated, has_pixels = True, False, False
    while scan.base + scan.at + 8 <= end:
        while scan.at + 8 > scan.end:
            yield 8
        kind, length = _CHUNK.unpack_from(scan.data, scan.at)
        if not scan.may_step():
            scan.frames = None
            return ImageFault.TOO_FRAGMENTED
        if scan.base + scan.at + 8 + length > end:
            return ImageFault.MALFORMED
        if kind in _HEADS:
            need, read = _HEADS[kind]
            if length < need - 8:
                return ImageFault.MALFORMED
            while scan.at + need > scan.end:
                yield need
            head = bytes(scan.data[scan.at + 8 : scan.at + need])
            width, height = read(head)
            if not width:
                return ImageFault.MALFORMED
            if is_first:
                scan.width, scan.height = width, height
                is_animated = kind == b"VP8X" and bool(head[0] & _ANIMATED)
            if kind == b"ANMF":
                scan.frames = (scan.frames or 0) + 1
            elif kind != b"VP8X" and not is_animated:
                scan.frames = 1
            has_pixels = has_pixels or kind != b"VP8X"
            scan.reach(width, height)
        elif is_first:
            return ImageFault.MALFORMED
        elif kind not in _PIXELS:
            scan.metadata_bytes += length
        is_first = False
        scan.at += 8 + length + (length & 1)
    scan.at = end - scan.base
    while scan.at > scan.end:
        yield 0
    return None if has_pixels and scan.frames else ImageFault.MALFORMED


def _lossy(head: bytes) -> tuple[int, int]:
    """Read the head of a VP8 key frame (RFC 6386 section 9.1)."""
    if head[3:6] != b"\x9d\x01\x2a":
        return 0, 0
    width, height = int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    return width & 0x3FFF, height & 0x3FFF


def _lossless(head: bytes) -> tuple[int, int]:
    if head[0] != 0x2F:
        return 0, 0
    bits = int.from_bytes(head[1:5], "little")
    return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1


def _extended(head: bytes) -> tuple[int, int]:
    return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1


def _frame(head: bytes) -> tuple[int, int]:
    """Return how far a frame of an animation reaches."""
    left, top, width, height = (int.from_bytes(head[at : at + 3], "little") for at in (0, 3, 6, 9))
    return 2 * left + width + 1, 2 * top + height + 1


# Chunks with a size in their head: how much of the chunk says it, and what reads it.
_HEADS = {
    b"VP8 ": (18, _lossy),
    b"VP8L": (13, _lossless),
    b"VP8X": (18, _extended),
    b"ANMF": (24, _frame),
}
