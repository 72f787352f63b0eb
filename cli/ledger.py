"""The ledger of a process: what providers keep of its tenants' blobs, where it is, that it is closed."""

import asyncio
import secrets
from contextlib import AsyncExitStack
from pathlib import Path

from coatcheck import daemon

from .settings import Settings

__all__ = ["open_ledger"]

_NOTING = frozenset({"file-id", "uuid"})


async def open_ledger(
    settings: Settings, folder: Path, stack: AsyncExitStack
) -> daemon.Ledger | None:
    """Open the ledger, in a folder that is there, if an upstream's reuse mode needs one.

    Without one, what an earlier setting left is removed: nobody looks after it any more, and what it
    names expires. The stack closes it.

    Raises:
        StoreError: it cannot be used.
    """
    path = folder / daemon.LEDGER_FILE
    if all(item.reuse not in _NOTING for item in settings.upstream):
        await asyncio.to_thread(_remove, path)
        return None
    ledger = await daemon.Ledger.open(path, secrets.token_bytes)
    stack.push_async_callback(ledger.close)
    return ledger


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm", "-turn"):
        path.with_name(path.name + end).unlink(missing_ok=True)
