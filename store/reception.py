"""Who is bringing bytes at the moment; a store that closes ends them and waits."""

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from types import TracebackType

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

    def until_closed(self) -> "Receiving":
        """Return what a body is taken inside of, once: `close` ends it.

        Raises:
            StoreClosedError: on leaving, the store was closed meanwhile.
        """
        return Receiving(self._scopes, asyncio.timeout(0 if self._closed else None))

    async def close(self) -> None:
        """End the bodies that are coming; return when no upload is left. May be called twice."""
        if not self._closed:  # a scope that is expiring cannot be told again
            self._closed = True
            for scope in self._scopes:
                scope.reschedule(0)
        await self._idle.wait()


class Receiving:
    """One body that is coming; made by `Reception.until_closed`."""

    def __init__(self, scopes: set[asyncio.Timeout], scope: asyncio.Timeout) -> None:
        self._scopes = scopes
        self._scope = scope

    async def __aenter__(self) -> None:
        await self._scope.__aenter__()
        self._scopes.add(self._scope)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scopes.discard(self._scope)
        try:
            await self._scope.__aexit__(kind, error, trace)
        except TimeoutError as timeout:
            raise StoreClosedError from timeout
