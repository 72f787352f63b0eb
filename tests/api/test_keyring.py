"""The keyring of a store: how long it believes what, and whom it lets in."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from coatcheck.api import StoreKeyring
from coatcheck.store import NewKey, Store, StoreConfig
from coatcheck.web import Principal, ProblemError


class Clock:
    """Time that a test sets: Unix seconds, and seconds elapsed."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(clock: Clock) -> AsyncIterator[Store]:
    async with await Store.open(StoreConfig(data_folder=None), clock=clock) as opened:
        yield opened


async def keyring_of(store: Store, clock: Clock) -> StoreKeyring:
    return await StoreKeyring.open(store.keys, clock=clock, elapsed=clock)


async def make_key(store: Store, expires_at: float | None = None) -> NewKey:
    return await store.keys.create(tenant="acme", scopes={"read"}, expires_at=expires_at)


ACME = Principal("acme", frozenset({"read"}))


async def test_without_keys_everybody_is_the_open_principal(store: Store, clock: Clock) -> None:
    keyring = await keyring_of(store, clock)
    assert keyring.is_open
    for secret in (None, "cck_whatever"):
        principal = await keyring.identify(secret)
        assert principal == Principal("default", is_open=True)


async def test_the_first_key_closes_the_store_within_a_second(store: Store, clock: Clock) -> None:
    keyring = await keyring_of(store, clock)
    made = await make_key(store)
    clock.now += 1
    assert await keyring.identify(None) is None
    assert not keyring.is_open
    assert await keyring.identify(made.key.text) == ACME
    assert not (await keyring_of(store, clock)).is_open


async def test_revoking_the_last_key_opens_nothing(store: Store, clock: Clock) -> None:
    made = await make_key(store)
    await store.keys.revoke(made.key.id)
    keyring = await keyring_of(store, clock)
    assert not keyring.is_open
    assert await keyring.identify(None) is None


async def test_a_revoked_key_is_believed_for_less_than_a_second(store: Store, clock: Clock) -> None:
    keyring = await keyring_of(store, clock)
    made = await make_key(store)
    clock.now += 1
    assert await keyring.identify(made.key.text) == ACME
    await store.keys.revoke(made.key.id)
    clock.now += 0.9
    assert await keyring.identify(made.key.text) == ACME
    clock.now += 0.1
    assert await keyring.identify(made.key.text) is None


async def test_an_expired_key_is_not_believed_at_all(store: Store, clock: Clock) -> None:
    made = await make_key(store, clock.now + 0.5)
    keyring = await keyring_of(store, clock)
    assert await keyring.identify(made.key.text) == ACME
    clock.now += 0.5
    assert await keyring.identify(made.key.text) is None


async def test_a_daemons_key_has_no_tenant(store: Store, clock: Clock) -> None:
    made = await store.keys.create(tenant=None, scopes={"gateway"})
    keyring = await keyring_of(store, clock)
    assert await keyring.identify(made.key.text) == Principal(None, frozenset({"gateway"}))


@pytest.mark.parametrize("secret", ["", "cck_", "sk-x", "cck_\udcff", "x" * 10_000])
async def test_any_other_text_is_nobody(store: Store, clock: Clock, secret: str) -> None:
    await make_key(store)
    keyring = await keyring_of(store, clock)
    assert await keyring.identify(secret) is None


async def test_keys_are_asked_for_once_a_second(store: Store, clock: Clock) -> None:
    made = [await make_key(store) for _ in range(3)]
    keyring = await keyring_of(store, clock)
    for key in made:
        assert await keyring.identify(key.key.text) == ACME
    await store.close()  # so that asking again would fail
    found = await asyncio.gather(*(keyring.identify(key.key.text) for key in made * 10))
    assert found == [ACME] * 30


async def test_when_the_index_is_gone_nobody_is_let_in(store: Store, clock: Clock) -> None:
    keyring = await keyring_of(store, clock)
    await store.close()
    clock.now += 1
    with pytest.raises(ProblemError) as refused:
        await keyring.identify(None)
    assert refused.value.problem.status == 503
