from io import BytesIO

import pytest
from PIL import Image

from coatcheck.cli.photograph import photograph


@pytest.mark.parametrize("size", [40_000, 150_000])
def test_a_photograph_is_a_jpeg_of_about_the_size_asked_for(size: int) -> None:
    picture = photograph(1, size)
    assert abs(len(picture) - size) < size * 0.05
    with Image.open(BytesIO(picture), formats=["JPEG"]) as image:
        image.load()
        assert image.width > image.height > 48


def test_a_seed_gives_the_same_photograph_and_another_seed_another_one() -> None:
    assert photograph(1, 20_000) == photograph(1, 20_000)
    assert photograph(1, 20_000) != photograph(2, 20_000)
