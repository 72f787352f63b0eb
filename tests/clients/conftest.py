"""Upstreams that other people wrote, started once for all tests of the folder."""

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio

from .independent import Independent, independent


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def upstreams(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Independent]:
    """They and we, in processes of their own."""
    async with independent(tmp_path_factory.mktemp("upstreams")) as running:
        yield running
