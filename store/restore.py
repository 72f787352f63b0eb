"""Databases that are lost or damaged, put right before anybody opens them.

A new index is made beside the old one, brought to the disk, and named `index.sqlite.rebuilt` when it is
whole. From then on it is the index: whoever opens the folder moves the old files to
`quarantine/index-<n>` and gives it their name. A crash before that costs a new beginning, a crash after
it nothing. Nothing of the old one is deleted.

Prompts that cannot be read are moved aside too and begun anew, which costs `prompt_not_found`.
"""

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .backend import Backend
from .database import Database, sql_error
from .durable import let_go, make_folder, sync_folder
from .errors import DamagedDatabaseError, disk_errors
from .folder_use import FolderUse
from .health import clear_note, examine, has_table, is_damage_noted
from .keyed import is_keyed
from .rebuild import RebuildTerms, Rebuilt, rebuild_index

INDEX_FILE: Final = "index.sqlite"
PROMPTS_FILE: Final = "prompts.sqlite"
_MAGIC: Final = b"SQLite format 3\0"
_PARTS: Final = ("-wal", "-shm", "")  # the log first: it must not meet another file of its name
_LEFT_BY_REBUILD: Final = (
    *("", "-wal", "-shm", "-journal", "-turn"),
    *("-grafted", "-grafted-wal", "-grafted-shm"),
)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Restore:
    """Puts the databases of one folder right, while nobody else opens it."""

    folder: Path
    backend: Backend
    lease_seconds: float
    clock: Callable[[], float]
    monotonic: Callable[[], float] = time.monotonic

    async def run(self, use: FolderUse) -> None:
        """Do what is needed; next to nothing where all is well.

        Raises:
            DamagedDatabaseError: others have the folder open, and only a restart can put it right.
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        in_thread = asyncio.to_thread
        if not await in_thread(use.be_alone):
            await in_thread(require_index, self.folder)
            return
        try:
            index = self.folder / INDEX_FILE
            await in_thread(_settle, index)
            reason = await in_thread(self._reason)
            if reason is not None:
                await self._rebuild(index, reason)
            prompts = self.folder / PROMPTS_FILE
            if (reason := await in_thread(_look, prompts)) is not None:
                _logger.error("the prompts are damaged and are begun anew: %s", reason)
                await in_thread(_put_aside, prompts)
        finally:
            use.share()

    @disk_errors()
    def _reason(self) -> str | None:
        """Return why there has to be a new index, or None."""
        index = self.folder / INDEX_FILE
        is_there = index.is_file() and index.stat().st_size > 0
        if is_there and (reason := _look(index)) is not None and self._is_ours(index):
            return reason
        if is_lost(self.folder):
            return "it is lost"
        return None

    def _is_ours(self, index: Path) -> bool:
        """Return whether it is no foreign file in a foreign folder, which opening it refuses."""
        return is_keyed(self.folder) or _has_blobs(self.folder) or _is_database(index)

    async def _rebuild(self, index: Path, reason: str) -> None:
        _logger.error("a new index is made from the blobs: %s", reason)
        began = self.monotonic()
        new = index.with_name(f"{index.name}.rebuilding")
        await asyncio.to_thread(_remove, new)
        database = await Database.open(new, history="index", synchronous="NORMAL")
        await database.close()
        rebuilt = await asyncio.to_thread(self._fill, new, index)
        await asyncio.to_thread(_settle, index)
        await asyncio.to_thread(_remove, new)
        _tell(rebuilt, self.monotonic() - began)

    @disk_errors()
    def _fill(self, new: Path, old: Path) -> Rebuilt:
        terms = RebuildTerms(
            now=self.clock(),
            lease_seconds=self.lease_seconds,
            is_keyed=is_keyed(self.folder),
            monotonic=self.monotonic,
        )
        try:
            rebuilt = rebuild_index(new, old, self.backend, terms)
            _sync(new)
            new.rename(_ready(old))
            sync_folder(old.parent)
        except sqlite3.Error as error:
            raise sql_error(error) from error
        return rebuilt


@disk_errors()
def require_index(folder: Path) -> None:
    """Refuse a folder whose index a start of the server has to put right first. Blocking.

    Raises:
        DamagedDatabaseError: it has blobs and no index, or a new index lies ready.
    """
    if is_lost(folder) or _ready(folder / INDEX_FILE).exists():
        raise DamagedDatabaseError(
            f"the index of {folder} is lost or damaged; stop what uses the folder and start the "
            "server, which makes a new one"
        )


@disk_errors()
def is_lost(folder: Path) -> bool:
    """Return whether a folder has blobs, and no index of them. Blocking.

    Raises:
        StoreUnavailableError: the disk does not let the index be read.
    """
    return _has_blobs(folder) and not has_table(folder / INDEX_FILE, "blobs")


def _has_blobs(folder: Path) -> bool:
    root = folder / "blobs" / "sha256"
    if not root.exists():
        return False
    shards = [root / name for name in os.listdir(root)]
    return any(os.listdir(shard) for shard in shards if shard.is_dir())


@disk_errors()
def _is_database(path: Path) -> bool:
    """Return whether a file begins as one of SQLite's does."""
    with path.open("rb") as file:
        return file.read(len(_MAGIC)) == _MAGIC


