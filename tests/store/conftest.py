"""Stores that close themselves, a clock that tests set, and a way to put bytes in."""

import resource
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import AbstractContextManager, AsyncExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import pytest
from sqlalchemy import Connection

from coatcheck.protocol import Digest
from coatcheck.store import Receipt, Store, StoreConfig
from coatcheck.store.database import Database


class Put(Protocol):
    """Upload bytes in chunks."""

    async def __call__(
        self,
        store: Store,
        tenant: str,
        data: bytes,
        *,
        chunk_bytes: int = 64 * 1024,
        declared_type: str | None = None,
        expected: Digest | None = None,
        expected_size: int | None = None,
    ) -> Receipt: ...


@pytest.fixture
def now() -> list[float]:
    """The time, as the only item: what every store of the test takes for now."""
    return [1_000_000.0]


@pytest.fixture
async def open_store(
    now: list[float],
) -> AsyncIterator[Callable[[StoreConfig], Awaitable[Store]]]:
    """Open stores that are closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(config: StoreConfig) -> Store:
            store = await Store.open(config, clock=lambda: now[0])
            stack.push_async_callback(store.close)
            return store

        yield open_one


@pytest.fixture
async def store(open_store: Callable[[StoreConfig], Awaitable[Store]]) -> Store:
    """A store in memory."""
    return await open_store(StoreConfig(None))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a store on disk may live; not made yet."""
    return tmp_path / "data"


@pytest.fixture
async def disk_store(open_store: Callable[[StoreConfig], Awaitable[Store]], folder: Path) -> Store:
    """A store in `folder`."""
    return await open_store(StoreConfig(folder))


@pytest.fixture
def blob_path(folder: Path) -> Callable[[Digest], Path]:
    """Where the store in `folder` keeps a blob."""
    return lambda digest: folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex


@pytest.fixture
def databases() -> Callable[[Store], tuple[Database, Database]]:
    """A store's index and prompts, for what is done behind its back."""
    return lambda store: (
        store._index._database,  # pyright: ignore[reportPrivateUsage]
        store.prompts._database,  # pyright: ignore[reportPrivateUsage]
    )


@pytest.fixture
def watch(
    databases: Callable[[Store], tuple[Database, Database]],
) -> Callable[[Store], Awaitable[list[str]]]:
    """Begin to note each statement that SQLite runs for a store, with its parameters in it."""

    async def begin(store: Store) -> list[str]:
        seen: list[str] = []

        def trace(connection: Connection) -> None:
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.set_trace_callback(seen.append)

        for database in databases(store):
            await database.run(trace)
        seen.clear()
        return seen

    return begin


@pytest.fixture
def largest_file() -> Callable[[int], AbstractContextManager[None]]:
    """Let no file of this process grow beyond so many bytes, as a full disk would."""

    @contextmanager
    def limit(size: int) -> Generator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture
def put() -> Put:
    async def put_bytes(
        store: Store,
        tenant: str,
        data: bytes,
        *,
        chunk_bytes: int = 64 * 1024,
        declared_type: str | None = None,
        expected: Digest | None = None,
        expected_size: int | None = None,
    ) -> Receipt:
        async def body() -> AsyncIterator[bytes]:
            for at in range(0, len(data), chunk_bytes):
                yield data[at : at + chunk_bytes]

        return await store.receive(
            tenant,
            body(),
            declared_type=declared_type,
            expected=expected,
            expected_size=expected_size,
        )

    return put_bytes


@pytest.fixture(params=["disk", "memory"])
async def any_store(
    request: pytest.FixtureRequest, open_store: Callable[..., Awaitable[Store]], folder: Path
) -> Store:
    return await open_store(StoreConfig(folder if request.param == "disk" else None))
