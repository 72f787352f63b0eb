"""Images are described as they are received, and kept as sent whatever they are."""

from collections.abc import Awaitable, Callable

import pytest

from coatcheck.store import Receipt, Store

from ..image_files import BAD, OPAQUE, SOUND, BadImage, SoundImage

Put = Callable[..., Awaitable[Receipt]]


async def _read_back(store: Store, receipt: Receipt) -> bytes:
    async with await store.open_blob("a", receipt.grant.digest) as reader:
        return b"".join([bytes(chunk) async for chunk in reader.chunks()])


@pytest.mark.parametrize("image", SOUND, ids=lambda image: image.name)
async def test_a_sound_image_is_described(store: Store, put: Put, image: SoundImage) -> None:
    data = image.make() + bytes(200_000)  # more than is received in one go, after its end
    grant = (await put(store, "a", data)).grant
    assert (grant.sniffed_type, grant.width, grant.height, grant.frames) == (
        image.media_type,
        image.width,
        image.height,
        image.frames,
    )


@pytest.mark.parametrize("image", BAD, ids=lambda image: image.name)
async def test_a_bad_image_is_kept_as_sent(store: Store, put: Put, image: BadImage) -> None:
    data = image.make()
    assert await _read_back(store, await put(store, "a", data)) == data


@pytest.mark.parametrize("data", [data for _, data in OPAQUE if data])
async def test_what_is_no_image_is_kept_as_sent(store: Store, put: Put, data: bytes) -> None:
    receipt = await put(store, "a", data)
    assert (receipt.grant.width, receipt.grant.frames) == (None, None)
    assert await _read_back(store, receipt) == data
