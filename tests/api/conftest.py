"""The store's face on real servers, over stores on disk and in memory."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from coatcheck.api import face
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Keyring, Limits, Server, build_app, join_faces

IMPATIENT = Limits(linger_seconds=0.1, body_idle_seconds=0.1)


@pytest.fixture
async def serve_store() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Open a store and serve it; both are closed after the test."""
    opened: list[tuple[Server, Store]] = []

    async def start(
        config: StoreConfig,
        limits: Limits | None = None,
        *,
        keyring: Keyring | None = None,
        clock: Callable[[], float] = time.time,
    ) -> Server:
        store = await Store.open(config, clock=clock)
        table = join_faces([face(store)], title="Coatcheck", version="1")
        server = Server(build_app(table, keyring=keyring), limits)
        opened.append((server, store))
        await server.start()
        return server

    yield start
    for server, store in opened:
        await server.stop(drain_seconds=0.1)
        await store.close()


@pytest.fixture
async def server(serve_store: Callable[..., Awaitable[Server]]) -> Server:
    """A server over a store in memory."""
    return await serve_store(StoreConfig(data_folder=None), IMPATIENT)


@pytest.fixture
async def disk_server(serve_store: Callable[..., Awaitable[Server]], tmp_path: Path) -> Server:
    """A server over a store on disk."""
    return await serve_store(
        StoreConfig(data_folder=tmp_path / "data", min_free_bytes=0), IMPATIENT
    )


@pytest.fixture
def url(server: Server) -> str:
    return server.address.url
