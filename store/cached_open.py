"""Opening a file where nobody has to wait for it: its name and its inode are in memory.

`openat2` with `RESOLVE_CACHED` (openat2(2), Linux 5.12) fails where it would have to ask the disk or a
server for any of a path. Python has no call for it.
"""

import ctypes
import os
import platform

_SYS_OPENAT2 = 437  # of every architecture that has Python wheels; Linux unistd.h
_AT_FDCWD = -100
_RESOLVE_CACHED = 0x20


class _How(ctypes.Structure):
    """`struct open_how`."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class CachedOpener:
    """Opens files without waiting. Safe across threads."""

    def __init__(self, flags: int) -> None:
        """`flags` are those of `os.open`; what is opened is closed on exec."""
        self._how = _How(flags | os.O_CLOEXEC, 0, _RESOLVE_CACHED)
        self._where = ctypes.addressof(self._how)
        self._syscall = ctypes.CDLL(None).syscall if platform.system() == "Linux" else None
        if self._syscall:
            self._syscall.restype = ctypes.c_long
            self._syscall.argtypes = (
                ctypes.c_long,
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_void_p,
                ctypes.c_size_t,
            )

    def open(self, path: str) -> int | None:
        """Return a descriptor, or None.

        None says nothing of the file: it may have to be waited for, be gone, or not be for us; whoever
        can wait asks `os.open`.
        """
        if self._syscall is None:
            return None
        name = os.fsencode(path)
        descriptor: int = self._syscall(
            _SYS_OPENAT2, _AT_FDCWD, name, self._where, ctypes.sizeof(_How)
        )
        return None if descriptor < 0 else descriptor
