"""Keys: made once, stored hashed, ended by time or hand, and known in several processes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from coatcheck.protocol import Key, is_tenant, parse_key
from coatcheck.store import KeyNotFoundError, Store, StoreConfig, has_index, open_keys
from coatcheck.store.migrate import migrate

OpenStore = Callable[[StoreConfig], Awaitable[Store]]


def test_the_text_of_a_key() -> None:
    key = Key.make(lambda count: bytes(range(count)))
    assert key.text == f"cck_{key.id}_{key.secret}"
    assert (len(key.id), len(key.secret)) == (8, 40)
    assert parse_key(key.text) == key
    assert key.secret not in repr(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cck_",
        "cck_abcdefgh",
        "sk-x",
        f"cck_ABCDEFGH_{'a' * 40}",
        f"cck_abcdefgh_{'a' * 41}",
        f"cck_abcdefgh_{'1' * 40}",
        f"cck_abcdefgh_{'a' * 40}\n",
        f"CCK_abcdefgh_{'a' * 40}",
    ],
)
def test_what_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize(("name", "is_one"), [("a", True), ("5f-x.y@z:1", True), ("", False)])
def test_names_of_tenants(name: str, *, is_one: bool) -> None:
    assert is_tenant(name) == is_one


async def test_a_key_opens_what_it_was_made_for(store: Store) -> None:
    assert not await store.keys.any_exist()
    made = await store.keys.create(tenant="acme", scopes={"read", "write"}, label="laptop")
    assert await store.keys.any_exist()
    info = await store.keys.verify(made.key.text)
    assert info is not None
    assert info == made.info
    assert (info.tenant, info.label) == ("acme", "laptop")
    assert info.scopes == {"read", "write"}


async def test_a_daemons_key_has_no_tenant(store: Store) -> None:
    made = await store.keys.create(tenant=None, scopes={"gateway"})
    info = await store.keys.verify(made.key.text)
    assert info is not None
    assert info.tenant is None


async def test_no_other_text_opens_anything(store: Store) -> None:
    made = await store.keys.create(tenant="acme", scopes={"read"})
    other = await store.keys.create(tenant="acme", scopes={"read"})
    for text in (
        "",
        "cck_",
        made.key.id,
        Key(made.key.id, other.key.secret).text,
        Key("aaaaaaaa", made.key.secret).text,
        made.key.text.upper(),
    ):
        assert await store.keys.verify(text) is None


async def test_a_key_ends_when_it_expires(store: Store, now: list[float]) -> None:
    made = await store.keys.create(tenant="acme", scopes={"read"}, expires_at=now[0] + 10)
    now[0] += 9.9
    assert await store.keys.verify(made.key.text)
    now[0] += 0.1
    assert await store.keys.verify(made.key.text) is None


async def test_a_key_ends_when_it_is_revoked_and_stays_listed(
    store: Store, now: list[float]
) -> None:
    made = await store.keys.create(tenant="acme", scopes={"read"})
    kept = await store.keys.create(tenant="acme", scopes={"read"})
    revoked = await store.keys.revoke(made.key.id)
    now[0] += 5
    assert revoked == await store.keys.revoke(made.key.id)  # the first time counts
    assert await store.keys.verify(made.key.text) is None
    assert await store.keys.verify(kept.key.text)
    assert {info.id: info.revoked_at for info in await store.keys.list()} == {
        made.key.id: now[0] - 5,
        kept.key.id: None,
    }
    await store.keys.revoke(kept.key.id)
    assert await store.keys.any_exist()
    with pytest.raises(KeyNotFoundError):
        await store.keys.revoke("aaaaaaaa")


async def test_a_use_is_noted_at_most_once_a_minute(store: Store, now: list[float]) -> None:
    async def last_use() -> float | None:
        await store.keys.close()  # what is being written is written
        (info,) = await store.keys.list()
        return info.last_used_at

    made = await store.keys.create(tenant="acme", scopes={"read"})
    assert await last_use() is None
    begin = now[0]
    for seconds, written in [(0, 0), (59, 0), (60, 60), (100, 60), (121, 121)]:
        now[0] = begin + seconds
        assert await store.keys.verify(made.key.text)
        assert await last_use() == begin + written


async def test_a_refused_key_is_not_used(store: Store) -> None:
    made = await store.keys.create(tenant="acme", scopes={"read"})
    assert await store.keys.verify(Key(made.key.id, "a" * 40).text) is None
    await store.keys.revoke(made.key.id)
    assert await store.keys.verify(made.key.text) is None
    await store.keys.close()
    assert [info.last_used_at for info in await store.keys.list()] == [None]


async def test_the_secret_is_nowhere_on_the_disk(disk_store: Store, folder: Path) -> None:
    made = await disk_store.keys.create(tenant="acme", scopes={"read"})
    assert await disk_store.keys.verify(made.key.text)
    await disk_store.close()
    secret = made.key.secret.encode()
    assert not [path for path in _files(folder) if secret in path.read_bytes()]


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    assert folder / "index.sqlite" in found
    return found


async def test_keys_are_made_beside_a_store_that_is_open(
    disk_store: Store, folder: Path, now: list[float]
) -> None:
    assert has_index(folder)
    async with open_keys(folder, clock=lambda: now[0]) as beside:
        made = await beside.create(tenant="acme", scopes={"read"})
        assert await disk_store.keys.verify(made.key.text)
        await beside.revoke(made.key.id)
        assert await disk_store.keys.verify(made.key.text) is None


async def test_keys_are_made_before_the_first_store(
    folder: Path, open_store: OpenStore, now: list[float]
) -> None:
    assert not has_index(folder)
    async with open_keys(folder, clock=lambda: now[0]) as keys:
        made = await keys.create(tenant="acme", scopes={"read"})
    store = await open_store(StoreConfig(folder))
    assert await store.keys.verify(made.key.text)


async def test_a_store_of_the_first_schema_gets_its_keys(folder: Path) -> None:
    await asyncio.to_thread(folder.mkdir)
    engine = create_engine(f"sqlite:///{folder / 'index.sqlite'}")
    with engine.begin() as connection:
        migrate(connection, "index", to="index_0001")
    engine.dispose()
    async with open_keys(folder) as keys:
        assert not await keys.any_exist()
