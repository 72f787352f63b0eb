"""The daemon's folder of copies, read by path."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from .encode import encoded
from .errors import BrokenError, HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .config import Config


__all__ = ["kept"]


def kept(config: Config, name: str) -> str | None:
    """Return the base64 of a copy in the daemon's folder; None when there is no whole one.

    Raises:
        HookError: the folder cannot be read, or the copy is too large.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(os.path.join(config.cache, "blobs", name), flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return None
        raise HookError(f"hook_cache_unreadable: {error.strerror}") from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        return None
    with open(descriptor, "rb", buffering=0) as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # the daemon keeps what is read
            return encoded(file.readinto, name, status.st_size, config.max_blob_bytes)
        except (BlockingIOError, BrokenError):  # it is being removed, or is damaged
            return None
