"""An upstream's image policy in whole turns: what the upstream gets, and what the client is told."""

import asyncio
import base64
import io
import os
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image

from coatcheck.daemon import ImagePolicy, NoMeters
from coatcheck.protocol import (
    DIALECTS,
    Digest,
    FoundInline,
    Json,
    JsonObject,
    encode_json,
    framed,
    messages_in,
    with_framed,
)

from ...image_files import animation, drawn, exif, saved
from ..conftest import daemons, upstreams
from ..dialect_samples import SAMPLES, Sample

pytestmark = pytest.mark.asyncio(loop_scope="module")
FILE_ID = "file-cc" + "b" * 24
SCALE = "Coatcheck-Image-Scale"


@dataclass
class Counted(NoMeters):
    """Counts variants by their outcome."""

    outcomes: Counter[str] = field(default_factory=Counter[str])

    def variant(self, outcome: str, seconds: float = 0.0) -> None:
        self.outcomes[outcome] += 1


def noise(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """Return a picture that no format makes small."""
    data = os.urandom(width * height * len(mode))
    return Image.frombytes(mode, (width, height), data)


def photo(width: int = 900, height: int = 600, **options: object) -> bytes:
    return saved(drawn(width, height), "JPEG", quality=95, **options)


def sent_images(upstream: Any, dialect: str, at: int = -1) -> list[tuple[str | None, bytes]]:
    """Return the images that an upstream was sent: their declared types, and their bytes."""
    spoken = DIALECTS[dialect]
    slots = spoken.walk(messages_in(spoken, upstream.seen[at].json))
    found = [slot.found for slot in slots]
    assert all(isinstance(each, FoundInline) for each in found)
    return [(each.media_type, each.decode()) for each in found]  # type: ignore[union-attr,misc]  # pyright: ignore


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


CHAT = SAMPLES[0]


POLICIES = {
    "small": ImagePolicy(fit=300),
    "tiny": ImagePolicy(fit=32),
    "webp": ImagePolicy(fit=300, format="webp"),
    "jpeg": ImagePolicy(fit=1900, format="jpeg"),
    "short": ImagePolicy(fit=1000, max_bytes=100_000),
    "gpt-*": ImagePolicy(),
}


@dataclass
class Fitting:
    """A daemon with an upstream of each dialect for each policy, whose name its models have."""

    daemon: Any
    upstreams: dict[tuple[str, str], Any]
    meters: Counted

    def add(self, *originals: bytes) -> None:
        """Have the tenant hold images."""
        for original in originals:
            self.daemon.blobs.add(original)

    async def post(
        self, sample: Sample, model: str, body: JsonObject | bytes, path: str = ""
    ) -> Any:
        """Post a turn; return the answer's headers."""
        if not isinstance(body, bytes):
            inner = framed(sample.spoken, body)
            if "model" in inner:
                body = with_framed(sample.spoken, body, {**inner, "model": model})
            body = encode_json(body)
        url = self.daemon.url + (path or sample.path).replace("/m:", f"/{model}:")
        fields = {"Content-Type": "application/json"}
        async with self.daemon.http.post(url, data=body, headers=fields) as got:
            assert got.status == 200, await got.text()
            return got.headers

    def seen(self, sample: Sample, model: str) -> Any:
        """Return what the upstream of a policy was sent in a dialect."""
        return self.upstreams[sample.name, model].seen

    def sent(self, sample: Sample, model: str) -> list[tuple[str | None, bytes]]:
        """Return the images that it was sent last: their declared types, and their bytes."""
        return sent_images(self.upstreams[sample.name, model], sample.name)

    async def one(self, model: str, original: bytes) -> tuple[bytes, Any]:
        """Send one image in a chat; return what the upstream got, and the answer's headers."""
        self.add(original)
        headers = await self.post(CHAT, model, CHAT.ask(CHAT.ref(original)))
        ((_, data),) = self.sent(CHAT, model)
        return data, headers


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Fitting]:
    """One daemon for all: its workers take a second to start."""
    async with upstreams() as run_upstream, daemons(tmp_path_factory.mktemp("fitting")) as run:
        made = {
            (sample.name, model): await run_upstream(
                dialect=sample.name, images=policy, models=(model,)
            )
            for sample in SAMPLES
            for model, policy in POLICIES.items()
        }
        meters = Counted()
        daemon = await run(*(upstream.config for upstream in made.values()), meters=meters)
        yield Fitting(daemon, made, meters)


@pytest.fixture
def fitting(running: Fitting) -> Fitting:
    """The same, with nothing seen or counted yet."""
    running.meters.outcomes.clear()
    for upstream in running.upstreams.values():
        upstream.seen.clear()
    return running


