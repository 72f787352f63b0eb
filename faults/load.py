"""`python -m faults.load FOLDER LEDGER NAME [CARELESS]`: a store under load, until the power is cut.

Several uploads at once, of two tenants, small and long, with pins and releases. Each answer is
written to the ledger, on a disk that stays, and counted on the output. `files` or `folders` for
CARELESS lets go of syncing them, to show that the power cuts find what that costs.
"""

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from coatcheck.protocol import Digest
from coatcheck.store import Store, StoreConfig, StoreError

from .ledger import Ledger, Line, Mark, content

_TASKS = 6
_SIZES = (16, 900, 20_000, 70_000, 1_100_000)
_sync = os.fsync


class _Load:
    def __init__(self, store: Store, ledger: Ledger, name: str) -> None:
        self._store = store
        self._ledger = ledger
        self._name = name

    async def run(self, task: int) -> None:
        """Go on until the store fails."""
        tenant = "ab"[task % 2]
        for number in range(1_000_000):
            size = _SIZES[(number + task) % len(_SIZES)]
            digest = await self._put(tenant, f"{self._name} {task} {number}", size)
            if number % 5 == 1:
                await self._store.pin(tenant, digest)
                self._tell(Mark.DONE, "pin", tenant, digest)
            elif number % 5 == 3:
                self._tell(Mark.BEGUN, "release", tenant, digest)
                await self._store.release(tenant, digest)
                self._tell(Mark.DONE, "release", tenant, digest)
            elif number % 5 == 4:
                await self._put("ba"[task % 2], f"{self._name} {task} {number}", size)

    async def _put(self, tenant: str, name: str, size: int) -> Digest:
        data = content(name, size)
        digest = Digest.of(data)
        self._tell(Mark.BEGUN, "put", tenant, digest)
        receipt = await self._store.receive(tenant, _body(data))
        until = receipt.grant.lease_expires_at or 0.0
        self._tell(Mark.DONE, "put", tenant, digest, until)
        return digest

    def _tell(self, mark: Mark, step: str, tenant: str, digest: Digest, until: float = 0.0) -> None:
        self._ledger.write(Line(mark, step, tenant, digest, until=until))
        if mark is Mark.DONE:
            print(step, flush=True)


async def _body(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _sync_files_alone(descriptor: int) -> None:
    if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
        _sync(descriptor)


async def _main(folder: Path, ledger: Ledger, name: str) -> None:
    store = await Store.open(StoreConfig(folder, min_free_bytes=0))
    load = _Load(store, ledger, name)
    results = await asyncio.gather(*map(load.run, range(_TASKS)), return_exceptions=True)
    for error in results:
        if not isinstance(error, StoreError):
            ledger.write(Line(Mark.BROKEN, "load", text=repr(error)))


def main() -> None:
    """Load a store; wait at the end to be killed."""
    folder, path, name, *careless = sys.argv[1:]
    if careless == ["files"]:
        os.fsync = lambda fd: None
    elif careless == ["folders"]:
        os.fsync = _sync_files_alone  # type: ignore[assignment]
    ledger = Ledger(Path(path))
    asyncio.run(_main(Path(folder), ledger, name))
    ledger.close()


if __name__ == "__main__":
    main()
