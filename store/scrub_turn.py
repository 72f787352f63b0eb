"""Whose turn it is to scrub: one at a time, of all processes that have the folder.

One that a server runs by itself gives way to one that somebody asks for.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from .errors import ScrubRunningError
from .file_lock import FileLock

_LOCK_FILE: Final = "scrub"
_WANTED_FILE: Final = "scrub-wanted"
"""Locked by who was asked to scrub, so that who does it by itself ends."""
_TRIES: Final = 200
_TRY_SECONDS: Final = 0.1
_PATIENCE_SECONDS: Final = 1.0


class GivenWayError(Exception):
    """Another scrub is wanted; never leaves the scrub that gives way."""


class ScrubTurn:
    """The turn of one store's scrubs."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is where its locks lie; None: nobody else has the store."""
        self._folder = folder
        self._is_running = False
        self._is_wanted = False

    @asynccontextmanager
    async def taken(self, *, gives_way: bool) -> AsyncGenerator[None]:
        """Scrub inside of this. Who does not give way waits until who does has ended, 20 s at most.

        Raises:
            ScrubRunningError: another one has the turn, and does not give way.
        """
        async with self._asked(gives_way=gives_way), self._alone(gives_way=gives_way):
            yield

    async def is_another_wanted(self) -> bool:
        """Say whether somebody asks for the turn."""
        if self._is_wanted or self._folder is None:
            return self._is_wanted
        lock = await asyncio.to_thread(FileLock.take, self._folder / _WANTED_FILE)
        if lock is not None:
            lock.close()
        return lock is None

    def giving_way(
        self, pause: Callable[[float], Awaitable[None]]
    ) -> Callable[[float], Awaitable[None]]:
        """Return a pause that ends within a second when another one is wanted.

        It raises `GivenWayError` then.
        """

        async def wait(seconds: float) -> None:
            while seconds > 0:
                part = min(seconds, _PATIENCE_SECONDS)
                await pause(part)
                seconds -= part
                if await self.is_another_wanted():
                    raise GivenWayError

        return wait

    @asynccontextmanager
    async def _asked(self, *, gives_way: bool) -> AsyncGenerator[None]:
        """Let others give way, if this one does not."""
        if gives_way:
            yield
            return
        if self._is_wanted:
            raise ScrubRunningError
        self._is_wanted = True
        lock: FileLock | None = None
        try:
            lock = await self._take(_WANTED_FILE, tries=3)  # who gives way takes it for a moment
            yield
        finally:
            self._is_wanted = False
            if lock is not None:
                lock.close()

    @asynccontextmanager
    async def _alone(self, *, gives_way: bool) -> AsyncGenerator[None]:
        lock: FileLock | None = None
        tries = 1 if gives_way else _TRIES
        await self._until_idle(tries)
        self._is_running = True
        try:
            lock = await self._take(_LOCK_FILE, tries=tries)
            yield
        finally:
            self._is_running = False
            if lock is not None:
                lock.close()

    async def _until_idle(self, tries: int) -> None:
        for left in reversed(range(tries)):
            if not self._is_running:
                return
            if left:
                await asyncio.sleep(_TRY_SECONDS)
        raise ScrubRunningError

    async def _take(self, name: str, *, tries: int) -> FileLock | None:
        if self._folder is None:
            return None
        for left in reversed(range(tries)):
            lock = await asyncio.to_thread(FileLock.take, self._folder / name)
            if lock is not None:
                return lock
            if left:
                await asyncio.sleep(_TRY_SECONDS)
        raise ScrubRunningError
