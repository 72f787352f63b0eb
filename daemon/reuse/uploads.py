"""Uploads to providers: each blob once for a tenant and an owner, however many turns ask.

In a process those who ask at the same time share one task, which ends when none of them waits any
more. Processes share the ledger: where two upload the same at the same time, one file is used and the
other one removed. What cannot be uploaded goes as bytes, and goes on so for a while: an upstream's
prompt cache knows a prompt by its beginning.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from coatcheck.store import StoreError

from ..errors import DaemonError
from ..meters import Meters
from .errors import FileError, OwnerRefusedError
from .files_api import FilesApi, ProviderFile
from .ledger import Entry, FileKey, Ledger
from .line import Line
from .offer import Offer
from .owner import Owner

_log = logging.getLogger(__name__)
MARGIN_SECONDS = 600.0
"""Before it expires a file is not named any more: a turn that names it is to be read until then."""
REFUSED_SECONDS = 3600.0
"""How long the bytes go of a blob that the provider does not take."""
FAILED_SECONDS = 300.0
"""The same where it may take it later: as long as providers keep a prompt, without being paid for it."""
_RESTING_SECONDS = 15.0  # an owner that takes nothing is not asked by every turn
_MAX_RESTING_SECONDS = 300.0
_MAX_OWNERS = 4096
_AT_ONCE = 8  # uploads of a process: each holds a piece of a blob
_BASE_SECONDS, _BYTES_PER_SECOND = 60.0, 256 * 1024  # patience with an upload


@dataclass(slots=True)
class _Running:
    task: asyncio.Task[Entry]
    waiting: int = 0


class Uploads:
    """Uploads for one process. Owns its tasks; close it. The ledger is another's."""

    def __init__(
        self,
        ledger: Ledger,
        meters: Meters,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._ledger = ledger
        self._meters = meters
        self._clock = clock
        self._random = random
        self._running: dict[FileKey, _Running] = {}
        self._resting: dict[str, float] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._removing: set[asyncio.Task[None]] = set()

    async def upload(
        self, key: FileKey, owner: Owner, api: FilesApi, offer: Offer, seconds: int
    ) -> Entry:
        """Return what stands for a blob from now on, by this call's upload or by somebody else's.

        The file is to be at the provider for so many `seconds`.
        """
        running = self._running.get(key)
        if running is None:
            uploading = self._upload(key, owner, api, offer, seconds)
            running = _Running(asyncio.create_task(uploading))
            self._running[key] = running
            running.task.add_done_callback(partial(self._done, key, running))
        running.waiting += 1
        try:
            await asyncio.wait([running.task])
        finally:
            running.waiting -= 1
            if not running.waiting:
                self._forget(key, running)  # nobody else is to wait for what ends
                running.task.cancel()  # without effect once it is done
        return running.task.result()

    async def close(self) -> None:
        """End what is under way. May be called twice."""
        uploading = [running.task for running in self._running.values()]
        removing = list(self._removing)
        for task in (*uploading, *removing):
            task.cancel()
        await asyncio.gather(*uploading, return_exceptions=True)
        await asyncio.gather(*removing, return_exceptions=True)

    def _forget(self, key: FileKey, running: _Running) -> None:
        if self._running.get(key) is running:
            del self._running[key]

    def _done(self, key: FileKey, running: _Running, task: asyncio.Task[Entry]) -> None:
        self._forget(key, running)
        if not task.cancelled():
            task.exception()  # whoever asked has been told, or has gone

    async def _upload(
        self, key: FileKey, owner: Owner, api: FilesApi, offer: Offer, seconds: int
    ) -> Entry:
        try:
            if known := (await self._ledger.find([key], self._clock())).get(key):
                return known  # by who asked before, since this one looked
            entry = await self._sent(owner, api, offer, seconds)
            kept = await self._ledger.put(key, offer.original, entry, self._clock())
        except StoreError as error:
            _log.warning("what a provider keeps cannot be noted: %s", error)
            return Entry(None, None, self._clock())
        if entry.name is not None and kept.name != entry.name:
            self._remove_later(owner, api, entry.name)
        return kept

    async def _sent(self, owner: Owner, api: FilesApi, offer: Offer, seconds: int) -> Entry:
        """Upload a blob; where that fails, its bytes go for a while."""
        now = self._clock()
        if self._resting.get(owner.name, 0.0) > now:
            self._meters.reused("file-id", "failed")
            return Entry(None, None, now + FAILED_SECONDS)
        try:
            async with (
                self._places,
                asyncio.timeout(_BASE_SECONDS + offer.size / _BYTES_PER_SECOND),
            ):
                boundary = self._random(16).hex()
                file = await api.upload(Line(owner), offer, seconds, boundary)
        except (FileError, DaemonError, TimeoutError) as error:
            return self._failed(owner, error)
        self._meters.reused("file-id", "uploaded")
        return Entry(file.file, file.name, self._until(file, seconds))

    def _failed(self, owner: Owner, error: Exception) -> Entry:
        name = owner.upstream.config.name
        _log.warning("upstream %s got bytes in place of a file: %s", name, error)
        self._meters.reused("file-id", "failed")
        now = self._clock()
        if isinstance(error, OwnerRefusedError):
            asked = error.retry_after_seconds or _RESTING_SECONDS
            if len(self._resting) >= _MAX_OWNERS:
                self._resting = {key: end for key, end in self._resting.items() if end > now}
            self._resting[owner.name] = now + min(asked, _MAX_RESTING_SECONDS)
        is_final = isinstance(error, FileError) and not error.retryable
        return Entry(None, None, now + (REFUSED_SECONDS if is_final else FAILED_SECONDS))

    def _until(self, file: ProviderFile, seconds: int) -> float:
        """Return until when a file is named: by this clock, should the provider's be ahead of it."""
        now = self._clock()
        expires_at = now + seconds if file.expires_at is None else file.expires_at
        return min(expires_at, now + seconds) - MARGIN_SECONDS

    def _remove_later(self, owner: Owner, api: FilesApi, name: str) -> None:
        """Remove a file that another process's took the place of; it expires anyway."""

        async def remove() -> None:
            try:
                await api.remove(Line(owner), name)
            except FileError as error:
                _log.info("a file was left to expire: %s", error)

        task = asyncio.create_task(remove())
        self._removing.add(task)
        task.add_done_callback(self._removing.discard)
