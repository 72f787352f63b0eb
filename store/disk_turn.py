"""Blocking work on the disk, done in a thread, whose errors are the store's."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor

from .errors import disk_error


async def in_turn(executor: Executor, work: Callable[[], None]) -> None:
    """Do work that blocks in one turn of a thread. It goes on when the caller is cancelled.

    Raises:
        StoreFullError, StoreUnavailableError: it met an error of the disk.
    """
    try:
        await asyncio.get_running_loop().run_in_executor(executor, work)
    except OSError as error:
        raise disk_error(error) from error
