"""A file system in a file, whose power can be cut.

It is mounted through a loop device. `xfs_io -x -c shutdown` (XFS_IOC_GOINGDOWN without a flush of the
log, which ext4 knows too) drops at once all that the file system has not yet written, as a power cut
does; the next mount recovers from the journal. What a disk's own cache may lose besides is not tried.
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

System = Literal["ext4", "xfs"]
SYSTEMS: tuple[System, ...] = ("ext4", "xfs")

_BYTES = 512 * 1024 * 1024
"""The least that mkfs.xfs takes is 300 MB; the file is sparse."""
_MAKE = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class NoDiskError(Exception):
    """This machine does not let us mount one; the text says why, and what to do."""


class Disk:
    """Made when entered; unmounted and removed when left."""

    def __init__(self, system: System, work: Path) -> None:
        self.folder = work / f"{system}-mount"
        """Where it is mounted."""
        self._system = system
        self._image = work / f"{system}.img"
        self._is_mounted = False

    def __enter__(self) -> Self:
        """Make and mount it.

        Raises:
            NoDiskError: that cannot be done here.
        """
        if os.geteuid() != 0:
            raise NoDiskError("only root mounts file systems: run it as root")
        for tool in (_MAKE[self._system][0], "xfs_io", "mount"):
            if shutil.which(tool, path=_PATH) is None:
                raise NoDiskError(f"{tool} is missing: apt-get install e2fsprogs xfsprogs mount")
        with self._image.open("wb") as file:
            file.truncate(_BYTES)
        self.folder.mkdir()
        try:
            _call([*_MAKE[self._system], self._image])
            self.mount()
        except subprocess.CalledProcessError as error:
            self._image.unlink()
            self.folder.rmdir()
            said = error.stderr.decode(errors="replace").strip()
            raise NoDiskError(
                f"loop mounts are refused ({said}): give the container CAP_SYS_ADMIN and /dev/loop*"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_mounted:
            self.unmount()
        self._image.unlink()
        self.folder.rmdir()

    def mount(self) -> None:
        """Mount it, recovering what its journal holds."""
        _call(["mount", "-o", "loop", "-t", self._system, self._image, self.folder])
        self._is_mounted = True

    def cut(self) -> None:
        """Cut the power: from now on every call on it fails."""
        _call(["xfs_io", "-x", "-c", "shutdown", self.folder])

    def unmount(self) -> None:
        """Unmount it; nobody may have a file of it open."""
        _call(["umount", self.folder])
        self._is_mounted = False


def _call(command: Sequence[object]) -> None:
    environment = os.environ | {"PATH": _PATH}
    subprocess.run([*map(str, command)], check=True, capture_output=True, env=environment)
