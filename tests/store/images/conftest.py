"""Workers that are closed after the test."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from coatcheck.store import ImageWorkerConfig, ImageWorkers


@pytest.fixture
async def run_workers() -> AsyncIterator[Callable[..., ImageWorkers]]:
    """Make workers with the given settings; one at a time by default."""
    async with AsyncExitStack() as stack:

        def run(workers: int = 1, **settings: object) -> ImageWorkers:
            made = ImageWorkers(ImageWorkerConfig(workers=workers, **settings))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
            stack.push_async_callback(made.close)
            return made

        yield run
