"""Who is bringing bytes at the moment; a store that closes ends them and waits."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

from .errors import StoreClosedError


class Reception:
    """The bodies that one store is receiving. Belongs to the event loop."""

    def __init__(self) -> None:
        self._closed = False
        # What ends each body that is still coming when the store closes.
        self._scopes: set[asyncio.Timeout] = set()
        self._in_progress = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def in_progress(self) -> int:
        """Uploads being received or committed."""
        return self._in_progress

    @contextmanager
    def attend(self) -> Generator[None]:
        """Count an upload, for which `close` waits.

        Raises:
            StoreClosedError: `close` was called before.
        """
        if self._closed:
            raise StoreClosedError
        self._in_progress += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._in_progress -= 1
            if not self._in_progress:
                self._idle.set()

    @asynccontextmanager
    async def until_closed(self) -> AsyncGenerator[None]:
        """Take a body inside of this, which `close` ends.

        Raises:
            StoreClosedError: the store was closed meanwhile.
        """
        scope = asyncio.timeout(0 if self._closed else None)
        try:
            async with scope:
                self._scopes.add(scope)
                yield
        except TimeoutError as error:
            if scope.expired():
                raise StoreClosedError from error
            raise
        finally:
            self._scopes.discard(scope)

    async def close(self) -> None:
        """End the bodies that are coming; return when no upload is left. May be called twice."""
        if not self._closed:  # a scope that is expiring cannot be told again
            self._closed = True
            for scope in self._scopes:
                scope.reschedule(0)
        await self._idle.wait()
