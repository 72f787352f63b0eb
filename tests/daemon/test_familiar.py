"""What a client sends inline again and again is taken in once, and again when it is not held any more."""

import asyncio
import base64
from collections.abc import AsyncIterator, Collection

import pytest

from coatcheck.client import Familiar
from coatcheck.daemon.fields import Fields
from coatcheck.daemon.keeper import Keeper
from coatcheck.daemon.meters import NoMeters
from coatcheck.daemon.source import Resolved
from coatcheck.protocol import Digest, FoundInline, Json, dialect

from .conftest import MemoryBlobs, MemoryPrompts

CHAT = dialect("openai.chat")


class Counting(MemoryBlobs):
    """Notes what is taken in, and what is asked for, by tenant."""

    taken: list[tuple[str, bytes]]
    asked: list[Collection[Digest]]

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        self.asked.append(digests)
        return await super().resolve(tenant, digests)

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        self.taken.append((tenant, data))
        return await super().absorb(tenant, data, media_type, end_user=end_user)


@pytest.fixture
def blobs() -> Counting:
    blobs = Counting()
    blobs.taken, blobs.asked = [], []
    return blobs


@pytest.fixture
async def keeper(blobs: Counting) -> AsyncIterator[Keeper]:
    prompts = MemoryPrompts()
    keeper = Keeper(blobs, prompts, Fields(prompts, NoMeters(), lambda: 0.0), Familiar(1))
    yield keeper
    await keeper.close()


def messages(*images: bytes) -> list[Json]:
    parts: list[Json] = [
        {"image_url": {"url": f"data:image/png;base64,{base64.b64encode(image).decode()}"}}
        for image in images
    ]
    return [{"role": "user", "content": parts}]


async def absorb(keeper: Keeper, listed: list[Json], tenant: str = "a") -> None:
    before = asyncio.all_tasks()
    keeper.absorb_later(tenant, CHAT, listed, ())
    await asyncio.gather(*(asyncio.all_tasks() - before))


async def test_what_was_met_is_asked_for_and_not_taken_again(
    keeper: Keeper, blobs: Counting
) -> None:
    await absorb(keeper, messages(b"one"))
    await absorb(keeper, messages(b"one", b"two", b"two"))
    assert blobs.taken == [("a", b"one"), ("a", b"two")]
    blobs.asked.clear()
    await absorb(keeper, messages(b"one", b"two"))
    assert blobs.taken == [("a", b"one"), ("a", b"two")]
    assert blobs.asked == [{Digest.of(b"one"), Digest.of(b"two")}]


async def test_what_is_not_held_any_more_is_taken_again(keeper: Keeper, blobs: Counting) -> None:
    await absorb(keeper, messages(b"one", b"two"))
    del blobs.blobs[Digest.of(b"one")]
    await absorb(keeper, messages(b"one", b"two"))
    assert sorted(blobs.taken[:2]) == [("a", b"one"), ("a", b"two")]  # both at once
    assert blobs.taken[2:] == [("a", b"one")]


async def test_another_tenant_is_not_believed(keeper: Keeper, blobs: Counting) -> None:
    await absorb(keeper, messages(b"one"))
    blobs.blobs.clear()
    await absorb(keeper, messages(b"one"), "b")
    assert blobs.taken == [("a", b"one"), ("b", b"one")]


async def test_what_is_no_strict_base64_is_left(keeper: Keeper, blobs: Counting) -> None:
    for text in ("AB==", "Größe", "\ud800", "%%%"):
        url: Json = {"image_url": {"url": f"data:image/png;base64,{text}"}}
        await absorb(keeper, [{"role": "user", "content": [url]}])
    assert not blobs.taken


def test_texts_that_differ_have_other_keys() -> None:
    familiar: Familiar[Digest] = Familiar(1)
    long = "A" * 200_000
    texts = [
        FoundInline("AAAA", 0, None),
        FoundInline("AAAA", 0, None, is_url_safe=True),
        FoundInline("data:image/png;base64,AAAA", 22, None),
        FoundInline(long, 0, None),
        FoundInline(long[:-1] + "B", 0, None),
    ]
    assert len({familiar.key_of(text) for text in texts}) == len(texts)
    assert Familiar[Digest](2).key_of(texts[0]) != familiar.key_of(texts[0])


def test_what_was_met_longest_ago_is_forgotten() -> None:
    familiar: Familiar[Digest] = Familiar(1)
    digest = Digest.of(b"x")
    keys = [familiar.key_of(FoundInline(str(number), 0, None)) for number in range(9000)]
    for key in keys:
        assert key
        familiar.note("a", key, digest)
        assert familiar.find("a", keys[0] or key) == digest  # used each time
    assert keys[1]
    assert familiar.find("a", keys[1]) is None


async def test_more_messages_than_any_model_reads_are_not_kept(
    keeper: Keeper,
) -> None:
    listed: list[Json] = [{"role": "user", "content": "x"}] * 100_001
    assert (await keeper.keep("a", CHAT, None, listed, ())).prompt is None
    assert (await keeper.keep("a", CHAT, None, listed[:2], ())).prompt is not None
