"""A glance decodes four formats, within bounds, and nothing else."""

import io
from collections.abc import Callable

import pytest
from PIL import Image

from coatcheck.daemon.errors import RequestRefusedError
from coatcheck.daemon.picture import MAX_PIXELS, glance

Picture = Callable[..., bytes]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_four_formats_are_decoded(picture: Picture, kind: str) -> None:
    seen = glance(picture("white", kind, (50, 40)))
    assert (seen.format, seen.width, seen.height) == (kind, 50, 40)
    assert seen.mean_colour == "#ffffff"


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "PPM"])
def test_other_formats_are_refused(picture: Picture, kind: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        glance(picture("white", kind))
    assert caught.value.problem.code == "invalid_image_format"


def test_a_bomb_is_refused_before_it_is_decoded(picture: Picture) -> None:
    data = bytearray(picture())
    side = int(MAX_PIXELS**0.5) + 1
    data[16:24] = side.to_bytes(4) * 2
    with pytest.raises(RequestRefusedError) as caught:
        glance(bytes(data))
    assert caught.value.problem.code == "image_too_large"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_broken_pictures_are_refused(kind: str) -> None:
    file = io.BytesIO()
    Image.effect_noise((60, 60), 80).convert("RGB").save(file, kind)
    whole = file.getvalue()
    for length in (len(whole) // 2, 40, 20):
        with pytest.raises(RequestRefusedError):
            glance(whole[:length])
