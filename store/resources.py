"""What a store is made of, over what was opened; the stack closes it in reverse.

The order: what outlives the process (`opening.py`), the steps that must come to their end, uploads,
recovery.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass

from .allowance import Allowances
from .backend import Backend
from .body_spool import BodySpools
from .check import Check
from .commit import Committer
from .config import StoreConfig
from .counts import StoreCounts
from .digest_locks import DigestLocks, FolderLocks
from .disk_backend import DiskBackend
from .erase import Erasure
from .files import Files
from .finisher import Finisher
from .hot import HotGrants
from .index import Index
from .keys import Keys
from .opening import Kept, Opening, begin, gate, open_kept, threads
from .piece_buffers import PieceBuffers
from .prompts import Prompts
from .quarantine import Quarantine
from .receive import Receiver
from .reception import Reception
from .reconcile import Reconcile
from .recovery import Recovery
from .removal import Removal
from .responses import Responses
from .scrub import Scrub
from .sections import Sections
from .seed import Seeds
from .shared_folder import SharedFolder
from .signed_urls import SignedUrls
from .slab import SLAB_BYTES
from .sweep import Sweep
from .term import Term
from .upload_upkeep import UploadUpkeep
from .uploads import Uploads, UploadTerms
from .verdict import SweepTerms

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
    sections: Sections
    bodies: BodySpools
    reading: ThreadPoolExecutor
    prompts: Prompts
    responses: Responses
    keys: Keys
    signed_urls: SignedUrls
    sweep: Sweep
    counts: StoreCounts
    files: Files
    erasure: Erasure
    scrub: Scrub
    reconcile: Reconcile
    recovery: Recovery
    check: Check


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
    opening = await begin(config, stack, clock, random, shared)
    async with gate(config.data_folder):
        kept = await open_kept(opening)
    common = _common(opening, kept)
    upkeep = UploadUpkeep(
        database=kept.database,
        parts=kept.backend.parts,
        finisher=common.finisher,
        executor=opening.writing,
        clock=clock,
    )
    removal = _removal(opening, kept, common, upkeep)
    terms = SweepTerms(config.review_seconds, config.quarantine_seconds)
    sweep = Sweep(removal, terms)
    intake = _intake(opening, kept, common, sweep)
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
        sections=_sections(opening, kept, common, intake),
        bodies=kept.backend.bodies,
        reading=opening.reading,
        prompts=kept.prompts,
        responses=kept.responses,
        keys=kept.keys,
        signed_urls=kept.signed_urls,
        sweep=sweep,
        counts=common.counts,
        files=_files(opening, kept, common),
        erasure=Erasure(removal, kept.keys),
        scrub=_scrub(opening, kept, common, quarantine, reconcile),
        reconcile=reconcile,
        recovery=_recovery(opening, kept, reconcile),
        check=Check(index=kept.database, prompts=kept.prompts_database, reconcile=reconcile),
    )


def _common(opening: Opening, kept: Kept) -> _Common:
    finisher = Finisher()
    opening.stack.push_async_callback(finisher.close)
    return _Common(
        finisher=finisher,
        counts=StoreCounts(),
        hot=HotGrants(opening.config.hot_entries, opening.config.hot_seconds, opening.changes),
        locks=_locks(opening.stack, kept.backend, opening.shared),
    )


def _intake(opening: Opening, kept: Kept, common: _Common, sweep: Sweep) -> _Intake:
    config, clock = opening.config, opening.clock
    allowances = Allowances(
        kept.index, config.quotas, config.max_store_bytes, sweep.make_room, clock
    )
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


def _sections(opening: Opening, kept: Kept, common: _Common, intake: _Intake) -> Sections:
    return Sections(
        uploads=intake.uploads,
        database=kept.database,
        parts=kept.backend.parts,
        finisher=common.finisher,
        upload_seconds=opening.config.upload_seconds,
        clock=opening.clock,
        random=opening.random,
    )


def _quarantine(opening: Opening, kept: Kept, common: _Common) -> Quarantine:
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


def _removal(opening: Opening, kept: Kept, common: _Common, upkeep: UploadUpkeep) -> Removal:
    return Removal(
        database=kept.database,
        backend=kept.backend,
        hot=common.hot,
        locks=common.locks,
        finisher=common.finisher,
        prompts=kept.prompts,
        responses=kept.responses,
        uploads=upkeep,
        executor=opening.writing,
        counts=common.counts,
        clock=opening.clock,
    )


def _files(opening: Opening, kept: Kept, common: _Common) -> Files:
    return Files(
        database=kept.database,
        prompts=kept.prompts,
        hot=common.hot,
        finisher=common.finisher,
        clock=opening.clock,
        random=opening.random,
    )


def _reconcile(opening: Opening, kept: Kept, common: _Common, quarantine: Quarantine) -> Reconcile:
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
    opening: Opening,
    kept: Kept,
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


def _recovery(opening: Opening, kept: Kept, reconcile: Reconcile) -> Recovery:
    """Return what recovers in the background; it has begun where the last end was not clean."""
    recovery = Recovery(reconcile, opening.config.data_folder)
    opening.stack.push_async_callback(recovery.close)
    if not kept.was_clean:
        recovery.start()
    opening.clean_end.recovery = recovery
    return recovery


def _locks(stack: AsyncExitStack, backend: Backend, shared: SharedFolder | None) -> DigestLocks:
    if shared is None or not isinstance(backend, DiskBackend):
        return DigestLocks()
    return DigestLocks(FolderLocks(backend.folder_of, threads(stack, "lock", _LOCK_THREADS)))
