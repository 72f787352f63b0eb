"""What can go wrong with copies. None of it reaches a client: the bytes come from the store then.

Only where the store itself sends wrong bytes is there nothing left to do: `WrongBytesError`.
"""

from typing import ClassVar


class CacheError(Exception):
    """A copy cannot be had."""

    retryable: ClassVar[bool] = False


class NoRoomError(CacheError):
    """There is no room for a copy: it is too large, everything is in use, or the disk is full."""


class WastedError(NoRoomError):
    """Bytes of a blob came from the store, and could not be kept."""


class DamagedError(CacheError):
    """A copy is gone, has another size, or a piece of it fails its checksum."""


class GoneError(DamagedError):
    """A copy's file is not here any more: another process removed it to make room."""


class CacheUnusableError(CacheError):
    """The cache folder cannot be opened, the operator's to settle."""
