"""A glance decodes four formats in a worker, within bounds, and says no in the daemon's words."""

import io
from collections.abc import AsyncIterator, Callable

import pytest
from PIL import Image

from coatcheck.daemon.errors import DecoderUnavailableError, RequestRefusedError
from coatcheck.daemon.picture import glance
from coatcheck.store import ImageWorkerConfig, ImageWorkers

from ..image_files import png, slow_jpeg

Picture = Callable[..., bytes]


@pytest.fixture
async def workers() -> AsyncIterator[ImageWorkers]:
    made = ImageWorkers(ImageWorkerConfig(workers=1))
    yield made
    await made.close()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP"])
async def test_four_formats_are_decoded(workers: ImageWorkers, picture: Picture, kind: str) -> None:
    seen = await glance(workers, picture("white", kind, (50, 40)))
    assert seen == f"{kind} 50x40, mean colour #ffffff"


async def _code(workers: ImageWorkers, data: bytes) -> str:
    with pytest.raises(RequestRefusedError) as caught:
        await glance(workers, data)
    return caught.value.problem.code


async def test_what_is_refused_has_a_code(workers: ImageWorkers, picture: Picture) -> None:
    for kind in ("BMP", "TIFF", "PPM"):
        assert await _code(workers, picture("white", kind)) == "invalid_image_format"
    assert await _code(workers, png(10_000, 10_000, data=b"")) == "image_too_large"
    for kind in ("PNG", "JPEG", "GIF", "WEBP"):
        file = io.BytesIO()
        Image.effect_noise((60, 60), 80).convert("RGB").save(file, kind)
        whole = file.getvalue()
        for length in (len(whole) // 2, 40, 20):
            assert await _code(workers, whole[:length]) == "invalid_image"


async def test_a_worker_that_is_too_slow_can_be_asked_again() -> None:
    workers = ImageWorkers(ImageWorkerConfig(timeout_seconds=1.0))
    try:
        with pytest.raises(DecoderUnavailableError) as caught:
            await glance(workers, slow_jpeg())
    finally:
        await workers.close()
    assert (caught.value.problem.status, caught.value.problem.retryable) == (503, True)


async def test_a_picture_that_breaks_its_worker_is_to_blame() -> None:
    workers = ImageWorkers(ImageWorkerConfig(cpu_seconds=1))
    try:
        assert await _code(workers, slow_jpeg()) == "invalid_image"
    finally:
        await workers.close()
