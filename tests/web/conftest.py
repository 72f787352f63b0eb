"""Real servers on loopback."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

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
