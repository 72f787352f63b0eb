"""What a store is made of, opened in the order of need; the stack closes it in reverse.

The order: lock, what changed, threads, backend, index, prompts, the steps that must come to their
end, uploads.
Processes that share a folder open it one after another: they make what is missing, once.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from .allowance import Allowances
from .backend import Backend, Measured
from .changes import Changes
from .commit import Committer
from .config import StoreConfig
from .counts import StoreCounts
from .database import Database
from .digest_locks import DigestLocks, FolderLocks
from .disk_backend import DiskBackend
from .durable import sync_folder
from .erase import Erasure
from .errors import disk_error
from .file_lock import FileLock, lock_folder
from .files import Files
from .finisher import Finisher
from .hot import HotGrants
from .index import Index
from .keys import INDEX_FILE, Keys
from .memory_backend import MemoryBackend
from .piece_buffers import PieceBuffers
from .prompts import Prompts
from .quarantine import Quarantine
from .receive import Receiver
from .reception import Reception
from .seed import Seeds, open_seeds
from .shared_folder import SharedFolder
from .slab import SLAB_BYTES
from .sweep import Sweep, SweepTerms
from .term import Term
from .upload_upkeep import UploadUpkeep
from .uploads import Uploads, UploadTerms

# Enough slabs for as many uploads as there are threads to write them; at most 8 MiB that nobody uses.
_KEPT_SLABS = 8
_LOCK_THREADS = 2  # they wait only while another process takes bytes away


@dataclass(frozen=True, slots=True)
class Resources:
    """The parts of one store."""

    config: StoreConfig
    clock: Callable[[], float]
    backend: Backend
    index: Index
    seeds: Seeds
    hot: HotGrants
    quarantine: Quarantine
    finisher: Finisher
    reception: Reception
    receiver: Receiver
    uploads: Uploads
    reading: ThreadPoolExecutor
    prompts: Prompts
    keys: Keys
    sweep: Sweep
    counts: StoreCounts
    files: Files
    erasure: Erasure


async def open_resources(
    config: StoreConfig,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
    shared: SharedFolder | None,
) -> Resources:
    """Open everything; what was opened is on the stack, also when this raises.

    A folder that is `shared` others may have open too.

    Raises:
        FolderInUseError, SchemaError, StoreFullError, StoreUnavailableError: see `Store.open`.
    """
    folder = config.data_folder
    loop = asyncio.get_running_loop()
    if folder is not None and shared is None:
        own = await loop.run_in_executor(None, lock_folder, folder)
        stack.callback(own.close)
    changes = Changes(random, None if shared is None else shared.memory)
    stack.callback(changes.close)
    reading = _threads(stack, "read", config.read_threads)
    writing = _threads(stack, "write", config.write_threads)
    async with _gate(folder):
        backend = await _open_backend(config, stack, writing, random, is_shared=shared is not None)
        database = await Database.open(
            folder and folder / INDEX_FILE, history="index", synchronous="FULL"
        )
        stack.push_async_callback(database.close)
        seeds = await open_seeds(database, folder and folder / "seed", now=clock(), random=random)
        index = Index(database)
        keys = Keys(database, clock=clock, random=random)
        stack.push_async_callback(keys.close)
        prompts = await _open_prompts(
            config, stack, index, backend, writing, clock, changes, is_shared=shared is not None
        )
        if folder is not None:
            await loop.run_in_executor(writing, _sync, folder)

    finisher = Finisher()
    stack.push_async_callback(finisher.close)
    counts = StoreCounts()
    hot = HotGrants(config.hot_entries, config.hot_seconds, changes)
    locks = _locks(stack, backend, shared)
    allowances = Allowances(index, config.quotas, config.max_store_bytes, clock)
    reception = Reception()
    stack.push_async_callback(reception.close)
    committer = Committer(
        index=index,
        hot=hot,
        locks=locks,
        allowances=allowances,
        lease=Term(config.lease_seconds),
        clock=clock,
    )
    slabs = PieceBuffers(SLAB_BYTES, kept=_KEPT_SLABS)
    receiver = Receiver(
        backend=backend,
        reception=reception,
        committer=committer,
        seeds=seeds,
        slabs=slabs,
        finisher=finisher,
        allowances=allowances,
        max_blob_bytes=config.max_blob_bytes,
    )
    uploads = Uploads(
        database=database,
        index=index,
        parts=backend.parts,
        reception=reception,
        committer=committer,
        seeds=seeds,
        slabs=slabs,
        finisher=finisher,
        allowances=allowances,
        counts=counts,
        terms=UploadTerms(
            config.upload_seconds, config.max_uploads_per_tenant, config.max_blob_bytes
        ),
        clock=clock,
        random=random,
    )
    upkeep = UploadUpkeep(
        database=database,
        parts=backend.parts,
        finisher=finisher,
        executor=writing,
        clock=clock,
    )
    await upkeep.reconcile()
    quarantine = Quarantine(
        backend=backend,
        index=index,
        hot=hot,
        seeds=seeds,
        locks=locks,
        finisher=finisher,
        executor=reading,
        clock=clock,
    )
    sweep = Sweep(
        database=database,
        backend=backend,
        hot=hot,
        locks=locks,
        finisher=finisher,
        prompts=prompts,
        uploads=upkeep,
        terms=SweepTerms(config.review_seconds, config.quarantine_seconds),
        executor=writing,
        counts=counts,
        clock=clock,
    )
    files = Files(
        database=database,
        prompts=prompts,
        hot=hot,
        finisher=finisher,
        clock=clock,
        random=random,
    )
    erasure = Erasure(
        database=database,
        backend=backend,
        hot=hot,
        locks=locks,
        finisher=finisher,
        prompts=prompts,
        uploads=upkeep,
        keys=keys,
        counts=counts,
        executor=writing,
        clock=clock,
    )
    return Resources(
        config,
        clock,
        backend,
        index,
        seeds,
        hot,
        quarantine,
        finisher,
        reception,
        receiver,
        uploads,
        reading,
        prompts,
        keys,
        sweep,
        counts,
        files,
        erasure,
    )


@asynccontextmanager
async def _gate(folder: Path | None) -> AsyncGenerator[None]:
    """Let one process at a time open a folder."""
    if folder is None:
        yield
        return
    gate = await asyncio.get_running_loop().run_in_executor(None, FileLock.wait, folder / "gate")
    try:
        yield
    finally:
        gate.close()


def _locks(stack: AsyncExitStack, backend: Backend, shared: SharedFolder | None) -> DigestLocks:
    if shared is None or not isinstance(backend, DiskBackend):
        return DigestLocks()
    return DigestLocks(FolderLocks(backend.folder_of, _threads(stack, "lock", _LOCK_THREADS)))


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
) -> Prompts:
    path = config.data_folder and config.data_folder / "prompts.sqlite"
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
    return prompts


def _threads(stack: AsyncExitStack, name: str, count: int) -> ThreadPoolExecutor:
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
