"""Steps that come to their end once begun, whatever happens to the one who asked."""

import asyncio
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")


class Finisher:
    """Owns the tasks of such steps until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, step: Coroutine[object, None, T]) -> T:
        """Run a step to its end and return what it returns.

        A cancelled caller is released at once; the step goes on.
        """
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Wait for every step that was begun. May be called twice."""
        while self._tasks:
            await asyncio.wait(self._tasks)
