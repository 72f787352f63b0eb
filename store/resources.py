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
from .check import Check
from .clean_end import begin_unclean, end_clean
from .commit import Committer
from .config import StoreConfig
from .counts import StoreCounts
from .database import Database
from .digest_locks import DigestLocks, FolderLocks
from .disk_backend import DiskBackend
from .durable import sync_folder
from .erase import Erasure
from .errors import disk_error, disk_errors
from .file_lock import FileLock, lock_folder
from .files import Files
from .finisher import Finisher
from .folder_use import FolderUse
from .hot import HotGrants
from .index import Index
from .keys import Keys
from .memory_backend import MemoryBackend
from .piece_buffers import PieceBuffers
from .prompts import Prompts
from .quarantine import Quarantine
from .receive import Receiver
from .reception import Reception
from .reconcile import Reconcile
from .recovery import Recovery
from .restore import INDEX_FILE, PROMPTS_FILE, Restore
from .scrub import Scrub
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
    scrub: Scrub
    reconcile: Reconcile
    recovery: Recovery
    check: Check


@dataclass(frozen=True, slots=True)
class _Opening:
    """What a store is opened with, and the threads that it was given."""

    config: StoreConfig
    stack: AsyncExitStack
    clock: Callable[[], float]
    random: Callable[[int], bytes]
    shared: SharedFolder | None
    changes: Changes
    reading: ThreadPoolExecutor
    writing: ThreadPoolExecutor
    clean_end: "_CleanEnd"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What outlives the process, unless it is kept in memory."""

    backend: DiskBackend | MemoryBackend
    database: Database
    seeds: Seeds
    index: Index
    keys: Keys
    prompts: Prompts
    prompts_database: Database
    was_clean: bool
    """Whether nothing has to be reconciled."""


@dataclass(frozen=True, slots=True)
class _Common:
    """What the parts that change the store have in common."""

    finisher: Finisher
    counts: StoreCounts
    hot: HotGrants
    locks: DigestLocks


@dataclass(frozen=True, slots=True)
class _Intake:
    """The one verified way in, for bodies of one request and of several."""

    reception: Reception
    receiver: Receiver
    uploads: Uploads


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
    opening = await _begin(config, stack, clock, random, shared)
    async with _gate(config.data_folder):
        kept = await _open_kept(opening)
    common = _common(opening, kept)
    intake = _intake(opening, kept, common)
    upkeep = UploadUpkeep(
        database=kept.database,
        parts=kept.backend.parts,
        finisher=common.finisher,
        executor=opening.writing,
        clock=clock,
    )
    await upkeep.reconcile()
    quarantine = _quarantine(opening, kept, common)
    reconcile = _reconcile(opening, kept, common, quarantine)
    return Resources(
        config=config,
        clock=clock,
        backend=kept.backend,
        index=kept.index,
        seeds=kept.seeds,
        hot=common.hot,
        quarantine=quarantine,
        finisher=common.finisher,
        reception=intake.reception,
        receiver=intake.receiver,
        uploads=intake.uploads,
        reading=opening.reading,
        prompts=kept.prompts,
        keys=kept.keys,
        sweep=_sweep(opening, kept, common, upkeep),
        counts=common.counts,
        files=_files(opening, kept, common),
        erasure=_erasure(opening, kept, common, upkeep),
        scrub=_scrub(opening, kept, common, quarantine, reconcile),
        reconcile=reconcile,
        recovery=_recovery(opening, kept, reconcile),
        check=Check(index=kept.database, prompts=kept.prompts_database, reconcile=reconcile),
    )


async def _begin(
    config: StoreConfig,
    stack: AsyncExitStack,
    clock: Callable[[], float],
    random: Callable[[int], bytes],
    shared: SharedFolder | None,
) -> _Opening:
    """Take the folder, unless it is shared, and start the threads."""
    if config.data_folder is not None and shared is None:
        loop = asyncio.get_running_loop()
        own = await loop.run_in_executor(None, lock_folder, config.data_folder)
        stack.callback(own.close)
    changes = Changes(random, None if shared is None else shared.memory)
    stack.callback(changes.close)
    reading = _threads(stack, "read", config.read_threads)
    writing = _threads(stack, "write", config.write_threads)
    clean_end = _CleanEnd(config.data_folder if shared is None else None)
    stack.callback(clean_end.close)
    return _Opening(config, stack, clock, random, shared, changes, reading, writing, clean_end)


async def _open_kept(opening: _Opening) -> _Kept:
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
    index = Index(database)
    keys = Keys(database, clock=clock, random=random, folder=folder)
    await keys.mark()
    stack.push_async_callback(keys.close)
    prompts, prompts_database = await _open_prompts(
        config, stack, index, backend, opening.writing, clock, opening.changes, is_shared=is_shared
    )
    if folder is not None:
        await loop.run_in_executor(opening.writing, _sync, folder)
    return _Kept(backend, database, seeds, index, keys, prompts, prompts_database, was_clean)


def _common(opening: _Opening, kept: _Kept) -> _Common:
    finisher = Finisher()
    opening.stack.push_async_callback(finisher.close)
    return _Common(
        finisher=finisher,
        counts=StoreCounts(),
        hot=HotGrants(opening.config.hot_entries, opening.config.hot_seconds, opening.changes),
        locks=_locks(opening.stack, kept.backend, opening.shared),
    )


def _intake(opening: _Opening, kept: _Kept, common: _Common) -> _Intake:
    config, clock = opening.config, opening.clock
    allowances = Allowances(kept.index, config.quotas, config.max_store_bytes, clock)
    slabs = PieceBuffers(SLAB_BYTES, kept=_KEPT_SLABS)
    reception = Reception()
    opening.stack.push_async_callback(reception.close)
    committer = Committer(
        index=kept.index,
        hot=common.hot,
        locks=common.locks,
        allowances=allowances,
        lease=Term(config.lease_seconds),
        clock=clock,
    )
    receiver = Receiver(
        backend=kept.backend,
        reception=reception,
        committer=committer,
        seeds=kept.seeds,
        slabs=slabs,
        finisher=common.finisher,
        allowances=allowances,
        max_blob_bytes=config.max_blob_bytes,
    )
    uploads = Uploads(
        database=kept.database,
        index=kept.index,
        parts=kept.backend.parts,
        reception=reception,
        committer=committer,
        seeds=kept.seeds,
        slabs=slabs,
        finisher=common.finisher,
        allowances=allowances,
        counts=common.counts,
        terms=UploadTerms(
            config.upload_seconds, config.max_uploads_per_tenant, config.max_blob_bytes
        ),
        clock=clock,
        random=opening.random,
    )
    return _Intake(reception, receiver, uploads)


def _quarantine(opening: _Opening, kept: _Kept, common: _Common) -> Quarantine:
    return Quarantine(
        backend=kept.backend,
        index=kept.index,
        hot=common.hot,
        seeds=kept.seeds,
        locks=common.locks,
        finisher=common.finisher,
        executor=opening.reading,
        clock=opening.clock,
    )


def _sweep(opening: _Opening, kept: _Kept, common: _Common, upkeep: UploadUpkeep) -> Sweep:
    return Sweep(
        database=kept.database,
        backend=kept.backend,
        hot=common.hot,
        locks=common.locks,
        finisher=common.finisher,
        prompts=kept.prompts,
        uploads=upkeep,
        terms=SweepTerms(opening.config.review_seconds, opening.config.quarantine_seconds),
        executor=opening.writing,
        counts=common.counts,
        clock=opening.clock,
    )


def _files(opening: _Opening, kept: _Kept, common: _Common) -> Files:
    return Files(
        database=kept.database,
        prompts=kept.prompts,
        hot=common.hot,
        finisher=common.finisher,
        clock=opening.clock,
        random=opening.random,
    )


def _erasure(opening: _Opening, kept: _Kept, common: _Common, upkeep: UploadUpkeep) -> Erasure:
    return Erasure(
        database=kept.database,
        backend=kept.backend,
        hot=common.hot,
        locks=common.locks,
        finisher=common.finisher,
        prompts=kept.prompts,
        uploads=upkeep,
        keys=kept.keys,
        counts=common.counts,
        executor=opening.writing,
        clock=opening.clock,
    )


def _reconcile(
    opening: _Opening, kept: _Kept, common: _Common, quarantine: Quarantine
) -> Reconcile:
    return Reconcile(
        database=kept.database,
        index=kept.index,
        backend=kept.backend,
        quarantine=quarantine,
        locks=common.locks,
        finisher=common.finisher,
        executor=opening.reading,
        clock=opening.clock,
    )


def _scrub(
    opening: _Opening,
    kept: _Kept,
    common: _Common,
    quarantine: Quarantine,
    reconcile: Reconcile,
) -> Scrub:
    return Scrub(
        database=kept.database,
        backend=kept.backend,
        quarantine=quarantine,
        reconcile=reconcile,
        seeds=kept.seeds,
        finisher=common.finisher,
        executor=opening.reading,
        counts=common.counts,
        folder=opening.config.data_folder,
        clock=opening.clock,
    )


def _recovery(opening: _Opening, kept: _Kept, reconcile: Reconcile) -> Recovery:
    """Return what recovers in the background; it has begun where the last end was not clean."""
    recovery = Recovery(reconcile, opening.config.data_folder)
    opening.stack.push_async_callback(recovery.close)
    if not kept.was_clean:
        recovery.start()
    opening.clean_end.recovery = recovery
    return recovery


class _CleanEnd:
    """Makes the mark of a clean end when the store that has its folder alone is closed."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.recovery: Recovery | None = None
        """Of a store that was opened."""

    def close(self) -> None:
        if self._folder is not None and self.recovery is not None and self.recovery.is_over:
            end_clean(self._folder)


@disk_errors()
def _begin_use(folder: Path | None) -> bool:
    """Return whether nothing has to be reconciled: the last end was clean, or there was none."""
    if folder is None:
        return True
    is_new = not (folder / INDEX_FILE).exists() and not (folder / "blobs").exists()
    return begin_unclean(folder) or is_new


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
