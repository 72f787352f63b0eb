"""Turns in the cache's threads, which come to their end before whoever asked goes on."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol, TypeVar


class _Closable(Protocol):
    def close(self) -> None: ...


_T = TypeVar("_T")
_Opened = TypeVar("_Opened", bound=_Closable)


class Threads:
    """A pool of threads; `close` it after all that uses it."""

    def __init__(self, count: int) -> None:
        self._executor = ThreadPoolExecutor(count, thread_name_prefix="coatcheck-cache")

    async def run(self, work: Callable[[], _T]) -> _T:
        """Run `work` in a thread. A cancelled call waits for its end too.

        So nobody closes a file under a thread that still uses it.
        """
        return await self._run(work, lambda _: None)

    async def open(self, work: Callable[[], _Opened | None]) -> _Opened | None:
        """Run `work`, which opens something; a cancelled call closes it again."""
        return await self._run(work, lambda opened: opened.close() if opened else None)

    async def _run(self, work: Callable[[], _T], undo: Callable[[_T], None]) -> _T:
        task = asyncio.get_running_loop().run_in_executor(self._executor, work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            while not task.done():
                with suppress(asyncio.CancelledError):
                    await asyncio.wait([task])
            if not task.cancelled() and task.exception() is None:
                undo(task.result())
            raise

    def close(self) -> None:
        """End the threads. May be called twice. Blocking."""
        self._executor.shutdown()
