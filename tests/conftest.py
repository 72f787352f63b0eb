"""What the folders' tests share: the vectors, clients, and how hard properties are tried.

`COATCHECK_NIGHTLY` tries each property ten times as often.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import settings

from coatcheck.web import Server

settings.register_profile("day", deadline=None)
settings.register_profile("night", deadline=None, max_examples=1000)
settings.load_profile("night" if os.environ.get("COATCHECK_NIGHTLY") else "day")

_VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read one file of `tests/vectors`."""

    def read(name: str) -> Any:
        return json.loads((_VECTORS / f"{name}.json").read_text("utf-8"))

    return read


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """A client that inflates nothing by itself."""
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
