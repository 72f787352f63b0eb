"""Blobs as plain files, one each, named by all 64 digits of their digest.

    blobs/sha256/<first 2 digits>/<64 digits>
    spool/<owner>/<n>.part
    quarantine/<64 digits>

A blob appears under its name in one step, after its bytes are on the disk: fsync(file), rename,
fsync(folder). All 256 folders are made at open, so that committing a digest costs the same
whether or not one like it was there before. An fsync that fails ends the upload and is never
called again on that file.
"""

import asyncio
import contextlib
import errno
import os
import stat
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING

import aiofiles

from coatcheck.protocol import Buffer, Digest

from .disk_space import DiskSpace
from .durable import make_folder, sync_folder
from .errors import StoreUnavailableError, disk_error
from .spool_folder import SpoolFolder

if TYPE_CHECKING:
    from aiofiles.threadpool.binary import AsyncBufferedIOBase

# What opening a name says when there is nothing, a link, or a socket.
_NO_PLAIN_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})


class DiskBackend:
    """A `Backend` and `Measured` in one folder. `executor` runs what its spools do."""

    def __init__(
        self, folder: Path, spool: SpoolFolder, space: DiskSpace, executor: Executor
    ) -> None:
        self._blobs = folder / "blobs" / "sha256"
        self._quarantine = folder / "quarantine"
        self._spool = spool
        self._space = space
        self._executor = executor

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        min_free_bytes: int,
        random: Callable[[int], bytes],
        executor: Executor,
    ) -> "DiskBackend":
        """Make the folders, clear the spools of dead owners, take a spool of its own. Blocking.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        try:
            _make_shards(folder / "blobs" / "sha256")
            make_folder(folder / "quarantine")
        except OSError as error:
            raise disk_error(error) from error
        spool = SpoolFolder.open(folder / "spool", random)
        return cls(folder, spool, DiskSpace(folder, min_free_bytes), executor)

    def spool(self) -> "DiskSpool":
        """Return a new, empty spool; see `Backend.spool`."""
        return DiskSpool(self._spool.new_path(), self._path, self._space, self._executor)

    def open(self, digest: Digest) -> "DiskBlobFile | None":
        """Return the blob's bytes; see `Backend.open`."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # never wait on a fifo put there
        try:
            descriptor = os.open(self._path(digest), flags)
        except OSError as error:
            if error.errno in _NO_PLAIN_FILE:
                return None
            raise disk_error(error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            return None
        return DiskBlobFile(descriptor, status.st_size)

    def quarantine(self, digest: Digest) -> None:
        """Move the blob aside; see `Backend.quarantine`."""
        path = self._path(digest)
        try:
            path.rename(self._quarantine / digest.hex)
        except FileNotFoundError:
            return
        except OSError as error:
            raise disk_error(error) from error
        with contextlib.suppress(OSError):  # after a power cut its checksum fails again
            sync_folder(path.parent)

    def free_bytes(self) -> int:
        """Return what uploads may still take; see `Measured.free_bytes`."""
        try:
            return self._space.free_bytes(self._space.measure())
        except OSError as error:
            raise disk_error(error) from error

    def folder_of(self, digest: Digest) -> Path:
        """Return the folder that a blob lies in, or would."""
        return self._path(digest).parent

    def close(self) -> None:
        """Remove the spool of this process. May be called twice."""
        self._spool.close()

    def _path(self, digest: Digest) -> Path:
        return self._blobs / digest.hex[:2] / digest.hex


class DiskSpool:
    """A `Spool` over one temporary file, made at the first write."""

    def __init__(
        self,
        path: Path,
        blob_path: Callable[[Digest], Path],
        space: DiskSpace,
        executor: Executor,
    ) -> None:
        self._path = path
        self._blob_path = blob_path
        self._space = space
        self._executor = executor
        self._reserved_bytes = 0
        self._written_bytes = 0
        self._opening: asyncio.Task[AsyncBufferedIOBase] | None = None

    async def reserve(self, total_bytes: int) -> None:
        """Set disk aside; see `Spool.reserve`."""
        more = total_bytes - self._reserved_bytes
        if more <= 0:
            return
        loop = asyncio.get_running_loop()
        try:
            available = await loop.run_in_executor(self._executor, self._space.measure)
        except OSError as error:
            raise disk_error(error) from error
        self._space.reserve(more, available)
        self._reserved_bytes = total_bytes

    async def write(self, data: Buffer) -> None:
        """Append; see `Spool.write`."""
        try:
            file = await self._file()
            await file.write(data)
        except OSError as error:
            raise disk_error(error) from error
        self._settle(len(data))

    async def commit(self, digest: Digest) -> None:
        """Make what was written a blob; see `Spool.commit`."""
        try:
            file = await self._file()
            await file.flush()
            await self._run(lambda: _commit(file.fileno(), self._path, self._blob_path(digest)))
        except OSError as error:
            raise disk_error(error) from error
        await self.discard()

    async def discard(self) -> None:
        """Remove what is left; see `Spool.discard`."""
        self._settle(self._reserved_bytes - self._written_bytes)
        if self._opening is None:
            return
        with contextlib.suppress(OSError):
            # Closing waits for a write that a cancelled call left running in its thread.
            await (await self._opening).close()
        with contextlib.suppress(OSError):  # cleared when the spool is next opened
            await self._run(lambda: self._path.unlink(missing_ok=True))

    async def _file(self) -> "AsyncBufferedIOBase":
        # In a task of its own, so that a cancelled upload still learns what to remove.
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        return await asyncio.shield(self._opening)

    async def _open(self) -> "AsyncBufferedIOBase":
        return await aiofiles.open(self._path, "xb", executor=self._executor)

    async def _run(self, work: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def _settle(self, count: int) -> None:
        count = min(count, self._reserved_bytes - self._written_bytes)
        self._written_bytes += count
        self._space.give_back(count)


class DiskBlobFile:
    """A `BlobFile` over a descriptor."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor: int | None = descriptor
        self._size = size

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return self._size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer; see `BlobFile.read_into`."""
        if self._descriptor is None:
            raise StoreUnavailableError("the blob was closed while it was read")
        done = 0
        try:
            while done < buffer.nbytes:
                count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            raise disk_error(error) from error
        return done

    def close(self) -> None:
        """Let go of the file. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _make_shards(root: Path) -> None:
    make_folder(root)
    for name in {f"{shard:02x}" for shard in range(256)} - set(os.listdir(root)):
        (root / name).mkdir(mode=0o700)
    # Also when none was missing: whoever made them may have died before it synced them.
    sync_folder(root)
    sync_folder(root.parent)


def _commit(descriptor: int, spooled: Path, blob: Path) -> None:
    os.fsync(descriptor)
    spooled.rename(blob)
    sync_folder(blob.parent)
