"""Blobs as plain files, one each, named by all 64 digits of their digest.

    blobs/sha256/<first 2 digits>/<64 digits>
    spool/<owner>/<n>.part
    uploads/<id>                           see disk_parts.py
    quarantine/<64 digits>

A blob appears under its name in one step, after its bytes are on the disk: fsync(file), rename,
fsync(folder). All 256 folders are made at open, so that committing a digest costs the same
whether or not one like it was there before. An fsync that fails ends the upload and is never
called again on that file.
"""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from pathlib import Path

from coatcheck.protocol import Digest, InvalidDigestError

from .backend import SHARDS, Listing
from .body_spool import BodySpools
from .cached_open import CachedOpener
from .disk_blob_file import DiskBlobFile
from .disk_parts import DiskParts
from .disk_space import DiskSpace
from .disk_spool import DiskSpool
from .durable import make_folder, sync_folder
from .errors import disk_error
from .reservations import Reservations
from .spool_folder import SpoolFolder

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # never wait on a fifo put there
# What opening a name says when there is nothing, a link, or a socket.
_NO_PLAIN_FILE = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO})
_SHARD_NAMES = frozenset(f"{shard:02x}" for shard in range(SHARDS))
_BLOB_NAME = re.compile(r"[0-9a-f]{64}")


def blob_folder(folder: Path) -> Path:
    """Return what the files of all blobs are below, in a data folder."""
    return folder / "blobs" / "sha256"


class DiskBackend:
    """A `Backend` and `Measured` in one folder. `executor` runs what its spools do."""

    def __init__(
        self, folder: Path, spool: SpoolFolder, space: DiskSpace, executor: Executor
    ) -> None:
        """Called by `at`."""
        self._blobs = blob_folder(folder)
        self._root = f"{self._blobs}/"
        self._quarantine = folder / "quarantine"
        self._spool = spool
        self._space = space
        self._executor = executor
        self._opener = CachedOpener(_FLAGS)
        self.parts = DiskParts(
            folder / "uploads",
            blob_path=self._path,
            temporary_path=spool.new_path,
            space=space,
            executor=executor,
        )
        """Where uploads lie that come over several requests."""
        self.bodies = BodySpools(spool.folder, space)
        """Where bodies lie of which it is not known yet whose they are."""

    @classmethod
    def at(
        cls,
        folder: Path,
        *,
        min_free_bytes: int,
        random: Callable[[int], bytes],
        executor: Executor,
        is_shared: bool = False,
    ) -> "DiskBackend":
        """Make the folders, clear the spools of dead owners, take a spool of its own. Blocking.

        `is_shared` where other processes have the folder open too.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        try:
            _make_shards(blob_folder(folder))
            make_folder(folder / "quarantine")
            make_folder(folder / "uploads")
        except OSError as error:
            raise disk_error(error) from error
        spool = SpoolFolder.open(folder / "spool", random)
        try:
            reservations = Reservations(spool.folder) if is_shared else None
        except OSError as error:
            spool.close()
            raise disk_error(error) from error
        space = DiskSpace(folder, min_free_bytes, reservations)
        return cls(folder, spool, space, executor)

    def spool(self) -> "DiskSpool":
        """Return a new, empty spool; see `Backend.spool`."""
        return DiskSpool(self._spool.new_path(), self._path, self._space, self._executor)

    def open(self, digest: Digest) -> "DiskBlobFile | None":
        """Return the blob's bytes; see `Backend.open`."""
        try:
            return DiskBlobFile.of(os.open(self._name(digest), _FLAGS))
        except OSError as error:
            if error.errno in _NO_PLAIN_FILE:
                return None
            raise disk_error(error) from error

    def open_now(self, digest: Digest) -> "DiskBlobFile | None":
        """Return the blob's bytes if they wait for nothing; see `Backend.open_now`."""
        descriptor = self._opener.open(self._name(digest))
        with contextlib.suppress(OSError):
            return None if descriptor is None else DiskBlobFile.of(descriptor)
        return None

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

    def remove(self, digest: Digest) -> None:
        """Remove the blob; see `Backend.remove`."""
        _unlink(self._path(digest))

    def remove_quarantined(self, digest: Digest) -> None:
        """Remove what was moved aside; see `Backend.remove_quarantined`."""
        _unlink(self._quarantine / digest.hex)

    def sync_removed(self) -> None:
        """Sync every folder; see `Backend.sync_removed`."""
        try:
            for folder in (*self._blobs.iterdir(), self._quarantine):
                sync_folder(folder)
        except OSError as error:
            raise disk_error(error) from error

    def quarantined(self) -> Sequence[Digest]:
        """List what was moved aside; see `Backend.quarantined`."""
        try:
            names = os.listdir(self._quarantine)
        except OSError as error:
            raise disk_error(error) from error
        return [digest for name in names if (digest := digest_named(name))]

    def has_quarantined(self, digest: Digest) -> bool:
        """Say whether bytes were moved aside; see `Backend.has_quarantined`."""
        try:
            os.lstat(self._quarantine / digest.hex)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise disk_error(error) from error
        return True

    def listing(self, shard: int) -> Listing:
        """Return what lies in a shard; see `Backend.listing`."""
        sizes: dict[str, int] = {}
        foreign: list[str] = []
        folder = self._blobs / f"{shard:02x}"
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    size = _blob_bytes(entry, folder.name)
                    if size is None:
                        foreign.append(f"{folder.name}/{entry.name}")
                    elif size >= 0:
                        sizes[f"sha256:{entry.name}"] = size
            if shard == 0:
                foreign += set(os.listdir(self._blobs)) - _SHARD_NAMES
        except OSError as error:
            raise disk_error(error) from error
        return Listing(sizes, sorted(foreign))

    def free_bytes(self) -> int:
        """Return what uploads may still take; see `Measured.free_bytes`."""
        try:
            return self._space.free_bytes()
        except OSError as error:
            raise disk_error(error) from error

    def path_of(self, digest: Digest) -> Path:
        """Return where a blob's file is; see `Filed`."""
        return self._path(digest)

    def folder_of(self, digest: Digest) -> Path:
        """Return the folder that a blob lies in, or would."""
        return self._path(digest).parent

    def close(self) -> None:
        """Remove the spool of this process. May be called twice."""
        self._space.close()
        self._spool.close()

    def _path(self, digest: Digest) -> Path:
        return Path(self._name(digest))

    def _name(self, digest: Digest) -> str:
        """Return the path as text: a `Path` takes longer to make than the file to open."""
        return f"{self._root}{digest.hex[:2]}/{digest.hex}"


def digest_named(name: str) -> Digest | None:
    """Return the digest that a blob's file name stands for; None for any other name."""
    try:
        return Digest(f"sha256:{name}")
    except InvalidDigestError:
        return None


def _blob_bytes(entry: os.DirEntry[str], shard: str) -> int | None:
    """Return a blob's size; below zero when it has gone meanwhile, None when it is no blob."""
    if _BLOB_NAME.fullmatch(entry.name) is None or not entry.name.startswith(shard):
        return None
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _unlink(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise disk_error(error) from error


def _make_shards(root: Path) -> None:
    make_folder(root)
    for name in _SHARD_NAMES - set(os.listdir(root)):
        (root / name).mkdir(mode=0o700)
    # Also when none was missing: whoever made them may have died before it synced them.
    sync_folder(root)
    sync_folder(root.parent)