async def test_every_spelling_of_an_image_gives_the_same_variant(fitting: Fitting) -> None:
    original = photo()
    fitting.add(original)
    fitting.daemon.blobs.files[FILE_ID] = Digest.of(original)
    variants: set[bytes] = set()
    for sample in SAMPLES:
        parts = [
            sample.ref(original, "image/jpeg"),
            sample.inline(original, "image/jpeg"),
            sample.pointer(original, "image/jpeg"),
            sample.file(FILE_ID),
        ]
        inline = sample.key("data:;base64,x")
        keys = [sample.key("blob:"), inline, inline, sample.file_key]
        for path in sample.paths:
            headers = await fitting.post(sample, "small", sample.ask(*parts), path)
            images = fitting.sent(sample, "small")
            assert {kind for kind, _ in images} == {"image/jpeg"}
            variants |= {data for _, data in images}
            assert headers[SCALE] == ", ".join(
                f"{sample.place(0, at, key)};0.333333" for at, key in enumerate(keys)
            )
    (variant,) = variants
    assert (opened(variant).format, opened(variant).size) == ("JPEG", (300, 200))
    assert len(variant) < len(original)
    assert fitting.meters.outcomes["made"] == 1
    assert all(reader.closed for reader in fitting.daemon.blobs.readers)


async def test_the_next_turn_makes_none_and_begins_with_the_same_bytes(fitting: Fitting) -> None:
    original = photo(901)
    for sample in SAMPLES:
        first = sample.message([sample.inline(original, "image/jpeg")])
        await fitting.post(sample, "small", sample.body([first]))
        fitting.add(original)
        again = sample.message([sample.ref(original, "image/jpeg")])
        await fitting.post(sample, "small", sample.body([again, sample.message([])]))
        one, two = (
            encode_json(sample.messages(seen.json)).removesuffix(b"]")
            for seen in fitting.seen(sample, "small")
        )
        assert two.startswith(one)
    assert fitting.meters.outcomes == {"made": 1, "found": 2 * len(SAMPLES) - 1}


async def test_what_is_small_enough_goes_byte_for_byte(fitting: Fitting) -> None:
    small = photo(300, 200)
    fitting.add(small)
    for sample in SAMPLES:
        asked = sample.ask(sample.inline(small, "image/jpeg"), n=1.5)
        body = encode_json(asked).replace(b'"model":"m"', b'"model":"small"') + b" "
        assert SCALE not in await fitting.post(sample, "small", body)
        assert fitting.seen(sample, "small")[0].body == body
        await fitting.post(sample, "small", sample.ask(sample.ref(small, "image/jpeg")))
        assert fitting.sent(sample, "small") == [("image/jpeg", small)]
    assert fitting.meters.outcomes == {"kept": 2 * len(SAMPLES)}


async def test_another_format_is_declared(fitting: Fitting) -> None:
    original = photo()
    fitting.add(original)
    for sample in SAMPLES:
        parts = sample.inline(original, "image/jpeg"), sample.ref(original, "image/jpeg")
        await fitting.post(sample, "webp", sample.ask(*parts))
        for kind, data in fitting.sent(sample, "webp"):
            assert (kind, opened(data).format) == ("image/webp", "WEBP")


async def test_turned_photos_go_upright_and_without_metadata(fitting: Fitting) -> None:
    turned = {3: (150, 190), 6: (190, 20), 8: (10, 280)}  # and where red came from above
    originals = [photo(exif=exif(orientation), comment=b"secret place") for orientation in turned]
    fitting.add(*originals)
    headers = await fitting.post(CHAT, "small", CHAT.ask(*map(CHAT.ref, originals)))
    assert headers[SCALE].count(";0.333333") == 3
    sent = fitting.sent(CHAT, "small")
    for (orientation, at), (_, data) in zip(turned.items(), sent, strict=True):
        image = opened(data)
        assert image.size == ((300, 200) if orientation == 3 else (200, 300))
        assert not image.getexif()
        assert b"secret" not in data
        assert b"Exif" not in data
        colour = image.convert("RGB").getpixel(at)
        assert isinstance(colour, tuple)
        assert colour[0] > 150, (orientation, colour)
        assert colour[2] < 100, (orientation, colour)


