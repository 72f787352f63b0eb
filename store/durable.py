"""Names that survive a power cut.

A file's name is in its folder, so the folder has to reach the disk as well: without that an
acknowledged blob was lost in simulated power cuts. An fsync that fails is never called again
on the same file, because the kernel may have dropped the dirty pages and would then report
success (Rebello et al., "Can Applications Recover from fsync Failures?", USENIX ATC 2020).
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from coatcheck.protocol import Buffer

_MAX_PARTS = os.sysconf("SC_IOV_MAX")


def sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk. Blocking.

    Raises:
        OSError: they may not be there; what depends on them has failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        let_go(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, readable by the owner alone, and sync each new name.

    Does nothing when the folder is there. Blocking.

    Raises:
        OSError: it could not be made or synced.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    sync_folder(folder.parent)


def replace_private(path: Path, data: bytes) -> None:
    """Put a file in place whole, readable by the owner alone, synced. Blocking.

    One process at a time may do so for one path.

    Raises:
        OSError: the old one is still there, or the new one is.
    """
    spooled = path.with_suffix(".new")
    spooled.unlink(missing_ok=True)
    descriptor = os.open(spooled, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        write_all(descriptor, [data])
        os.fsync(descriptor)
    finally:
        let_go(descriptor)
    spooled.rename(path)
    sync_folder(path.parent)


def let_go(descriptor: int) -> None:
    """Close a file of which nothing waits to be written: it was synced, only read, or is a lock.

    Whatever closing says, Linux has closed it, and nothing is lost.
    """
    with contextlib.suppress(OSError):
        os.close(descriptor)


def write_all(descriptor: int, parts: Sequence[Buffer]) -> None:
    """Write all parts, one after another. Blocking; not synced.

    Raises:
        OSError: some of it may be written.
    """
    left = [memoryview(part).cast("B") for part in parts if len(part)]
    while left:
        count = os.writev(descriptor, left[:_MAX_PARTS])
        while left and count >= left[0].nbytes:
            count -= left.pop(0).nbytes
        if count:
            left[0] = left[0][count:]
