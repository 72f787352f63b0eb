"""`POST /v1/keys/verify`: whose key is this?"""

from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from coatcheck.api import StoreKeyring, face
from coatcheck.protocol import KeyAnswer
from coatcheck.store import NewKey, Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    async with await Store.open(StoreConfig(data_folder=None)) as opened:
        yield opened


@pytest.fixture
async def daemons(store: Store) -> NewKey:
    return await store.keys.create(tenant=None, scopes={"gateway"})


@pytest.fixture
async def server(store: Store, daemons: NewKey) -> AsyncIterator[Server]:
    keyring = await StoreKeyring.open(store.keys)
    table = join_faces([face(store)], title="Coatcheck", version="1")
    server = Server(build_app(table, keyring=keyring))
    await server.start()
    yield server
    await server.stop(0)


async def test_a_daemon_learns_the_tenant_of_a_key(
    store: Store, server: Server, daemons: NewKey, http: ClientSession
) -> None:
    clients = await store.keys.create(tenant="acme", scopes={"write", "read"}, expires_at=4e9)
    url = f"{server.address.url}/v1/keys/verify"
    headers = {"Coatcheck-Key": daemons.key.text}
    for key, expected in [
        (clients, {"tenant": "acme", "scopes": ["read", "write"], "expires_at": 4_000_000_000}),
        (daemons, {"tenant": None, "scopes": ["gateway"], "expires_at": None}),
    ]:
        async with http.post(url, json={"key": key.key.text}, headers=headers) as answer:
            assert (answer.status, await answer.json()) == (200, expected)
            assert KeyAnswer.model_validate(expected)
    await store.keys.revoke(clients.key.id)
    for text in (clients.key.text, "sk-x", ""):
        async with http.post(url, json={"key": text}, headers=headers) as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (404, "key_invalid")


async def test_a_tenants_own_daemon_learns_of_its_own_keys_only(
    store: Store, server: Server, daemons: NewKey, http: ClientSession
) -> None:
    own = await store.keys.create(tenant="acme", scopes={"gateway"})
    other = await store.keys.create(tenant="other", scopes={"read"})
    url = f"{server.address.url}/v1/keys/verify"
    headers = {"Coatcheck-Key": own.key.text}
    for key, status in [(own, 200), (other, 404), (daemons, 404)]:
        async with http.post(url, json={"key": key.key.text}, headers=headers) as answer:
            assert answer.status == status


async def test_the_numbers_of_all_tenants_need_none_named(
    store: Store, server: Server, http: ClientSession
) -> None:
    operators = await store.keys.create(tenant=None, scopes={"admin"})
    headers = {"Coatcheck-Key": operators.key.text}
    for path, status in [("/admin/api/stats", 200), ("/admin/api/blobs", 400)]:
        async with http.get(server.address.url + path, headers=headers) as answer:
            assert answer.status == status
