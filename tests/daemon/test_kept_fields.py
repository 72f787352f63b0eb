"""Fields over a real store: one tenant's, for a while, and gone with the end user whom they were for."""

from collections.abc import AsyncIterator

import pytest

from coatcheck.daemon.embedded import EmbeddedPrompts
from coatcheck.daemon.fields import Fields, KeptField
from coatcheck.daemon.meters import NoMeters
from coatcheck.protocol import Digest, Json, encode_json, field_digest
from coatcheck.store import Store, StoreConfig

DAY = 24 * 3600.0
TOOLS: Json = [{"type": "function", "name": "look" * 200}]


def field_of(value: Json, *blobs: Digest) -> KeptField:
    digest = field_digest(value)
    assert digest is not None
    return KeptField(digest, encode_json(value).decode(), blobs)


FIELD = field_of(TOOLS)
NAMED = {"tools": FIELD.digest}
FOUND = {"tools": FIELD.text}


@pytest.fixture
def now() -> list[float]:
    return [1000.0]


@pytest.fixture
async def store(now: list[float]) -> AsyncIterator[Store]:
    async with await Store.open(StoreConfig(None), clock=lambda: now[0]) as opened:
        yield opened


@pytest.fixture
def fields(store: Store, now: list[float]) -> Fields:
    return Fields(EmbeddedPrompts(store), NoMeters(), lambda: now[0])


async def test_a_field_is_one_tenants(fields: Fields) -> None:
    await fields.keep("a", [FIELD, field_of("x" * 600)])
    assert await fields.find("a", NAMED) == FOUND
    assert await fields.find("a", {"tools": FIELD.digest, "functions": FIELD.digest}) == {
        "tools": FIELD.text,
        "functions": FIELD.text,
    }
    assert await fields.find("b", NAMED) == {}


async def test_a_field_lives_as_long_as_it_is_used(
    store: Store, fields: Fields, now: list[float]
) -> None:
    await fields.keep("a", [FIELD])
    for _ in range(3):
        now[0] += DAY - 1
        assert await fields.find("a", NAMED) == FOUND
        await store.prompts.flush()
    now[0] += DAY / 2
    await fields.keep("a", [FIELD])  # sending it whole is a use too
    await store.prompts.flush()
    now[0] += DAY - 1
    assert await fields.find("a", NAMED) == FOUND
    now[0] += DAY
    assert await fields.find("a", NAMED) == {}


async def test_a_field_goes_with_the_end_user_whom_alone_it_was_for(
    store: Store, fields: Fields
) -> None:
    other = field_of("shared " * 100)
    await fields.keep("a", [FIELD, other], end_user="ann")
    await fields.keep("a", [other])
    while await store.prompts.erase_some("a", "ann"):
        pass
    assert await fields.find("a", NAMED) == {}
    assert await fields.find("a", {"system": other.digest}) == {"system": other.text}


async def test_a_field_holds_the_blobs_that_it_names(
    store: Store, fields: Fields, now: list[float]
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"an image"

    blob = (await store.receive("a", body())).grant.digest
    await fields.keep("a", [field_of(TOOLS, blob)])
    await store.prompts.flush()
    await store.release("a", blob)
    assert await store.stat("a", blob) is not None
    now[0] += DAY + 1
    assert await store.stat("a", blob) is None
