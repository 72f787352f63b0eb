"""What a store is opened with, and what of it outlives the process, opened in the order of need.

The order: lock, what changed, threads, backend, index, prompts; the stack closes it in reverse.
Processes that share a folder open it one after another: they make what is missing, once.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .backend import Backend, Measured
from .changes import Changes
from .clean_end import begin_unclean, end_clean
from .config import StoreConfig
from .database import Database
from .disk_backend import DiskBackend
from .durable import sync_folder
from .errors import disk_error, disk_errors
from .file_lock import FileLock, lock_folder
from .folder_use import FolderUse
from .index import Index
from .keys import Keys
from .memory_backend import MemoryBackend
from .prompts import Prompts
from .recovery import Recovery
from .responses import Responses
from .restore import INDEX_FILE, PROMPTS_FILE, Restore
from .seed import Seeds, open_seeds
from .shared_folder import SharedFolder
from .signed_urls import SignedUrls
from .term import Term


class CleanEnd:
    """Makes the mark of a clean end when the store that has its folder alone is closed."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.recovery: Recovery | None = None
        """Of a store that was opened."""

    def close(self) -> None:
        if self._folder is not None and self.recovery is not None and self.recovery.is_over:
            end_clean(self._folder)


@dataclass(frozen=True, slots=True)
class Opening:
    """What a store is opened with, and the threads that it was given."""

    config: StoreConfig
    stack: AsyncExitStack
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    shared: SharedFolder | None
    changes: Changes
    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    clean_end: CleanEnd


@dataclass(frozen=True, slots=True)
class Kept:
    """What outlives the process, unless it is kept in memory."""

    backend: DiskBackend | MemoryBackend
    database: Database
    seeds: Seeds
    index: Index
    keys: Keys
    signed_urls: SignedUrls
    prompts: Prompts
    prompts_database: Database
    responses: Responses
    was_clean: bool
    """Whether nothing has to be reconciled."""


async def begin(
    config: StoreConfig,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
    shared: SharedFolder | None,
) -> Opening:
    """Take the folder, unless it is shared, and start the threads."""
    if config.data_folder is not None and shared is None:
        loop = asyncio.get_running_loop()
        own = await loop.run_in_executor(None, lock_folder, config.data_folder)
        stack.callback(own.close)
    changes = Changes(random, None if shared is None else shared.memory)
    stack.callback(changes.close)
    reading = threads(stack, "read", config.read_threads)
    writing = threads(stack, "write", config.write_threads)
    clean_end = CleanEnd(config.data_folder if shared is None else None)
    stack.callback(clean_end.close)
    return Opening(config, stack, clock, random, shared, changes, reading, writing, clean_end)


async def open_kept(opening: Opening) -> Kept:
    """Open what outlives the process; within `gate`."""
    config, stack, clock, random = opening.config, opening.stack, opening.clock, opening.random
    folder, is_shared = config.data_folder, opening.shared is not None
    loop = asyncio.get_running_loop()
    was_clean = await loop.run_in_executor(None, _begin_use, folder)
    backend = await _open_backend(config, stack, opening.writing, random, is_shared=is_shared)
    if folder is not None:
        use = await loop.run_in_executor(None, FolderUse.open, folder)
        stack.callback(use.close)
        await Restore(folder, backend, config.lease_seconds, clock).run(use)
    database = await Database.open(
        folder and folder / INDEX_FILE, history="index", synchronous="FULL"
    )
    stack.push_async_callback(database.close)
    seeds = await open_seeds(database, folder and folder / "seed", clock=clock, random=random)
    signed_urls = await loop.run_in_executor(
        None, SignedUrls.open, folder, config.signed_url_seconds, clock, random
    )
    index = Index(database)
    keys = Keys(database, clock=clock, random=random, folder=folder)
    await keys.mark()
    stack.push_async_callback(keys.close)
    prompts, prompts_database = await _open_prompts(
        config, stack, index, backend, opening.writing, clock, opening.changes, is_shared=is_shared
    )
    if folder is not None:
        await loop.run_in_executor(opening.writing, _sync, folder)
    responses = Responses(prompts_database, prompts, clock)
    return Kept(
        backend,
        database,
        seeds,
        index,
        keys,
        signed_urls,
        prompts,
        prompts_database,
        responses,
        was_clean,
    )


@disk_errors()
def _begin_use(folder: Path | None) -> bool:
    """Return whether nothing has to be reconciled: the last end was clean, or there was none."""
    if folder is None:
        return True
    is_new = not (folder / INDEX_FILE).exists() and not (folder / "blobs").exists()
    return begin_unclean(folder) or is_new


@asynccontextmanager
async def gate(folder: Path | None) -> AsyncGenerator[None]:
    """Let one process at a time open a folder."""
    if folder is None:
        yield
        return
    lock = await asyncio.get_running_loop().run_in_executor(None, FileLock.wait, folder / "gate")
    try:
        yield
    finally:
        lock.close()


async def _open_backend(
    config: StoreConfig,
    stack: AsyncExitStack,
    executor: ThreadPoolExecutor,
    random: Callable[[int], bytes],
    *,
    is_shared: bool,
) -> DiskBackend | MemoryBackend:
    loop = asyncio.get_running_loop()
    folder = config.data_folder
    if folder is None:
        return MemoryBackend()
    backend = await loop.run_in_executor(
        executor,
        lambda: DiskBackend.at(
            folder,
            min_free_bytes=config.min_free_bytes,
            random=random,
            executor=executor,
            is_shared=is_shared,
        ),
    )

    async def close() -> None:
        await loop.run_in_executor(None, backend.close)

    stack.push_async_callback(close)
    return backend


async def _open_prompts(
    config: StoreConfig,
    stack: AsyncExitStack,
    index: Index,
    backend: Backend,
    executor: ThreadPoolExecutor,
    clock: Callable[[], float],
    changes: Changes,
    *,
    is_shared: bool,
) -> tuple[Prompts, Database]:
    path = config.data_folder and config.data_folder / PROMPTS_FILE
    database = await Database.open(path, history="prompts", synchronous="NORMAL")
    stack.push_async_callback(database.close)

    async def free_bytes() -> int:
        if not isinstance(backend, Measured):
            return sys.maxsize
        if path is None:
            return backend.free_bytes()  # no disk to wait for
        return await asyncio.get_running_loop().run_in_executor(executor, backend.free_bytes)

    prompts = Prompts(
        database,
        index,
        term=Term(config.prompt_seconds),
        max_prompt_bytes=config.max_prompt_bytes,
        pending_bytes=config.pending_prompt_bytes,
        free_bytes=free_bytes,
        clock=clock,
        changes=changes,
        is_shared=is_shared,
    )
    prompts.start()
    stack.push_async_callback(prompts.close)
    return prompts, database


def threads(stack: AsyncExitStack, name: str, count: int) -> ThreadPoolExecutor:
    """Return so many threads, which the stack ends when all that they were given is done."""
    executor = ThreadPoolExecutor(count, thread_name_prefix=f"coatcheck-{name}")

    async def close() -> None:
        await asyncio.get_running_loop().run_in_executor(None, executor.shutdown)

    stack.push_async_callback(close)
    return executor


def _sync(folder: Path) -> None:
    """Bring the names of the databases, their logs and the rest to the disk."""
    try:
        sync_folder(folder)
    except OSError as error:
        raise disk_error(error) from error
