"""Reads an image's header from its bytes as they stream past.

1. Payloads are stepped over by arithmetic, never copied or looked at; between two pieces at most
   `MAX_NEED_BYTES` are kept.
2. The answer depends on the bytes alone, never on how they were cut into pieces.
3. It raises nothing, whatever the bytes, and takes steps in proportion to them.
4. Bytes after the image's end are allowed.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from ..buffer import Buffer
from ..sniff import sniff
from .gif import walk_gif
from .info import ImageBudgets, ImageFault, ImageInfo
from .jpeg import walk_jpeg
from .png import walk_png
from .scan import MAX_NEED_BYTES, Scan, Walk
from .webp import walk_webp

_WALKS: Mapping[str, Callable[[Scan], Walk]] = MappingProxyType(
    {
        "image/png": walk_png,
        "image/jpeg": walk_jpeg,
        "image/gif": walk_gif,
        "image/webp": walk_webp,
    }
)
IMAGE_TYPES = frozenset(_WALKS)
"""Media types whose headers are read. All else is an opaque blob."""

_SIGNATURE_BYTES = 12  # RIFF, its size, WEBP
_DEFAULT_BUDGETS = ImageBudgets()


class ImageParser:
    """Feed it an image's bytes in order; ask it at any time. Not safe for two threads at once."""

    def __init__(self) -> None:
        self._scan = Scan()
        self._walk: Walk | None = _walk(self._scan)
        self._need = next(self._walk)
        self._fault: ImageFault | None = None
        self._fed_bytes = 0
        self._tail = b""
        self._skip_bytes = 0

    def feed(self, data: Buffer) -> None:
        """Take the next bytes, any number of them. No view of them is kept."""
        if self._walk is None:
            return
        at, tail, size = self._skip_bytes, self._tail, len(data)
        if tail:
            bridge = tail + bytes(data[:MAX_NEED_BYTES])
            at = self._walk_over(bridge, 0, self._fed_bytes - len(tail))
            if self._walk is not None and at < len(tail):  # all of `data` was too little
                self._tail = bridge[at:]
                self._fed_bytes += size
                return
            at -= len(tail)
        at = self._walk_over(data, at, self._fed_bytes)
        self._fed_bytes += size
        self._tail = bytes(data[at:]) if self._walk is not None and at < size else b""
        self._skip_bytes = max(0, at - size)

    def info(self, budgets: ImageBudgets = _DEFAULT_BUDGETS) -> ImageInfo | None:
        """Describe the image as if the bytes so far were all; None when they are none of the four."""
        scan = self._scan
        media_type = scan.media_type or sniff(self._tail)
        if media_type not in IMAGE_TYPES:
            return None
        has_pixels = bool(scan.width and scan.height)
        return ImageInfo(
            media_type=media_type,
            width=scan.width if has_pixels else None,
            height=scan.height if has_pixels else None,
            frames=scan.frames,
            metadata_bytes=scan.metadata_bytes,
            fault=self._over_budget(budgets)
            or self._fault
            or (ImageFault.TRUNCATED if self._walk else None),
        )

    def _walk_over(self, data: Buffer, at: int, base: int) -> int:
        """Walk as far as the data goes; return where in it the walk would go on."""
        scan = self._scan
        scan.data, scan.at, scan.end, scan.base = data, at, len(data), base
        try:
            while self._walk is not None and scan.at + self._need <= scan.end:
                self._need = next(self._walk)
        except StopIteration as stop:
            self._walk, self._fault = None, stop.value
        scan.data = b""
        return scan.at

    def _over_budget(self, budgets: ImageBudgets) -> ImageFault | None:
        scan = self._scan
        if scan.width is None or scan.height is None:
            return None
        if not scan.width or not scan.height:
            return ImageFault.NO_PIXELS
        width, height = max(scan.width, scan.reach_width), max(scan.height, scan.reach_height)
        frames = max(scan.frames or 1, scan.frames_seen)
        if max(width, height) > budgets.max_side_pixels:
            return ImageFault.SIDE_TOO_LONG
        if width * height > budgets.max_pixels:
            return ImageFault.TOO_MANY_PIXELS
        if frames > budgets.max_frames:
            return ImageFault.TOO_MANY_FRAMES
        if frames > 1 and width * height * frames > budgets.max_animation_pixels:
            return ImageFault.ANIMATION_TOO_LARGE
        if scan.metadata_bytes > budgets.max_metadata_bytes:
            return ImageFault.TOO_MUCH_METADATA
        return None


def parse_image(data: Buffer, budgets: ImageBudgets = _DEFAULT_BUDGETS) -> ImageInfo | None:
    """Describe the image that these bytes are, or begin; None when they are none of the four."""
    parser = ImageParser()
    parser.feed(data)
    return parser.info(budgets)


def _walk(scan: Scan) -> Walk:
    """Find out what it is, then walk it."""
    while scan.at + _SIGNATURE_BYTES > scan.end:
        yield _SIGNATURE_BYTES
    media_type = sniff(bytes(scan.data[:_SIGNATURE_BYTES]))
    if media_type not in IMAGE_TYPES:
        return None
    scan.media_type = media_type
    return (yield from _WALKS[media_type](scan))
