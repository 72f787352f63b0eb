"""The mark that a store has ever had a key, kept apart from the index.

If the index is lost, and the keys with it, the store must not open to everybody. So the mark is on the
disk before the first key is.
"""

import os
from pathlib import Path
from typing import Final

from .durable import let_go, sync_folder
from .errors import disk_errors

_NAME: Final = "keyed"


@disk_errors()
def mark_keyed(folder: Path) -> None:
    """Make the mark, durably. May be called twice. Blocking.

    Raises:
        StoreFullError, StoreUnavailableError: the disk refused.
    """
    if is_keyed(folder):
        return
    descriptor = os.open(folder / _NAME, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.fsync(descriptor)
    finally:
        let_go(descriptor)
    sync_folder(folder)


@disk_errors()
def is_keyed(folder: Path) -> bool:
    """Return whether the mark is there. Blocking."""
    return (folder / _NAME).exists()
