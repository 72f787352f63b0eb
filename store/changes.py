"""Which grants changed, for everybody who remembers some.

A table of slots in memory that the processes of one data folder share. Whoever changed a grant, or
the bytes of a blob, puts fresh random bits into its slot; whoever remembers a grant remembers what
its slots held before it was read, and does not believe it once they hold something else. Two that
share a slot cost each other a question to the index, and no more.

Random bits and not a count: two processes that count on at once could leave the same number twice.
"""

import mmap
from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

from coatcheck.protocol import Digest

_SLOT_BYTES: Final = 8
_SLOTS: Final = 1 << 16  # two of four hex digits of a digest each
CHANGES_BYTES: Final = _SLOTS * _SLOT_BYTES


class Stamp(NamedTuple):
    """What the slots of one grant held."""

    blob: int
    grant: int


class Changes:
    """The table, in this process."""

    def __init__(self, random: Callable[[int], bytes], descriptor: int | None = None) -> None:
        """`descriptor` is of the memory that is shared, of `CHANGES_BYTES`; None: shared with nobody."""
        self._random = random
        self._memory = mmap.mmap(-1 if descriptor is None else descriptor, CHANGES_BYTES)
        self._slots = memoryview(self._memory).cast("Q")

    def stamp(self, tenant: str, digest: Digest) -> Stamp:
        """Return what stands for this grant now."""
        return Stamp(self._slots[_blob_slot(digest)], self._slots[_grant_slot(tenant, digest)])

    def change(self, tenant: str, digest: Digest) -> None:
        """Note that one tenant's grant changed; call it after the change."""
        self._change(_grant_slot(tenant, digest))

    def change_blob(self, digest: Digest) -> None:
        """Note that every tenant's grant changed, because the bytes did."""
        self._change(_blob_slot(digest))

    def close(self) -> None:
        """Let go of the memory. May be called twice."""
        self._slots.release()
        self._memory.close()

    def _change(self, slot: int) -> None:
        self._slots[slot] = int.from_bytes(self._random(_SLOT_BYTES))


def _blob_slot(digest: Digest) -> int:
    return int(digest.hex[:4], 16)


def _grant_slot(tenant: str, digest: Digest) -> int:
    return (int(digest.hex[4:8], 16) ^ crc32(tenant.encode())) % _SLOTS
