"""Decodes one image with Pillow. Runs in a worker, never in the server.

The header's claims are checked before Pillow sees anything, and it may only use the decoder of the
format that the content shows.
"""

import io
from collections.abc import Generator
from contextlib import contextmanager, suppress

from PIL import Image, ImageCms, ImageStat

from coatcheck.protocol import ImageBudgets, ImageFault, ImageInfo, parse_image

from ..errors import ImageRefusal, ImageRefusedError
from .wire import Glance, VariantHead, VariantSpec

_FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/gif": "GIF",
    "image/webp": "WEBP",
}
_BROKEN = frozenset({ImageFault.MALFORMED, ImageFault.TRUNCATED, ImageFault.NO_PIXELS})
_MEAN_BOX = (64, 64)  # a JPEG is decoded at an eighth of its size, enough for a mean
_ORIENTATION = 0x0112
_TURNS = {  # EXIF 2.32, Orientation: what makes it upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def glance(data: bytes, budgets: ImageBudgets) -> Glance:
    """Say what an image shows.

    Raises:
        ImageRefusedError: it is none of the four formats, or its header says too much.
        Exception: whatever Pillow raises on an image that does not decode.
    """
    with _opened(data, budgets) as (info, image):
        width, height = image.size
        image.draft("RGB", _MEAN_BOX)
        mean = ImageStat.Stat(_in_eight_bits(image).convert("RGB")).mean
        return Glance(
            media_type=info.media_type,
            width=width,
            height=height,
            frames=info.frames or 1,
            mean_colour="#" + bytes(round(band) for band in mean).hex(),
        )


def variant(data: bytes, budgets: ImageBudgets, spec: VariantSpec) -> tuple[VariantHead, bytes]:
    """Make a variant of an image's first frame; the same Pillow makes the same bytes.

    Raises:
        as `glance`.
    """
    with _opened(data, budgets) as (_, image):
        orientation = image.getexif().get(_ORIENTATION, 1)
        box = (spec.max_width, spec.max_height)
        size = _fit(image.size, box[::-1] if orientation in (5, 6, 7, 8) else box)
        image.draft(None, (2 * size[0], 2 * size[1]))
        made = _with_channels(image).resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
        profile = image.info.get("icc_profile")
    if orientation in _TURNS:
        made = made.transpose(_TURNS[orientation])
    made = _in_srgb(made, profile)
    if spec.media_type == "image/jpeg" and made.mode == "RGBA":
        made = Image.alpha_composite(Image.new("RGBA", made.size, "white"), made).convert("RGB")
    file = _encoded(made, spec)
    head = VariantHead(
        media_type=spec.media_type, width=made.width, height=made.height, size_bytes=len(file)
    )
    return head, file


@contextmanager
def _opened(data: bytes, budgets: ImageBudgets) -> Generator[tuple[ImageInfo, Image.Image]]:
    info = parse_image(data, budgets)
    if info is None:
        raise ImageRefusedError(ImageRefusal.NO_IMAGE, "the image is no PNG, JPEG, GIF or WebP")
    if info.fault is not None:
        refusal = ImageRefusal.BROKEN if info.fault in _BROKEN else ImageRefusal.TOO_LARGE
        raise ImageRefusedError(refusal, budgets.explain(info.fault))
    with Image.open(io.BytesIO(data), formats=[_FORMATS[info.media_type]]) as image:
        if image.width * image.height > budgets.max_pixels:  # whatever the header said
            over = budgets.explain(ImageFault.TOO_MANY_PIXELS)
            raise ImageRefusedError(ImageRefusal.TOO_LARGE, over)
        yield info, image


def _fit(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size of the same shape that the box holds, at most the size itself."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 bits of grey down; Pillow's own conversion cuts them off at 255."""
    if image.mode.startswith("I"):
        return image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    return image


def _with_channels(image: Image.Image) -> Image.Image:
    """Return it in a mode that can be scaled: RGB, RGBA or CMYK.

    A transparent colour of 16 bits is passed over: Pillow knows none in colours of eight.
    """
    if image.has_transparency_data and not image.mode.startswith("I"):
        return image.convert("RGBA")
    return image if image.mode == "CMYK" else _in_eight_bits(image).convert("RGB")


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Return RGB or RGBA. A profile that cannot be used is passed over, as browsers do."""
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha else image
    if profile:
        target = ImageCms.createProfile("sRGB")
        with suppress(ImageCms.PyCMSError):
            made = ImageCms.profileToProfile(colours, io.BytesIO(profile), target, outputMode="RGB")
            colours = made or colours
    colours = colours.convert("RGB")
    if alpha:
        colours.putalpha(alpha)
    return colours


def _encoded(image: Image.Image, spec: VariantSpec) -> bytes:
    image.info = {}  # encoders write what they find here
    file = io.BytesIO()
    match spec.media_type:
        case "image/jpeg":
            image.save(file, "JPEG", quality=spec.quality)
        case "image/png":
            image.save(file, "PNG")
        case "image/webp":
            image.save(file, "WEBP", quality=spec.quality)
    return file.getvalue()
