"""What is made of an image, and what is refused before Pillow sees it."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from coatcheck.protocol import ImageBudgets
from coatcheck.store import Glance, ImageRefusal, VariantSpec
from coatcheck.store.images.child import reply, serve, warm_up
from coatcheck.store.images.decode import glance, variant
from coatcheck.store.images.wire import (
    ANSWER,
    LENGTH,
    Answer,
    Question,
    Ready,
    Refused,
    VariantHead,
    WorkerLimits,
    write_message,
)

from ...image_files import (
    BAD,
    OPAQUE,
    SOUND,
    BadImage,
    Make,
    SoundImage,
    drawn,
    exif,
    saved,
    segment,
    with_segments,
)

BUDGETS = ImageBudgets()
LIMITS = WorkerLimits(parent_pid=1, memory_bytes=1, cpu_seconds=1, budgets=BUDGETS)


def made(data: bytes, width: int = 30, height: int = 30, **spec: object) -> Image.Image:
    """Make a variant and open it."""
    wanted = VariantSpec(max_width=width, max_height=height, **spec)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    head, file = variant(data, BUDGETS, wanted)
    image = Image.open(io.BytesIO(file))
    image.load()
    assert image.size == (head.width, head.height)
    assert head.size_bytes == len(file)
    assert image.get_format_mimetype() == wanted.media_type
    return image


@pytest.mark.parametrize("image", SOUND, ids=lambda image: image.name)
def test_a_glance_says_what_the_header_says(image: SoundImage) -> None:
    seen = glance(image.make(), BUDGETS)
    assert (seen.media_type, seen.width, seen.height, seen.frames) == (
        image.media_type,
        image.width,
        image.height,
        image.frames,
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_the_mean_colour_is_of_all_pixels(kind: str) -> None:
    white = saved(Image.new("RGB", (50, 40), "white"), kind)
    assert glance(white, BUDGETS).mean_colour == "#ffffff"


def test_sixteen_bits_are_not_cut_off() -> None:
    grey = saved(Image.new("I;16", (4, 4), 0x8000), "PNG")
    assert glance(grey, BUDGETS).mean_colour == "#808080"
    assert made(grey, media_type="image/png").getpixel((1, 1)) == (128, 128, 128)


def test_sixteen_bits_with_a_transparent_colour_are_not_cut_off_either() -> None:
    grey = saved(Image.new("I;16", (4, 4), 0x8000), "PNG", transparency=1)
    assert made(grey, media_type="image/png").getpixel((1, 1)) == (128, 128, 128)


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp"])
@pytest.mark.parametrize("image", SOUND, ids=lambda image: image.name)
def test_variants_are_made_of_every_format(image: SoundImage, media_type: str) -> None:
    small = made(image.make(), media_type=media_type)
    assert max(small.size) == 30
    assert getattr(small, "n_frames", 1) == 1


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((30, 30), (30, 20)),
        ((60, 10), (15, 10)),
        ((60, 40), (60, 40)),
        ((600, 400), (60, 40)),
        ((1, 1), (1, 1)),
        ((1, 400), (1, 1)),
    ],
)
def test_a_variant_fits_the_box_and_is_never_larger_than_the_image(
    box: tuple[int, int], size: tuple[int, int]
) -> None:
    assert made(saved(drawn(), "PNG"), *box).size == size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_variant_is_upright(orientation: int) -> None:
    data = saved(drawn(), "PNG", exif=exif(orientation))
    with Image.open(io.BytesIO(data)) as image:
        turned = image.copy()
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}  # Image.Transpose
    if orientation in turns:
        turned = turned.transpose(Image.Transpose(turns[orientation]))
    small = made(data, 400, 400, media_type="image/png")
    assert small.size == ((40, 60) if orientation > 4 else (60, 40))
    assert small.tobytes() == turned.tobytes()


def _with_everything(kind: str) -> bytes:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    if kind == "JPEG":
        data = saved(drawn(), kind, exif=exif(1), icc_profile=profile, comment=b"secret")
        return with_segments(data, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0secret"))
    return saved(drawn(), kind, exif=exif(1), icc_profile=profile)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp"])
def test_a_variant_has_no_metadata(kind: str, media_type: str) -> None:
    small = made(_with_everything(kind), media_type=media_type)
    harmless = {"jfif", "jfif_version", "jfif_unit", "jfif_density", "loop", "background"}
    assert not set(small.info) - harmless - {"duration", "timestamp"}
    assert not small.getexif()


def test_a_profile_that_is_none_is_passed_over() -> None:
    data = saved(drawn(), "PNG", icc_profile=b"no profile")
    assert made(data).tobytes() == made(saved(drawn(), "PNG")).tobytes()


def test_what_is_transparent_is_white_in_a_jpeg() -> None:
    clear = saved(Image.new("RGBA", (8, 8), (0, 0, 0, 0)), "PNG")
    assert made(clear, media_type="image/jpeg").getpixel((3, 3)) == (255, 255, 255)
    assert made(clear, media_type="image/png").getpixel((3, 3)) == (0, 0, 0, 0)


@pytest.mark.parametrize("media_type", ["image/jpeg", "image/png", "image/webp"])
def test_the_same_image_makes_the_same_variant(media_type: str) -> None:
    data = saved(drawn(300, 200), "JPEG")
    first, again = (made(data, media_type=media_type).tobytes() for _ in range(2))
    assert first == again


@pytest.mark.parametrize("image", BAD, ids=lambda image: image.name)
@pytest.mark.parametrize("spec", [None, VariantSpec(max_width=9, max_height=9)])
def test_bad_images_are_refused(image: BadImage, spec: VariantSpec | None) -> None:
    data = image.make()
    answer, rest = reply(Question(size_bytes=len(data), spec=spec), data, LIMITS)
    assert isinstance(answer, Refused)
    assert answer.refusal in {ImageRefusal.BROKEN, ImageRefusal.TOO_LARGE}
    assert not rest


@pytest.mark.parametrize(("name", "data"), OPAQUE, ids=[name for name, _ in OPAQUE])
def test_other_formats_are_never_decoded(name: str, data: bytes) -> None:
    answer, _ = reply(Question(size_bytes=len(data)), data, LIMITS)
    assert isinstance(answer, Refused)
    assert answer.refusal is ImageRefusal.NO_IMAGE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
def test_an_image_that_is_cut_anywhere_is_refused(kind: str) -> None:
    noise = Image.effect_noise((60, 60), 80).convert("RGB")
    whole = saved(noise, kind)
    for length in range(0, len(whole) - 1, max(1, len(whole) // 60)):
        answer, _ = reply(Question(size_bytes=length), whole[:length], LIMITS)
        assert isinstance(answer, Refused)


@given(
    st.sampled_from([image.make for image in SOUND]),
    st.lists(st.tuples(st.integers(0, 1_500), st.binary(min_size=1, max_size=4)), max_size=6),
    st.sampled_from([None, VariantSpec(max_width=9, max_height=9)]),
)
def test_a_damaged_image_is_decoded_or_refused(
    make: Make, damage: list[tuple[int, bytes]], spec: VariantSpec | None
) -> None:
    data = bytearray(make())
    for at, patch in damage:
        data[at : at + len(patch)] = patch
    answer, rest = reply(Question(size_bytes=len(data), spec=spec), bytes(data), LIMITS)
    assert isinstance(answer, Glance | VariantHead | Refused)
    assert len(rest) == (answer.size_bytes if isinstance(answer, VariantHead) else 0)


def _answers(data: bytes) -> list[tuple[Answer, bytes]]:
    found: list[tuple[Answer, bytes]] = []
    stream = io.BytesIO(data)
    while head := stream.read(LENGTH.size):
        answer = ANSWER.validate_json(stream.read(*LENGTH.unpack(head)))
        size = answer.size_bytes if isinstance(answer, VariantHead) else 0
        found.append((answer, stream.read(size)))
    return found


def test_a_worker_answers_until_its_input_ends() -> None:
    begun: list[None] = []
    data = saved(drawn(), "PNG")
    spec = VariantSpec(max_width=9, max_height=9)
    questions = [Question(size_bytes=len(data)), Question(size_bytes=len(data), spec=spec)]
    asked = b"".join(write_message(question) + data for question in [*questions, questions[0]])
    output = io.BytesIO()
    warm_up(LIMITS)
    # The last image is cut short.
    serve(io.BytesIO(asked[:-1]), output, LIMITS, lambda: begun.append(None))
    (ready, _), (seen, _), (head, file) = _answers(output.getvalue())
    assert isinstance(ready, Ready)
    assert isinstance(seen, Glance)
    assert (head, file) == variant(data, BUDGETS, spec)
    assert len(begun) == 2
