"""One change at a time to the bytes of one blob, in this process and beside others.

Taking a blob's bytes away must not meet an upload between its rename and its row: the upload would
be acknowledged without bytes. Uploads may meet each other: they bring the same bytes. So processes
that share a folder lock the folder that a blob lies in, uploads together, a removal alone.
"""

import asyncio
import fcntl
import os
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from coatcheck.protocol import Digest

from .durable import let_go
from .errors import disk_error


@dataclass(frozen=True, slots=True)
class FolderLocks:
    """Locks that other processes see. Whoever waits for one has a thread of `executor`.

    Nothing that holds a lock may need that executor to come to its end.
    """

    folder_of: Callable[[Digest], Path]
    executor: Executor

    async def take(self, digest: Digest, operation: int) -> int:
        """Return a descriptor with the lock; closing it gives the lock back.

        Raises:
            StoreUnavailableError, StoreFullError: the disk refused.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.executor, self._take, digest, operation)

    def _take(self, digest: Digest, operation: int) -> int:
        try:
            descriptor = os.open(self.folder_of(digest), os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, operation)
            except BaseException:
                let_go(descriptor)
                raise
        except OSError as error:
            raise disk_error(error) from error
        return descriptor


class DigestLocks:
    """A lock for each digest that somebody is working on."""

    def __init__(self, folders: FolderLocks | None = None) -> None:
        """`folders` where other processes change blobs too."""
        self._folders = folders
        self._locks: WeakValueDictionary[Digest, asyncio.Lock] = WeakValueDictionary()

    def adding(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Put the bytes in their place, and say so. Not to be cancelled while it waits."""
        return self._working(digest, fcntl.LOCK_SH)

    def removing(self, digest: Digest) -> AbstractAsyncContextManager[None]:
        """Take the bytes away. Not to be cancelled while it waits."""
        return self._working(digest, fcntl.LOCK_EX)

    def _working(self, digest: Digest, operation: int) -> AbstractAsyncContextManager[None]:
        lock = self._locks.setdefault(digest, asyncio.Lock())
        return lock if self._folders is None else _both(lock, self._folders, digest, operation)


@asynccontextmanager
async def _both(
    lock: asyncio.Lock, folders: FolderLocks, digest: Digest, operation: int
) -> AsyncGenerator[None]:
    async with lock:
        descriptor = await folders.take(digest, operation)
        try:
            yield
        finally:
            let_go(descriptor)
