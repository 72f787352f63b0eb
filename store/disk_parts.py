"""Uploads in parts as plain files that outlive the process.

    uploads/<id>

Only the owner of the data folder reads them. A file has its name before its first bytes are
acknowledged, and is locked while it is written to; the kernel drops the lock with its process.

To become a blob a file gets a second name, which then takes the blob's place in one step. So nothing
is copied, and the first name is there until the index knows the blob.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from coatcheck.protocol import Buffer, Digest

from .disk_space import Claim, DiskSpace
from .disk_turn import in_turn
from .durable import let_go, sync_folder, write_all
from .errors import StoreUnavailableError, UploadLostError, disk_error
from .upload import is_upload_id


class DiskParts:
    """The `Parts` in one folder. `executor` runs what a part does."""

    def __init__(
        self,
        folder: Path,
        *,
        blob_path: Callable[[Digest], Path],
        temporary_path: Callable[[], Path],
        space: DiskSpace,
        executor: Executor,
    ) -> None:
        """`folder` is there. `temporary_path` returns a new name on the same file system."""
        self._folder = folder
        self._blob_path = blob_path
        self._temporary_path = temporary_path
        self._space = space
        self._executor = executor

    def part(self, upload_id: str) -> "DiskPart":
        """Return an upload's part; see `Parts.part`."""
        file = _PartFile(self._folder / upload_id, self._space)
        return DiskPart(file, self._blob_path, self._temporary_path, self._executor)

    def list(self) -> Sequence[str]:
        """Return the ids of uploads with a part; see `Parts.list`."""
        try:
            with os.scandir(self._folder) as entries:
                return [
                    entry.name
                    for entry in entries
                    if is_upload_id(entry.name) and entry.is_file(follow_symlinks=False)
                ]
        except OSError as error:
            raise disk_error(error) from error

    def size_of(self, upload_id: str) -> int | None:
        """Return how many bytes a part has; see `Parts.size_of`."""
        try:
            return (self._folder / upload_id).stat().st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise disk_error(error) from error

    def remove(self, upload_id: str) -> None:
        """Remove a part; see `Parts.remove`."""
        try:
            (self._folder / upload_id).unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error) from error


class DiskPart:
    """A `Part` over one file."""

    def __init__(
        self,
        file: "_PartFile",
        blob_path: Callable[[Digest], Path],
        temporary_path: Callable[[], Path],
        executor: Executor,
    ) -> None:
        self._file = file
        self._blob_path = blob_path
        self._temporary_path = temporary_path
        self._executor = executor
        self._is_locked = False

    async def lock(self) -> bool:
        """Become the one who writes; see `Part.lock`."""
        await self._run(self._lock)
        return self._is_locked

    async def reserve(self, more_bytes: int) -> None:
        """Set disk aside; see `Part.reserve`."""
        await self._run(lambda: self._file.reserve(more_bytes))

    async def resume(self, size: int) -> bool:
        """Drop what lies behind `size`; see `Part.resume`."""
        found: list[bool] = []
        await self._run(lambda: found.append(self._file.resume(size)))
        return found[0]

    async def write(self, parts: Sequence[Buffer], beside: Callable[[], object]) -> None:
        """Append; see `Part.write`."""

        def work() -> None:
            self._file.append(parts)
            beside()

        await self._run(work)

    async def sync(self) -> None:
        """Bring it to the disk; see `Part.sync`."""
        await self._run(self._file.sync)

    async def read(self, offset: int, buffer: memoryview, take: Callable[[int], object]) -> None:
        """Read; see `Part.read`."""

        def work() -> None:
            take(self._file.read_into(offset, buffer))

        await self._run(work)

    async def commit(self, digest: Digest, rest: Sequence[Buffer] = ()) -> None:
        """Make it a blob; see `Part.commit`."""
        assert not rest, "a part is written before it is committed"
        blob, temporary = self._blob_path(digest), self._temporary_path()
        await self._run(lambda: self._file.become(blob, temporary))

    async def remove(self) -> None:
        """Remove the part; see `Part.remove`."""
        await self._run(self._file.remove)

    async def close(self) -> None:
        """Let others lock it; see `Part.close`."""
        await self._run(self._file.close)

    def _lock(self) -> None:
        self._is_locked = self._file.lock()

    async def _run(self, work: Callable[[], None]) -> None:
        await in_turn(self._executor, work)


class _PartFile:
    """The file and the disk set aside for it. Blocking.

    One call at a time: a call that was cancelled may still run when the next one comes.
    """

    def __init__(self, path: Path, space: DiskSpace) -> None:
        self._path = path
        self._claim = Claim(space)
        self._lock = threading.Lock()
        self._descriptor: int | None = None
        self._size = 0
        self._is_named = False
        self._is_over = False

    def lock(self) -> bool:
        with self._lock:
            self._require_running()
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._path, flags, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                let_go(descriptor)
                return False
            except BaseException:
                let_go(descriptor)
                raise
            self._descriptor = descriptor
            return True

    def reserve(self, more_bytes: int) -> None:
        with self._lock:
            self._require_running()
            self._claim.reserve(more_bytes)

    def resume(self, size: int) -> bool:
        with self._lock:
            descriptor = self._locked()
            found = os.fstat(descriptor).st_size
            if found > size:
                os.ftruncate(descriptor, size)
            self._size = size
            # Bytes were acknowledged only after the name was on the disk.
            self._is_named = size > 0
            return found >= size

    def append(self, parts: Sequence[Buffer]) -> None:
        count = sum(map(len, parts))
        with self._lock:
            descriptor = self._locked()
            self._claim.reserve(count)
            os.lseek(descriptor, self._size, os.SEEK_SET)
            write_all(descriptor, parts)
            self._size += count
            self._claim.wrote(count)

    def sync(self) -> None:
        with self._lock:
            descriptor = self._locked()
            with _losing():
                os.fsync(descriptor)
                if not self._is_named:
                    sync_folder(self._path.parent)
            self._is_named = True

    def read_into(self, offset: int, buffer: memoryview) -> int:
        with self._lock:
            return os.preadv(self._locked(), [buffer], offset)

    def become(self, blob: Path, temporary: Path) -> None:
        """Give the synced bytes the blob's name, and bring that to the disk."""
        with self._lock:
            self._locked()
            temporary.hardlink_to(self._path)
            try:
                temporary.rename(blob)
            finally:
                # Still there where the blob had these very bytes before: rename(2) does nothing then.
                temporary.unlink(missing_ok=True)
            with _losing():
                sync_folder(blob.parent)

    def remove(self) -> None:
        with self._lock, contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        with self._lock:
            self._is_over = True
            self._claim.end()
            descriptor, self._descriptor = self._descriptor, None
            if descriptor is not None:
                # By itself, so that no failing close and no child that has the file open keeps it.
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)
                let_go(descriptor)  # what was acknowledged was synced before

    def _require_running(self) -> None:
        if self._is_over:  # by `close`, which overtook a cancelled call
            raise StoreUnavailableError("the upload was let go of")

    def _locked(self) -> int:
        self._require_running()
        assert self._descriptor is not None, "the part was locked"
        return self._descriptor


@contextlib.contextmanager
def _losing() -> Generator[None]:
    """Sync inside of this: what fails to is lost."""
    try:
        yield
    except OSError as error:
        raise UploadLostError(f"the disk failed to keep it: {error.strerror}") from error
