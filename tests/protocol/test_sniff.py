"""Types and sizes come from content."""

import io
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coatcheck.protocol import SNIFF_BYTES, ImageSize, image_size, sniff


def picture(kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (37, 21), "red").save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (picture("PNG"), "image/png"),
        (picture("GIF"), "image/gif"),
        (picture("JPEG"), "image/jpeg"),
        (picture("JPEG", progressive=True, comment=b"x" * 30_000), "image/jpeg"),
        (picture("WEBP"), "image/webp"),
        (picture("WEBP", lossless=True), "image/webp"),
        (picture("WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"), "image/webp"),
    ],
)
def test_pictures_are_recognised_and_measured(data: bytes, media_type: str) -> None:
    assert sniff(data) == media_type
    assert image_size(data[:SNIFF_BYTES]) == ImageSize(37, 21)


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", None),
        (b"plain text", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"<html>", None),
        (b"BMx is a car maker", None),
        (picture("BMP"), "image/bmp"),
        (b"%PDF-1.7", "application/pdf"),
        (b"RIFF\0\0\0\0WAVE", "audio/wav"),
        (b"RIFF\0\0\0\0XXXX", None),
        (b"\0\0\0\x1cftypavif", "image/avif"),
        (b"\0\0\0\x1cftypisom", "video/mp4"),
    ],
)
def test_other_types(data: bytes, media_type: str | None) -> None:
    assert sniff(data) == media_type


def test_a_header_without_pixels_has_no_size() -> None:
    data = bytearray(picture("PNG"))
    data[16:20] = b"\0\0\0\0"
    assert image_size(bytes(data)) is None


def test_fill_bytes_are_skipped_in_linear_time() -> None:
    def seconds(count: int) -> float:
        data = b"\xff\xd8" + b"\xff\xff\x01" * count
        times: list[float] = []
        for _ in range(3):
            start = time.perf_counter()
            image_size(data)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(21_000) < 10 * 4 * seconds(2_100)  # linear is 10, quadratic 100


def test_picture_data_is_not_searched_for_headers() -> None:
    frame = b"\xff\xc0\x00\x11\x08\x00\x15\x00\x25"
    assert image_size(b"\xff\xd8" + frame + b"rest") == ImageSize(37, 21)
    assert image_size(b"\xff\xd8\xff\xda\x00\x02" + frame + b"rest") is None
    assert image_size(b"\xff\xd8\xff\xd9" + frame + b"rest") is None


@given(st.sampled_from(["PNG", "GIF", "JPEG", "WEBP"]), st.integers(0, 2**32), st.integers(0, 700))
def test_broken_headers_never_raise(kind: str, seed: int, length: int) -> None:
    data = bytearray(picture(kind)[:length])
    dice = random.Random(seed)
    for _ in range(min(5, len(data))):
        data[dice.randrange(len(data))] = dice.randrange(256)
    image_size(bytes(data))
