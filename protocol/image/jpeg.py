"""Walks the segments of a JPEG (ITU-T T.81 annex B) up to its first scan.

The picture data after it has no lengths: where it ends would have to be searched byte by byte, which
costs as much as hashing it. So whether a JPEG is cut short is left to its decoder, which says.
"""

from struct import Struct

from .info import ImageFault
from .scan import Scan, Walk

_SEGMENT = Struct(">2xH")
_FRAME = Struct(">5xHH")
# Table B.1
_LONE = frozenset({0x01, *range(0xD0, 0xD9)})  # TEM, RSTn, SOI: no length follows
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOFn, without DHT, JPG, DAC
_METADATA = frozenset({*range(0xE0, 0xF0), 0xFE})  # APPn, COM
_EOI, _SOS, _FILL = 0xD9, 0xDA, 0xFF


def walk_jpeg(scan: Scan) -> Walk:
    """Note size and metadata, up to the first SOS."""
    scan.at += 2
    while True:
        while scan.at + 4 > scan.end:
            yield 4
        marker = scan.data[scan.at + 1]
        if not scan.may_step():
            return ImageFault.TOO_FRAGMENTED
        if scan.data[scan.at] != 0xFF or marker in (0, _EOI):
            return ImageFault.MALFORMED
        if marker == _FILL:
            scan.at += 1
            continue
        if marker in _LONE:
            scan.at += 2
            continue
        (length,) = _SEGMENT.unpack_from(scan.data, scan.at)
        if length < 2:
            return ImageFault.MALFORMED
        if marker == _SOS:
            return None if scan.frames else ImageFault.MALFORMED
        if marker in _FRAMES:
            if length < 8 or scan.frames:
                return ImageFault.MALFORMED
            while scan.at + _FRAME.size > scan.end:
                yield _FRAME.size
            scan.height, scan.width = _FRAME.unpack_from(scan.data, scan.at)
            scan.frames = 1
        elif marker in _METADATA:
            scan.metadata_bytes += length
        scan.at += 2 + length
