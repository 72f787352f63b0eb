"""Copies as plain files, and the locks that say who uses them. Everything here blocks.

    blobs/<64 digits>       a copy, whole and verified when it got this name
    incoming/<64 digits>    one that is being fetched

1. Who fetches a blob holds the lock of its incoming file; there is one for all processes. A file
   there whose lock is free belongs to nobody any more.
2. Who reads a copy holds a shared lock of it. Removing takes the exclusive one and never waits.
3. A lock belongs to the file, not to its name: after taking one, the name is looked up again.
4. Names of 64 digits in these two folders are the cache's. What else than a plain file has one is
   removed, a folder with all that is in it.

Locks are `flock`s, so the kernel ends them with their process. Nothing is synced: after a power cut
a copy that is not what it was fails its checksum, and is fetched again.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat
from pathlib import Path

from coatcheck.protocol import Buffer, Digest

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # never wait on a fifo put there
_WRITE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
_NO_PLAIN_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
_IN_THE_WAY = frozenset({errno.EISDIR, errno.ELOOP, errno.ENXIO})
_LOGS = ("cache.sqlite-wal", "cache.sqlite-shm")
LOG_PAGES = 64
"""After how many pages SQLite's log is written back; it may have some more for one transaction."""
_LOG_BYTES = (LOG_PAGES + 32) * 4096
_INDEX_GROWTH_BYTES = 16 * 4096
_BLOCK_BYTES = 512  # what `st_blocks` counts, whatever the file system's blocks are


def copies_folder(folder: Path) -> Path:
    """Return what all copies are in, in a cache folder."""
    return folder / "blobs"


