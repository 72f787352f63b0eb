"""Where an upload's bytes lie while they are received in one request: one temporary file each."""

import contextlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from coatcheck.protocol import Buffer, Digest

from .disk_space import Claim, DiskSpace
from .disk_turn import in_turn
from .durable import let_go, sync_folder, write_all
from .errors import StoreUnavailableError


class DiskSpool:
    """A `Spool` over one temporary file, made at the first write."""

    def __init__(
        self,
        path: Path,
        blob_path: Callable[[Digest], Path],
        space: DiskSpace,
        executor: Executor,
    ) -> None:
        self._file = _SpoolFile(path, space)
        self._blob_path = blob_path
        self._executor = executor
        self._is_begun = False

    async def reserve(self, total_bytes: int) -> None:
        """Set disk aside; see `Spool.reserve`."""
        await self._run(lambda: self._file.reserve(total_bytes))

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append; see `Spool.write`."""

        def work() -> None:
            self._file.append(parts)
            beside()

        await self._run(work)

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Make what was written a blob; see `Spool.commit`."""

        def work() -> None:
            self._file.append(rest)
            self._file.become(self._blob_path(digest))

        await self._run(work)
        self._is_begun = False

    async def discard(self) -> None:
        """Remove what is left; see `Spool.discard`."""
        if self._is_begun:
            await self._run(self._file.remove)

    async def _run(self, work: Callable[[], None]) -> None:
        self._is_begun = True
        await in_turn(self._executor, work)


class _SpoolFile:
    """The temporary file and the disk set aside for it. Blocking.

    One call at a time: a call that was cancelled may still run when the next one comes.
    """

    def __init__(self, path: Path, space: DiskSpace) -> None:
        self._path = path
        self._claim = Claim(space)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._written_bytes = 0
        self._is_over = False

    def reserve(self, total_bytes: int) -> None:
        with self._lock:
            self._require_running()
            self._claim.reserve(total_bytes - self._written_bytes)

    def append(self, parts: Sequence[Buffer]) -> None:
        count = sum(map(len, parts))
        with self._lock:
            self._require_running()
            self._claim.reserve(count)
            if self._descriptor is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            write_all(self._descriptor, parts)
            self._written_bytes += count
            self._claim.wrote(count)

    def become(self, blob: Path) -> None:
        """Bring the bytes to the disk, then to their name, then the name to the disk."""
        with self._lock:
            self._require_running()
            assert self._descriptor is not None, "something was written"
            os.fsync(self._descriptor)
            self._path.rename(blob)
            sync_folder(blob.parent)
            self._end()

    def remove(self) -> None:
        """Remove the file, if it is still here. May be called twice."""
        with self._lock:
            if not self._is_over:
                self._end()
                with contextlib.suppress(OSError):  # cleared when the spool is next opened
                    self._path.unlink(missing_ok=True)

    def _require_running(self) -> None:
        if self._is_over:  # by `remove`, which overtook a cancelled call
            raise StoreUnavailableError("the upload was discarded")

    def _end(self) -> None:
        self._is_over = True
        self._claim.end()
        if self._descriptor is not None:
            let_go(self._descriptor)
