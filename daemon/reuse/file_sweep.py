"""Looking after files at providers: what a tenant holds no more is forgotten, and removed there.

It is removed where the upstream's settings have the key. Where clients bring it, nobody here can: then
the file expires, as all of them do.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import groupby

from coatcheck.store import StoreError

from ..errors import DaemonError
from ..source import BlobSource
from ..upstream import Upstreams
from .errors import FileError
from .files_api import FilesApi
from .ledger import Ledger, Noted
from .line import Line
from .owner import Owner, settled_owner

_log = logging.getLogger(__name__)
SWEEP_SECONDS = 300.0
"""From one look for blobs that are gone to the next; each asks for every blob there is."""
_PAGE = 1000  # blobs asked for at once
_FRESH_SECONDS = 60.0  # a file may be there before its blob is absorbed
_MAX_ROWS = 200_000  # some 100 MB of disk


class FileSweep:
    """Looks after the files of a ledger while it is `started`; close it. The ledger is another's."""

    def __init__(
        self,
        ledger: Ledger,
        apis: Mapping[str, FilesApi],
        upstreams: Upstreams,
        blobs: BlobSource,
        clock: Callable[[], float],
    ) -> None:
        """`clock` gives Unix seconds."""
        self._ledger = ledger
        self._apis = apis
        self._upstreams = upstreams
        self._blobs = blobs
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def start(self, seconds: float = SWEEP_SECONDS) -> None:
        """Sweep from time to time."""
        self._task = asyncio.create_task(self._run(seconds))

    async def close(self) -> None:
        """End it. May be called twice."""
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def sweep(self) -> None:
        """Forget what has expired, and what is held no more; remove that at its provider.

        Raises:
            StoreUnavailableError: whoever knows is away; what was removed until then stays removed.
            StoreError: the ledger failed.
        """
        await self._ledger.trim(self._clock(), _MAX_ROWS)
        owners = self._owners()
        page: Sequence[Noted] = ()
        while page := await self._ledger.page(page[-1].key if page else None, _PAGE):
            gone = [noted for noted in await self._unheld(page) if self._is_settled(noted)]
            await self._ledger.drop(noted.key for noted in gone)
            for noted in gone:
                await self._remove(noted, owners.get(noted.key.owner))

    def _owners(self) -> Mapping[str, Owner]:
        """Return the owners whose keys are here, by their names."""
        having = self._upstreams.having("file-id")
        found = (settled_owner(self._ledger.secret, upstream) for upstream in having)
        return {owner.name: owner for owner in found if owner}

    async def _unheld(self, page: Sequence[Noted]) -> Sequence[Noted]:
        gone: list[Noted] = []
        for tenant, rows in groupby(page, key=lambda noted: noted.key.tenant):
            noted = list(rows)
            held = await self._blobs.held(tenant, {each.original for each in noted})
            gone += [each for each in noted if each.original not in held]
        return gone

    def _is_settled(self, noted: Noted) -> bool:
        return noted.made_at < self._clock() - _FRESH_SECONDS

    async def _remove(self, noted: Noted, owner: Owner | None) -> None:
        if owner is None or noted.entry.name is None:
            return
        try:
            api = self._apis[owner.upstream.config.provider.name]
            await api.remove(Line(owner), noted.entry.name)
        except FileError as error:
            _log.info("a file was left to expire: %s", error)

    async def _run(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            with suppress(DaemonError):  # the store is away, and is asked again
                try:
                    await self.sweep()
                except StoreError as error:
                    _log.warning("files at providers were not looked through: %s", error)
