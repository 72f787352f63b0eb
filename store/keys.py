"""The keys of a store: who may ask it, for which tenant, and for what.

1. A secret is never stored: its SHA-256 is. Secrets are 200 random bits, so that no salt and no
   slow hash is needed. Hashes are compared in constant time, also for an id that no key has.
2. A key that was revoked or has expired stays in the list, and never opens anything again.
3. That a key is used is written beside the request, and at most once a minute for each key.
"""

import asyncio
import hashlib
import hmac
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from coatcheck.protocol import Key, Scope, parse_key

from .database import Database
from .durable import make_folder, sync_folder
from .errors import KeyNotFoundError, StoreError, disk_error
from .file_lock import FileLock
from .folder_use import FolderUse
from .key_table import (
    KeyInfo,
    add_key,
    any_exist,
    find_key,
    list_keys,
    revoke_key,
    use_key,
)
from .keyed import mark_keyed
from .restore import INDEX_FILE, is_lost, require_index

_USE_SECONDS = 60.0
_NO_HASH = bytes(32)
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: the only time that its text is there to be seen."""

    key: Key
    info: KeyInfo


class Keys:
    """Keys in one database, which the opener of the database closes after `close`."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        folder: Path | None = None,
    ) -> None:
        """`clock` gives Unix seconds; `folder` is the store's, if it has one."""
        self._database = database
        self._folder = folder
        self._clock = clock
        self._random = random
        self._used_at: dict[str, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    async def any_exist(self) -> bool:
        """Return whether a key was ever made here; one that was revoked counts.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        return await self._database.read(any_exist)

    async def mark(self) -> None:
        """See to it that a store with keys is known as one also without its index.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused, or the index cannot be read.
        """
        if self._folder is not None and await self.any_exist():
            await asyncio.to_thread(mark_keyed, self._folder)

    async def create(
        self,
        *,
        tenant: str | None,
        scopes: Collection[Scope],
        label: str = "",
        expires_at: float | None = None,
    ) -> NewKey:
        """Make a key. Without a tenant it is a daemon's, which asks for any.

        Raises:
            StoreFullError, StoreUnavailableError: the index cannot be written; there is no key.
        """
        key = Key.make(self._random)
        info = KeyInfo(key.id, tenant, frozenset(scopes), label, self._clock(), expires_at)
        if self._folder is not None:  # before there is one: losing the index opens no store
            await asyncio.to_thread(mark_keyed, self._folder)
        await self._database.run(lambda connection: add_key(connection, info, _hash(key)))
        return NewKey(key, info)

    async def list(self) -> Sequence[KeyInfo]:
        """Return every key that was ever made, oldest first.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        return await self._database.read(list_keys)

    async def revoke(self, key_id: str) -> KeyInfo:
        """End a key. May be called twice; the first time counts.

        Raises:
            KeyNotFoundError: no key has this id.
            StoreFullError, StoreUnavailableError: the index cannot be written.
        """
        now = self._clock()
        revoked = await self._database.run(lambda connection: revoke_key(connection, key_id, now))
        if revoked is None:
            raise KeyNotFoundError(key_id)
        return revoked

    async def verify(self, text: str) -> KeyInfo | None:
        """Return the key with this text if it is valid now, and note that it is used.

        Raises:
            StoreUnavailableError: the index cannot be read.
        """
        if (key := parse_key(text)) is None:
            return None
        found = await self._database.read(lambda connection: find_key(connection, key.id))
        info, expected = found or (None, _NO_HASH)
        is_right = hmac.compare_digest(_hash(key), expected)
        now = self._clock()
        if info is None or not is_right or not info.is_valid(now):
            return None
        self._note_use(info, now)
        return info

    async def close(self) -> None:
        """Wait for what is being written. May be called twice."""
        while self._writing:
            await asyncio.wait(self._writing)

    def _note_use(self, info: KeyInfo, now: float) -> None:
        used_at = self._used_at.get(info.id, info.last_used_at)
        if used_at is not None and 0 <= now - used_at < _USE_SECONDS:
            return
        self._used_at[info.id] = now
        task = asyncio.create_task(self._write_use(info.id, now))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write_use(self, key_id: str, now: float) -> None:
        before = now - _USE_SECONDS
        try:
            await self._database.run(lambda connection: use_key(connection, key_id, now, before))
        except StoreError as error:
            _logger.warning("the use of key %s was not written: %s", key_id, error)


@asynccontextmanager
async def open_keys(
    folder: Path,
    *,
    clock: Callable[[], float] = time.time,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> AsyncGenerator[Keys]:
    """Open the keys of a data folder alone, which a server may serve at the same time.

    Makes the folder and its index if need be.

    Raises:
        SchemaError: the folder belongs to a newer program.
        DamagedDatabaseError: the server has to put the index right first.
        StoreFullError, StoreUnavailableError: the disk refused.
    """
    async with AsyncExitStack() as stack:
        gate, use = await asyncio.to_thread(_prepare, folder)
        stack.callback(use.close)
        try:
            database = await Database.open(folder / INDEX_FILE, history="index", synchronous="FULL")
            stack.push_async_callback(database.close)
            await asyncio.to_thread(_sync, folder)
        finally:
            gate.close()
        keys = Keys(database, clock=clock, random=random, folder=folder)
        stack.push_async_callback(keys.close)
        yield keys


def has_index(folder: Path) -> bool:
    """Return whether a folder holds a store, be its index lost or not. Blocking."""
    return (folder / INDEX_FILE).is_file() or is_lost(folder)


def _hash(key: Key) -> bytes:
    return hashlib.sha256(key.secret.encode("ascii")).digest()


def _prepare(folder: Path) -> tuple[FileLock, FolderUse]:
    """Return the right to open the folder, and a share of it once it is open."""
    try:
        make_folder(folder)
    except OSError as error:
        raise disk_error(error) from error
    gate = FileLock.wait(folder / "gate")
    try:
        require_index(folder)
        return gate, FolderUse.open(folder)
    except BaseException:
        gate.close()
        raise


def _sync(folder: Path) -> None:
    try:
        sync_folder(folder)
    except OSError as error:
        raise disk_error(error) from error
