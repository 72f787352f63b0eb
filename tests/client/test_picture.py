"""Pillow images as bytes."""

import io
from pathlib import Path

import pytest
from PIL import Image

from coatcheck.client import InvalidArgumentError
from coatcheck.client.picture import encode_picture
from coatcheck.protocol import sniff


def _gradient() -> Image.Image:
    return Image.linear_gradient("L").convert("RGB")


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_a_mode_that_png_has_comes_back_pixel_for_pixel(mode: str) -> None:
    image = _gradient().convert(mode)
    again = Image.open(encode_picture(image))
    assert (again.format, again.mode) == ("PNG", mode)
    assert again.tobytes() == image.tobytes()


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "HSV", "LAB"])
def test_a_mode_that_png_lacks_is_sent_as_rgb(mode: str) -> None:
    again = Image.open(encode_picture(Image.new(mode, (8, 8))))
    assert (again.format, again.mode, again.size) == ("PNG", "RGB", (8, 8))


def test_an_opened_jpeg_stays_a_jpeg_of_its_size() -> None:
    file = io.BytesIO()
    _gradient().save(file, "JPEG", quality=80)
    size = len(file.getvalue())
    again = encode_picture(Image.open(file))
    assert sniff(again.getvalue()) == "image/jpeg"
    assert abs(len(again.getvalue()) - size) < size / 10


def test_what_was_drawn_into_an_opened_jpeg_is_sent() -> None:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "white").save(file, "JPEG")
    image = Image.open(file)
    image.paste((0, 0, 0), (0, 0, 32, 64))
    again = Image.open(encode_picture(image)).convert("L")
    left, right = again.getpixel((4, 4)), again.getpixel((60, 4))
    assert isinstance(left, int)
    assert isinstance(right, int)
    assert left < 60
    assert right > 200


def test_the_same_image_has_the_same_bytes() -> None:
    assert encode_picture(_gradient()).getvalue() == encode_picture(_gradient()).getvalue()


def test_an_image_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(encode_picture(_gradient()).getvalue()[:120])
    with Image.open(path) as image, pytest.raises(InvalidArgumentError, match="encoded"):
        encode_picture(image)