@disk_errors()
def _look(path: Path) -> str | None:
    """Return what is wrong with a database; None where there is none, or nothing is."""
    if not path.is_file() or not path.stat().st_size:
        return None
    noted = is_damage_noted(path)
    reason = examine(path, whole=noted)
    if reason is not None:  # a disk that reads wrongly once is no reason to take anything away
        reason = examine(path, whole=True)
    if noted and reason is None:
        _logger.warning("%s was said to be damaged, and is sound", path.name)
        clear_note(path)
    return reason


@disk_errors()
def _settle(index: Path) -> None:
    """Put a new index that is whole in the place of the old one."""
    ready = _ready(index)
    if ready.exists():
        _put_aside(index)
        ready.rename(index)
        sync_folder(index.parent)


@disk_errors()
def _put_aside(path: Path) -> None:
    """Move a database with its log to the quarantine, and what was noted of it away."""
    parts = [there for part in _PARTS if (there := path.with_name(path.name + part)).exists()]
    if parts:
        aside = _aside(path)
        for there in parts:
            there.rename(aside / there.name)
        sync_folder(aside)
        sync_folder(path.parent)
        _logger.warning("the old files are in %s", aside)
    clear_note(path)


def _aside(path: Path) -> Path:
    """Return a new folder in the quarantine, or the last one if a crash left it without the file."""
    root = path.parent / "quarantine"
    make_folder(root)
    number = 1
    while (aside := root / f"{path.stem}-{number}").exists():
        if not (aside / path.name).exists():
            return aside
        number += 1
    make_folder(aside)
    return aside


def _ready(index: Path) -> Path:
    return index.with_name(f"{index.name}.rebuilt")


@disk_errors()
def _remove(path: Path) -> None:
    """Remove what a rebuild left that came to no end."""
    for part in _LEFT_BY_REBUILD:
        path.with_name(path.name + part).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        let_go(descriptor)


def _tell(rebuilt: Rebuilt, seconds: float) -> None:
    _logger.warning(
        "the new index has %d blobs, %d of them granted, %d grants and %d keys; %d granted blobs "
        "have no bytes and answer as not found; it took %.1f s",
        rebuilt.blobs,
        rebuilt.granted_blobs,
        rebuilt.grants,
        rebuilt.keys,
        rebuilt.missing_blobs,
        seconds,
    )
    if rebuilt.given_grants:
        _logger.warning(
            "%d blobs whose grants were lost were given to the one tenant, with a new lease",
            rebuilt.given_grants,
        )
    if rebuilt.blobs > rebuilt.granted_blobs:
        _logger.warning(
            "%d blobs are named by no grant that could be read; they are condemned, and clients "
            "that are told so upload them again",
            rebuilt.blobs - rebuilt.granted_blobs,
        )
    if rebuilt.is_closed:
        _logger.error(
            "no key could be read, and this store has had keys: it answers nobody until you make "
            "new ones with `coatcheck keys create`"
        )
