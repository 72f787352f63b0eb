"""Steps that come to their end once begun, whatever happens to the one who asked."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import TypeVar

from .errors import StoreError

T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Finisher:
    """Owns the tasks of such steps until they are done."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()

    async def run(self, step: Coroutine[object, None, T]) -> T:
        """Run a step to its end and return what it returns.

        A cancelled caller is released at once; the step goes on, and the log has its error.
        """
        task = asyncio.create_task(step)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_error)
            raise

    async def close(self) -> None:
        """Wait for every step that was begun. May be called twice."""
        while self._tasks:
            await asyncio.wait(self._tasks)


def _log_error(task: asyncio.Task[object]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is None:
        return
    unforeseen = None if isinstance(error, StoreError) else error
    _logger.warning("a step failed whose caller had gone: %s", error, exc_info=unforeseen)
