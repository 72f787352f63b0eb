"""Whether the last process that had a folder came to its own end.

A mark says so from the end of one to the begin of the next. Several processes that share a folder make
none: one of them may have died while others went on.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from .durable import let_go, sync_folder
from .errors import disk_error

_NAME: Final = "clean"


def begin_unclean(folder: Path) -> bool:
    """Remove the mark and return whether there was one. Blocking.

    It is gone for good when the folder is synced.

    Raises:
        StoreUnavailableError: the disk refused.
    """
    try:
        (folder / _NAME).unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise disk_error(error) from error
    return True


def end_clean(folder: Path) -> None:
    """Make the mark, if the disk takes it: without it the next start looks at all blobs. Blocking."""
    with contextlib.suppress(OSError):
        let_go(os.open(folder / _NAME, os.O_WRONLY | os.O_CREAT, 0o600))
        sync_folder(folder)
