"""Walks the blocks of a GIF (GIF89a, sections 15 to 27) and counts its frames.

Data comes in sub-blocks of up to 255 bytes. Encoders write them equally long until the last, so one
slice with that stride steps over many of them.
"""

from collections.abc import Generator
from struct import Struct

from .info import ImageFault
from .scan import Scan, Walk

_SCREEN = Struct("<6xHHB2x")
_IMAGE = Struct("<xHHHHB")
_EXTENSION, _SEPARATOR, _TRAILER = 0x21, 0x2C, 0x3B
_GRAPHIC_CONTROL = 0xF9
_MIN_RUN, _MAX_RUN = 16, 1_024  # sub-blocks looked at in one slice


def walk_gif(scan: Scan) -> Walk:
    """Note size, frames and metadata, up to the trailer."""
    while scan.at + _SCREEN.size > scan.end:
        yield _SCREEN.size
    scan.width, scan.height, flags = _SCREEN.unpack_from(scan.data, scan.at)
    scan.at += _SCREEN.size + _table_bytes(flags)
    while True:
        while scan.at >= scan.end:
            yield 1
        kind = scan.data[scan.at]
        if not scan.may_step():
            return ImageFault.TOO_FRAGMENTED
        if kind == _TRAILER:
            return None if scan.frames else ImageFault.MALFORMED
        is_metadata = False
        if kind == _EXTENSION:
            while scan.at + 2 > scan.end:
                yield 2
            is_metadata = scan.data[scan.at + 1] != _GRAPHIC_CONTROL
            scan.at += 2
        elif kind == _SEPARATOR:
            while scan.at + _IMAGE.size > scan.end:
                yield _IMAGE.size
            left, top, width, height, flags = _IMAGE.unpack_from(scan.data, scan.at)
            scan.reach(left + width, top + height)
            scan.frames = (scan.frames or 0) + 1
            scan.at += _IMAGE.size + _table_bytes(flags) + 1  # the LZW code size
        else:
            return ImageFault.MALFORMED
        start = scan.base + scan.at
        if not (yield from _step_over_sub_blocks(scan)):
            scan.frames = None
            return ImageFault.TOO_FRAGMENTED
        if is_metadata:
            scan.metadata_bytes += scan.base + scan.at - start


def _table_bytes(flags: int) -> int:
    """Return the length of a colour table, from the flags before it."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _step_over_sub_blocks(scan: Scan) -> Generator[int, None, bool]:
    """Return whether there was an end to them within the steps of a walk."""
    length, run = 0, _MIN_RUN
    while True:
        while scan.at >= scan.end:
            yield 1
        before, length = length, scan.data[scan.at]
        if length == 0:
            scan.at += 1
            return True
        stride = length + 1
        if length != before:
            if not scan.may_step():
                return False
            run = _MIN_RUN
        lengths = bytes(scan.data[scan.at : min(scan.end, scan.at + run * stride) : stride])
        equal = len(lengths) - len(lengths.lstrip(lengths[:1]))
        scan.at += equal * stride
        if equal == run:
            run = min(2 * run, _MAX_RUN)
