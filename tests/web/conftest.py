"""Real servers on loopback, and raw sockets to them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from aiohttp import ClientSession

from coatcheck.web import Keyring, Limits, Route, Server, build_app


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Awaitable[Server]]]:
    """Start a server for a route table; it is stopped after the test."""
    servers: list[Server] = []

    async def start(
        routes: Sequence[Route], limits: Limits | None = None, keyring: Keyring | None = None
    ) -> Server:
        server = Server(build_app(routes, keyring=keyring), limits)
        servers.append(server)
        await server.start()
        return server

    yield start
    for server in servers:
        await server.stop(drain_seconds=0.1)


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """A client that inflates and follows nothing by itself."""
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def talk() -> Callable[[Server, bytes], Awaitable[bytes]]:
    """Send bytes on a new connection, and read until the server closes it."""

    async def send(server: Server, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    return send
