"""Pillow images as bytes: the pixels they hold, losslessly where that is not absurd."""

import io

from PIL import Image

from .errors import InvalidArgumentError

_PNG_MODES = frozenset({"1", "L", "LA", "I;16", "P", "RGB", "RGBA"})


def encode_picture(image: Image.Image) -> io.BytesIO:
    """Return a file with the image: JPEG for one that was opened from a JPEG, else PNG.

    The JPEG is written with the tables it was read with, so it stays about its size and loses
    next to nothing (the many-picture files of phones: at quality 95); whoever needs the exact
    file puts the path. EXIF data, orientation included,
    does not come along: what is sent is the pixels as the object holds them. Of an animation it
    is the current frame. Modes that PNG lacks are sent as RGB.

    Raises:
        InvalidArgumentError: Pillow cannot read or write the image.
    """
    file = io.BytesIO()
    try:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            image.save(file, "JPEG", quality="keep", subsampling="keep")
        elif image.format == "MPO" and image.mode in ("L", "RGB"):
            image.save(file, "JPEG", quality=95)
        elif image.mode in _PNG_MODES:
            image.save(file, "PNG")
        else:
            image.convert("RGB").save(file, "PNG")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidArgumentError(f"the image cannot be encoded: {error}") from error
    file.seek(0)
    return file
