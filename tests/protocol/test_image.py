"""What a header says is read while the bytes stream past, whatever the bytes are."""

import io
from functools import partial
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from coatcheck.protocol import ImageBudgets, ImageFault, ImageInfo, ImageParser, parse_image

from ..image_files import (
    BAD,
    OPAQUE,
    SOUND,
    BadImage,
    Make,
    SoundImage,
    animation,
    chunk,
    drawn,
    gif,
    png,
    saved,
    segment,
    with_segments,
)

EVERY: list[Make] = [
    *(image.make for image in SOUND),
    *(image.make for image in BAD),
    *(partial(bytes, data) for _, data in OPAQUE),
]
SMALL = [data for make in EVERY if len(data := make()) < 2_000]


def fed(pieces: list[bytes]) -> ImageInfo | None:
    parser = ImageParser()
    for piece in pieces:
        parser.feed(piece)
    return parser.info()


@pytest.mark.parametrize("image", SOUND, ids=lambda image: image.name)
def test_a_sound_image_is_described(image: SoundImage) -> None:
    info = parse_image(image.make())
    assert info is not None
    assert info.fault is None
    assert (info.media_type, info.width, info.height, info.frames) == (
        image.media_type,
        image.width,
        image.height,
        image.frames,
    )


@pytest.mark.parametrize("image", SOUND, ids=lambda image: image.name)
def test_pillow_agrees(image: SoundImage) -> None:
    with Image.open(io.BytesIO(image.make())) as opened:
        assert opened.size == (image.width, image.height)
        assert getattr(opened, "n_frames", 1) == image.frames


@pytest.mark.parametrize("image", BAD, ids=lambda image: image.name)
def test_a_bad_image_is_named_by_its_fault(image: BadImage) -> None:
    info = parse_image(image.make())
    assert info is not None
    assert info.fault == image.fault


@pytest.mark.parametrize(("name", "data"), OPAQUE, ids=[name for name, _ in OPAQUE])
def test_all_else_is_opaque(name: str, data: bytes) -> None:
    assert parse_image(data) is None


@pytest.mark.parametrize("data", SMALL)
def test_a_split_at_any_offset_changes_nothing(data: bytes) -> None:
    whole = parse_image(data)
    for at in range(len(data) + 1):
        assert fed([data[:at], data[at:]]) == whole
    assert fed([bytes([byte]) for byte in data]) == whole


@given(st.integers(0, len(EVERY) - 1), st.lists(st.integers(0, 70_000), max_size=30))
def test_pieces_of_any_length_change_nothing(index: int, cuts: list[int]) -> None:
    data = EVERY[index]()
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    assert fed([data[start:end] for start, end in pairwise(edges)]) == parse_image(data)


@given(
    st.sampled_from(SMALL),
    st.lists(st.tuples(st.integers(0, 2_000), st.binary(min_size=1, max_size=4)), max_size=8),
    st.integers(0, 2_000),
    st.integers(1, 40),
)
def test_damage_never_raises_and_never_depends_on_the_cut(
    data: bytes, damage: list[tuple[int, bytes]], length: int, piece_bytes: int
) -> None:
    damaged = bytearray(data)
    for at, patch in damage:
        damaged[at : at + len(patch)] = patch
    damaged = damaged[: length or None]
    whole = parse_image(bytes(damaged))
    pieces = [bytes(damaged[at : at + piece_bytes]) for at in range(0, len(damaged), piece_bytes)]
    assert fed(pieces) == whole
    if whole is not None:
        assert (whole.width is None) == (whole.height is None)
        assert whole.width != 0 and whole.frames != 0  # noqa: PT018


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_what_follows_the_end_is_not_read(kind: str) -> None:
    data = saved(drawn(), kind)
    assert parse_image(data + Random(2).randbytes(100_000)) == parse_image(data)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_an_image_that_lacks_its_last_byte_is_truncated(kind: str) -> None:
    info = parse_image(saved(drawn(), kind)[:-1])
    assert info is not None
    assert (info.width, info.height, info.fault) == (60, 40, ImageFault.TRUNCATED)


def test_a_description_can_be_asked_for_at_any_time() -> None:
    data = animation("GIF")
    parser = ImageParser()
    assert parser.info() is None
    parser.feed(data[:30])
    early = parser.info()
    assert early is not None
    assert (early.width, early.frames, early.fault) == (60, None, ImageFault.TRUNCATED)
    parser.feed(data[30:])
    assert parser.info() == parse_image(data)


@pytest.mark.parametrize("length", [1, 7, 254, 255])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 5_000])
def test_sub_blocks_of_any_length_are_stepped_over(length: int, count: int) -> None:
    block = bytes([length]) + b"\x2c" * length
    whole = gif(60, 40, [(60, 40)] * 2)
    data = whole[:-1].replace(b"\x02\x44\x01\x00", block * count + b"\x03abc\x00", 1) + b";"
    info = parse_image(data)
    assert info is not None
    assert (info.frames, info.fault) == (2, None)
    assert fed([data[at : at + 1_000] for at in range(0, len(data), 1_000)]) == info


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (png(60, 40, chunk(b"tEXt", b"a\0b" * 10), chunk(b"eXIf", bytes(50))), 80),
        (with_segments(saved(drawn(), "JPEG"), segment(0xFE, bytes(98))), 116),  # JFIF: 16
        (saved(drawn(), "GIF", comment=b"x" * 20), 22),
        (saved(drawn(), "WEBP", xmp=b"x" * 20), 20),
    ],
)
def test_metadata_is_counted(data: bytes, count: int) -> None:
    info = parse_image(data)
    assert info is not None
    assert info.metadata_bytes == count
    just = parse_image(data, ImageBudgets(max_metadata_bytes=count))
    over = parse_image(data, ImageBudgets(max_metadata_bytes=count - 1))
    assert just is not None and just.fault is None  # noqa: PT018
    assert over is not None and over.fault is ImageFault.TOO_MUCH_METADATA  # noqa: PT018


def test_picture_data_is_not_searched_for_headers() -> None:
    frame = segment(0xC0, b"\x08\x00\x15\x00\x25\x03" + bytes(9))
    scan = b"\xff\xda\x00\x02"
    seen = parse_image(b"\xff\xd8" + frame + scan + b"rest")
    assert seen == ImageInfo("image/jpeg", 37, 21, 1, 0, None)
    for before in (scan, b"\xff\xd9\xff\xd9"):
        hidden = parse_image(b"\xff\xd8" + before + frame + scan)
        assert hidden == ImageInfo("image/jpeg", None, None, None, 0, ImageFault.MALFORMED)


def test_every_fault_is_explained() -> None:
    budgets = ImageBudgets()
    assert len({budgets.explain(fault) for fault in ImageFault}) == len(ImageFault)


@pytest.mark.parametrize(
    "name", ["max_side_pixels", "max_pixels", "max_frames", "max_animation_pixels"]
)
def test_a_budget_is_positive(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        ImageBudgets(**{name: 0})
