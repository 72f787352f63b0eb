"""What a picture shows at a glance: its format, its size and its mean colour.

For `echo`, which proves with it that the very bytes arrived. The header's size is checked before
Pillow decodes anything, and Pillow may only use the four decoders named here.
"""

import io
from dataclasses import dataclass

from PIL import Image, ImageStat, UnidentifiedImageError

from coatcheck.protocol import SNIFF_BYTES, parse_image, sniff

from .errors import RequestRefusedError

FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
MAX_PIXELS = 40_000_000  # 120 MB once decoded; most phones' pictures have 12 or 24 million
_DRAFT = (64, 64)  # a JPEG is decoded at an eighth of its size, enough for a mean


@dataclass(frozen=True, slots=True)
class Glance:
    """A picture's format, its pixels, and its mean colour as `#rrggbb`."""

    format: str
    width: int
    height: int
    mean_colour: str

    def __str__(self) -> str:
        return f"{self.format} {self.width}x{self.height}, mean colour {self.mean_colour}"


def glance(data: bytes) -> Glance:
    """Decode a PNG, JPEG, GIF or WebP; blocking, so call it in a thread.

    Raises:
        RequestRefusedError: it is none of these, does not decode, or has too many pixels.
    """
    media_type = sniff(data[:SNIFF_BYTES])
    if media_type not in FORMATS:
        raise _refused("the image is no PNG, JPEG, GIF or WebP", "invalid_image_format")
    size = parse_image(data)
    if size and (size.width or 0) * (size.height or 0) > MAX_PIXELS:
        raise _refused(f"the image has over {MAX_PIXELS} pixels", "image_too_large")
    try:
        with Image.open(io.BytesIO(data), formats=[FORMATS[media_type]]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise _refused(f"the image has over {MAX_PIXELS} pixels", "image_too_large")
            image.draft("RGB", _DRAFT)
            mean = ImageStat.Stat(image.convert("RGB")).mean
            colour = "#" + bytes(round(band) for band in mean).hex()
            return Glance(image.format or "?", width, height, colour)
    except (
        UnidentifiedImageError,
        Image.DecompressionBombError,
        Image.DecompressionBombWarning,
        OSError,
        ValueError,
        SyntaxError,  # Pillow's word for a broken PNG
    ) as error:
        raise _refused("the image does not decode", "invalid_image") from error


def _refused(message: str, code: str) -> RequestRefusedError:
    return RequestRefusedError(message, code)