class CacheFiles:
    """The files of one cache folder."""

    def __init__(self, folder: Path) -> None:
        self._copies = copies_folder(folder)
        self._incoming = folder / "incoming"
        self._index = [folder / name for name in ("cache.sqlite", *_LOGS)]
        self._folder = folder

    def make(self) -> None:
        """Make the folders, readable by the owner alone."""
        for folder in (self._folder, self._copies, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def index_path(self) -> Path:
        """Where the index lies."""
        return self._index[0]

    def remove_index(self) -> None:
        """Remove an index that cannot be read."""
        for path in self._index:
            path.unlink(missing_ok=True)

    def index_bytes(self) -> int:
        """Return what the index takes, and may take before anybody asks again."""
        database, log, shared = map(_allocated, self._index)
        return database + _INDEX_GROWTH_BYTES + max(log, _LOG_BYTES) + shared

    def are_writable(self) -> bool:
        """Return whether copies can be made and removed."""
        return all(os.access(path, os.W_OK | os.X_OK) for path in (self._copies, self._incoming))

    def free_bytes(self) -> int:
        """Return what the disk has left; nothing where it takes no writes."""
        system = os.statvfs(self._folder)
        return 0 if system.f_flag & os.ST_RDONLY else system.f_bavail * system.f_frsize

    def open(self, digest: Digest) -> "OpenCopy | None":
        """Open a copy to read, in use until it is closed; None when it is not here.

        Raises:
            OSError: it is here and cannot be read.
        """
        descriptor = _open(self._copies / digest.hex, _READ)
        if descriptor is None:
            return None
        if not _lock(descriptor, fcntl.LOCK_SH) or not _is_linked(descriptor):
            os.close(descriptor)
            return None
        return OpenCopy(descriptor, self._copies / digest.hex)

    def claim(self, digest: Digest) -> "Claim | None":
        """Take a copy that may go, whether or not it is here; None when it is in use."""
        path = self._copies / digest.hex
        descriptor = _open(path, _READ)
        if descriptor is not None and not _lock(descriptor, fcntl.LOCK_EX):
            os.close(descriptor)
            return None
        return Claim(path, descriptor)

    def begin(self, digest: Digest) -> "Incoming | None":
        """Begin to fetch a blob; None while somebody else does. The file may have bytes.

        Raises:
            OSError: the file cannot be made.
        """
        path = self._incoming / digest.hex
        while True:
            descriptor = _create(path)
            if not _lock(descriptor, fcntl.LOCK_EX):
                os.close(descriptor)
                return None
            if _names(path, descriptor):
                return Incoming(path, self._copies / digest.hex, descriptor)
            os.close(descriptor)  # whoever had it has just finished

    def incoming_bytes(self, digest: Digest) -> int:
        """Return how much of a blob that somebody fetches is there."""
        try:
            return (self._incoming / digest.hex).stat().st_size
        except FileNotFoundError:
            return 0

    def orphans(self) -> list[Digest]:
        """Return the names of unfinished copies, whoever's they are."""
        return [name for name in map(_digest, os.listdir(self._incoming)) if name]

    def copies(self) -> "dict[Digest, tuple[int, int]]":
        """Return size and allocated bytes of each copy; remove what is none."""
        found: dict[Digest, tuple[int, int]] = {}
        with os.scandir(self._copies) as entries:
            for entry in entries:
                digest = _digest(entry.name)
                status = entry.stat(follow_symlinks=False)
                if digest is None:
                    _remove(Path(entry.path))
                elif not stat.S_ISREG(status.st_mode):
                    _clear(Path(entry.path))
                else:
                    found[digest] = (status.st_size, _taken(status))
        return found

    def remove(self, digest: Digest) -> None:
        """Remove a copy, in use or not; whoever reads it reads on.

        Raises:
            OSError: it cannot be removed.
        """
        _clear(self._copies / digest.hex)


class OpenCopy:
    """A copy that is being read, and therefore stays."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor: int | None = descriptor
        self.path = path
        self.size = os.fstat(descriptor).st_size

    def read_into(self, offset: int, buffer: memoryview) -> int:
        """Fill the buffer from this offset on; return how much, less only at the end."""
        if self._descriptor is None:
            return 0
        done = 0
        while done < buffer.nbytes:
            count = os.preadv(self._descriptor, [buffer[done:]], offset + done)
            if count == 0:
                break
            done += count
        return done

    def twin(self) -> "OpenCopy":
        """Open it once more: it stays until both are closed.

        Raises:
            OSError: it is closed, or there are too many open files.
        """
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return OpenCopy(os.dup(self._descriptor), self.path)  # a lock is of all that share a file

    def close(self) -> None:
        """Let the copy go. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Claim:
    """A copy that nobody uses, and nobody begins to use, until this is closed."""

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self._path = path
        self._descriptor = descriptor

    def remove(self) -> None:
        """Remove the copy, when the name is still its own."""
        if self._descriptor is not None and _names(self._path, self._descriptor):
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """End the claim. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


class Incoming:
    """A blob on its way in, its file locked until `close`."""

    def __init__(self, path: Path, copy: Path, descriptor: int) -> None:
        self._path = path
        self._copy = copy
        self._descriptor: int | None = descriptor
        self._is_published = False

    def empty(self) -> None:
        """Begin again."""
        os.ftruncate(self._number(), 0)
        os.lseek(self._number(), 0, os.SEEK_SET)

    def write(self, data: Buffer) -> None:
        """Append all of it."""
        view = memoryview(data)
        while view.nbytes:
            view = view[os.write(self._number(), view) :]

    def allocated(self) -> int:
        """Return what the file takes."""
        return _taken(os.fstat(self._number()))

    def publish(self) -> None:
        """Give it the name of a copy."""
        fcntl.flock(self._number(), fcntl.LOCK_SH)  # readers may come in, removers may not
        self._path.rename(self._copy)
        self._is_published = True

    def close(self) -> None:
        """Let go; remove what was not published. May be called twice."""
        if self._descriptor is None:
            return
        if not self._is_published:
            with contextlib.suppress(OSError):  # cleared when its lock is next found free
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def _number(self) -> int:
        if self._descriptor is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        return self._descriptor


class FolderLock:
    """Says who has a cache folder open: shared while it is used, exclusive while it is cleared."""

    def __init__(self, path: Path, descriptor: int, *, is_alone: bool) -> None:
        self._path = path
        self._descriptor: int | None = descriptor
        self.is_alone = is_alone

    @classmethod
    def take(cls, path: Path) -> "FolderLock":
        """Lock the folder: alone when nobody else has it open, else together with them.

        Waits while somebody clears it.
        """
        descriptor = os.open(path, _WRITE, 0o600)
        is_alone = _lock(descriptor, fcntl.LOCK_EX)
        if not is_alone:
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        return cls(path, descriptor, is_alone=is_alone)

    def is_in_place(self) -> bool:
        """Return whether the folder still is the one that was locked."""
        return self._descriptor is not None and _names(self._path, self._descriptor)

    def share(self) -> None:
        """Let others in."""
        if self._descriptor is not None:
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def close(self) -> None:
        """Give the lock back. May be called twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _open(path: Path, flags: int) -> int | None:
    """Open a plain file; None where there is none."""
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in _NO_PLAIN_FILE:
            return None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return descriptor


def _create(path: Path) -> int:
    """Open a plain file, making it if need be; what else has its name is removed."""
    try:
        descriptor = os.open(path, _WRITE, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    except OSError as error:
        if error.errno not in _IN_THE_WAY:
            raise
    _clear(path)
    return os.open(path, _WRITE | os.O_EXCL, 0o600)


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_linked(descriptor: int) -> bool:
    return os.fstat(descriptor).st_nlink > 0


def _names(path: Path, descriptor: int) -> bool:
    """True when `path` is still the name of this very file."""
    try:
        named = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    opened = os.fstat(descriptor)
    return (named.st_ino, named.st_dev) == (opened.st_ino, opened.st_dev)


def _taken(status: os.stat_result) -> int:
    """Return what a file takes; its size, where the file system says that it takes less.

    A file system that writes later may not count yet what it has promised to keep.
    """
    return max(status.st_blocks * _BLOCK_BYTES, status.st_size)


def _allocated(path: Path) -> int:
    try:
        return _taken(path.stat())
    except FileNotFoundError:
        return 0


def _digest(name: str) -> Digest | None:
    is_hex = len(name) == 64 and set(name) <= set("0123456789abcdef")
    return Digest(f"sha256:{name}") if is_hex else None


def _clear(path: Path) -> None:
    """Free a name that is the cache's, whatever has it."""
    try:
        path.unlink(missing_ok=True)
    except IsADirectoryError:
        shutil.rmtree(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
