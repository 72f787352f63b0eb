"""What is looked at after a start, beside the first requests.

Where the last process did not come to its own end, files and rows may not agree: they are reconciled.
A start does not wait for it, since nothing is served before it is verified, whatever the rows say.
"""

import asyncio
import contextlib
import logging
from pathlib import Path
from typing import Final

from .errors import StoreError
from .file_lock import FileLock
from .reconcile import Reconcile, ReconcileProgress

_LOCK_FILE: Final = "recovery"
_logger = logging.getLogger(__name__)


class Recovery:
    """Reconciles a store once, from `start` until it is done or `close`."""

    def __init__(self, reconcile: Reconcile, folder: Path | None) -> None:
        """`folder` is where its lock lies: of all processes one does it at a time."""
        self._reconcile = reconcile
        self._folder = folder
        self._task: asyncio.Task[ReconcileProgress | None] | None = None
        self.is_over = True
        """Whether nothing is left to be done by it."""

    def start(self) -> None:
        """Start it; once."""
        self.is_over = False
        self._task = asyncio.create_task(self._run())

    async def done(self) -> ReconcileProgress | None:
        """Wait until it is done, and return what it found.

        None where it was not needed, another process does it, or it failed, which the log says.
        """
        return None if self._task is None else await asyncio.shield(self._task)

    async def close(self) -> None:
        """End it; a step that was begun comes to its end. May be called twice."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> ReconcileProgress | None:
        lock: FileLock | None = None
        try:
            if self._folder is not None:
                lock = await asyncio.to_thread(FileLock.take, self._folder / _LOCK_FILE)
                if lock is None:
                    return None
            done = await self._reconcile.run()
            self.is_over = True
            return done
        except StoreError as error:
            _logger.error("files and index could not be reconciled: %s", error)
            return None
        finally:
            if lock is not None:
                lock.close()