async def test_transparency_stays(fitting: Fitting) -> None:
    picture = noise(900, 600, "RGBA")
    rows = b"".join(bytes([row * 255 // 599]) * 900 for row in range(600))
    picture.putalpha(Image.frombytes("L", (900, 600), rows))
    data, _ = await fitting.one("small", saved(picture, "PNG"))
    image = opened(data)
    assert (image.format, image.mode, image.size) == ("PNG", "RGBA", (300, 200))
    alpha = image.getchannel("A").tobytes()
    assert max(alpha[:300]) < 10
    assert min(alpha[-300:]) > 245


async def test_what_is_no_still_image_is_left_alone(fitting: Fitting) -> None:
    originals = [
        *(animation("GIF"), animation("WEBP"), animation("PNG")),
        *(saved(drawn(), "BMP"), saved(drawn(), "TIFF"), b"%PDF-1.7 and more"),
        *(photo()[:4000], saved(drawn(), "PNG")[:100] + b"x" * 300),
    ]
    fitting.add(*originals)
    headers = await fitting.post(CHAT, "tiny", CHAT.ask(*map(CHAT.ref, originals)))
    assert SCALE not in headers
    assert [data for _, data in fitting.sent(CHAT, "tiny")] == originals


async def test_a_variant_that_would_be_longer_is_not_sent(fitting: Fitting) -> None:
    flat = saved(Image.new("1", (2000, 1000)), "PNG", optimize=True)
    data, headers = await fitting.one("jpeg", flat)
    assert data == flat
    assert SCALE not in headers


async def test_an_image_of_too_many_bytes_becomes_smaller_until_it_fits(fitting: Fitting) -> None:
    original = saved(noise(400, 300), "PNG")
    assert len(original) > 300_000
    data, headers = await fitting.one("short", original)
    assert len(data) <= 100_000
    assert opened(data).width > 150
    scale = float(headers[SCALE].partition(";")[2])
    assert scale == pytest.approx(opened(data).width / 400, abs=1e-5)


async def test_the_provider_decides_by_model_and_detail(fitting: Fitting) -> None:
    original = photo(3000, 2000)
    fitting.add(original)
    upstream = fitting.upstreams[CHAT.name, "gpt-*"]
    sizes: list[tuple[int, int]] = []
    for model, detail in (("gpt-4o", "high"), ("gpt-4o", "low"), ("gpt-6", None)):
        image: Json = {"url": f"blob:{Digest.of(original)}", "detail": detail}
        await fitting.post(CHAT, model, CHAT.ask({"type": "image_url", "image_url": image}))
        ((_, data),) = sent_images(upstream, CHAT.name)
        sizes.append(opened(data).size)
    assert sizes == [(1152, 768), (512, 341), (3000, 2000)]


async def test_masks_of_tools_keep_their_size(fitting: Fitting) -> None:
    original = photo()
    fitting.add(original)
    ref = f"blob:{Digest.of(original)}"
    tool: Json = {"type": "image_generation", "input_image_mask": {"image_url": ref}}
    made: Json = {"type": "image_generation_call", "id": "i", "result": ref}
    sample = SAMPLES[1]
    headers = await fitting.post(sample, "small", {**sample.body([made]), "tools": [tool]})
    assert SCALE not in headers
    (seen,) = fitting.seen(sample, "small")
    assert seen.body.count(base64.b64encode(original)) == 2


async def test_forty_scales_are_told_the_newest_ones(fitting: Fitting) -> None:
    original = photo()
    fitting.add(original)
    headers = await fitting.post(CHAT, "small", CHAT.ask(*[CHAT.ref(original)] * 43))
    told = headers[SCALE].split(", ")
    assert len(told) == 40
    assert told[-1].startswith("messages.0.content.43.image_url;")
    assert headers[f"{SCALE}-More"] == "3"


async def test_a_variant_opens_with_its_original_alone(fitting: Fitting) -> None:
    original = photo(902)
    variant, _ = await fitting.one("small", original)
    assert variant != original
    del fitting.daemon.blobs.blobs[Digest.of(original)]
    for name in (variant, original):  # a variant is no blob; an original that is gone is gone
        body = encode_json({**CHAT.ask(CHAT.ref(name)), "model": "small"})
        async with fitting.daemon.http.post(fitting.daemon.url + CHAT.path, data=body) as got:
            assert got.status == 404
    assert len(fitting.seen(CHAT, "small")) == 1


async def test_turns_at_the_same_time_share_one_making(fitting: Fitting) -> None:
    originals = [photo(width) for width in range(903, 909)]
    fitting.add(*originals)
    body = CHAT.ask(*map(CHAT.ref, originals))
    told = await asyncio.gather(*(fitting.post(CHAT, "small", body) for _ in range(5)))
    assert {headers[SCALE].count(";0.33") for headers in told} == {6}
    assert len({seen.body for seen in fitting.seen(CHAT, "small")}) == 1
    assert fitting.meters.outcomes == {"made": 6, "found": 24}


async def test_each_turns_messages_begin_with_those_before(fitting: Fitting) -> None:
    originals = [photo(width) for width in range(910, 918)]
    for sample in SAMPLES:
        history: list[Json] = []
        for at, original in enumerate(originals):
            spelled = sample.inline if at % 2 else sample.ref
            fitting.add(original)
            history.append(sample.message([spelled(original, "image/jpeg")]))
            await fitting.post(sample, "small", sample.body(history))
        bodies = [
            encode_json(sample.messages(seen.json)).removesuffix(b"]")
            for seen in fitting.seen(sample, "small")
        ]
        assert len(bodies) == len(originals)
        assert all(two.startswith(one) for one, two in pairwise(bodies))
        assert b"blob:" not in bodies[-1]
    assert fitting.meters.outcomes["made"] == len(originals)
