"""Who makes room for whom: decided from numbers alone.

1. What copies and unfinished ones take never exceeds the limit.
2. The copy used longest ago goes first, and one in use never.
3. Nothing goes unless enough goes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from coatcheck.protocol import Digest

_BLOCK_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Taken:
    """What the cache takes now, in bytes as the file system counts them."""

    limit: int
    copies: int
    reserved: int
    index: int
    """The index's own files, which shrink for nobody."""
    disk_free: int
    """What the disk has left beside the reserve that is kept free."""

    def shortfall(self, wanted: int) -> int:
        """Return how many bytes of copies have to go before `wanted` more fit; zero: they do."""
        # Unfinished copies count as unwritten: their part that is written is counted twice, which
        # errs on the side of the disk.
        over_disk = self.reserved + wanted - self.disk_free
        return max(0, self.over_limit(wanted), over_disk)

    def over_limit(self, wanted: int) -> int:
        """Return the same for the limit alone: for bytes that the disk has already."""
        return max(0, self.copies + self.reserved + self.index + wanted - self.limit)


@dataclass(frozen=True, slots=True)
class Resident:
    """A copy as the decision sees it."""

    digest: Digest
    allocated: int


def choose(
    longest_unused_first: Iterable[Resident], shortfall: int, claim: Callable[[Resident], bool]
) -> list[Resident] | None:
    """Return the copies that go, or None when those that may go are too few.

    `claim` says whether one may go, and is asked only while more are needed.
    """
    going: list[Resident] = []
    for resident in longest_unused_first:
        if shortfall <= 0:
            break
        if claim(resident):
            going.append(resident)
            shortfall -= resident.allocated
    return going if shortfall <= 0 else None


def expected_bytes(size: int) -> int:
    """Return what a file of this size will take: whole blocks, and one for the map of them."""
    return -(-size // _BLOCK_BYTES) * _BLOCK_BYTES + _BLOCK_BYTES
