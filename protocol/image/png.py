"""Walks the chunks of a PNG (W3C PNG, third edition, sections 5 and 11)."""

from struct import Struct

from .info import ImageFault
from .scan import Scan, Walk

_CHUNK = Struct(">I4s")
_HEADER = Struct(">8xI4sII")
_NUMBER = Struct(">I")
_CHUNK_BYTES = 12  # length, type and CRC around the data
_MAX_NUMBER = 2**31 - 1  # of any four-byte integer, section 7.1
_PIXELS = frozenset({b"PLTE", b"tRNS", b"fdAT"})


def walk_png(scan: Scan) -> Walk:
    """Note size, frames and metadata, up to the end of IEND."""
    while scan.at + _HEADER.size > scan.end:
        yield _HEADER.size
    length, kind, width, height = _HEADER.unpack_from(scan.data, scan.at)
    if length != 13 or kind != b"IHDR" or max(width, height) > _MAX_NUMBER:
        return ImageFault.MALFORMED
    scan.width, scan.height = width, height
    scan.at += 8 + _CHUNK_BYTES + length
    has_data, is_animated = False, False
    while True:
        while scan.at + 8 > scan.end:
            yield 8
        length, kind = _CHUNK.unpack_from(scan.data, scan.at)
        if not scan.may_step():
            return ImageFault.TOO_FRAGMENTED
        if length > _MAX_NUMBER:
            return ImageFault.MALFORMED
        if kind == b"IDAT":
            has_data = True
            scan.frames = scan.frames or 1
        elif kind == b"IEND":
            scan.at += _CHUNK_BYTES + length
            while scan.at > scan.end:
                yield 0
            return None if has_data and not length else ImageFault.MALFORMED
        elif kind == b"acTL" and not has_data:
            while scan.at + 12 > scan.end:
                yield 12
            (scan.frames,) = _NUMBER.unpack_from(scan.data, scan.at + 8)
            is_animated = True
            if not 0 < scan.frames <= _MAX_NUMBER:
                scan.frames = None
                return ImageFault.MALFORMED
        elif kind == b"fcTL":
            scan.frames_seen += is_animated
        elif not kind.isalpha():
            return ImageFault.MALFORMED
        elif kind not in _PIXELS:
            scan.metadata_bytes += length
        scan.at += _CHUNK_BYTES + length
