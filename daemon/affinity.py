"""Which of several replicas takes a request. Decides, and awaits nothing.

1. A conversation prefers one replica, the same in every process and whatever others there are: the one
   with the highest hash of the conversation's root and the replica (rendezvous hashing; Thaler and
   Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM ToN 6(1), 1998). One replica
   more or less moves no conversation between the others.
2. A replica that is full takes no more: the next one in the conversation's own order does. Full is who
   has `LOAD_FACTOR` times its share of all running requests (consistent hashing with bounded loads;
   Mirrokni, Thorup and Zadimoghaddam, SODA 2018), and at least `spill_requests` of them: below that an
   engine is not busy, and what it keeps of the conversation is worth more than an idle neighbour.
3. A replica that refuses connections is left out for a while, twice as long each time. When that is over
   one request tries it, and the others go on without it. When all are left out, all are tried.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

LOAD_FACTOR: Final = 1.25
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0

Choice: TypeAlias = Literal["own", "spilled", "other", "any"]
"""Why a replica got a request: it is the conversation's own; the one before it was full, or is left
out; or the request has no conversation."""


@dataclass(slots=True)
class _Replica:
    """What is known of one replica."""

    name: bytes
    running: int = 0
    failures: int = 0
    out_until: float = -math.inf


@dataclass(frozen=True, slots=True)
class Chosen:
    """A replica by its index, and why."""

    index: int
    choice: Choice


class Affinity:
    """Knows how many requests run at each replica, and which of them are left out."""

    def __init__(self, names: Sequence[str], spill_requests: int) -> None:
        """`names` tell the replicas apart in every process: their URLs."""
        self._replicas = [_Replica(name.encode()) for name in names]
        self._spill = spill_requests
        self._next = 0

    def __len__(self) -> int:
        return len(self._replicas)

    def running(self, index: int) -> int:
        """Return how many requests run at a replica."""
        return self._replicas[index].running

    def is_left_out(self, index: int, now: float) -> bool:
        """Say whether a replica gets nothing now; `now` is of a clock that never goes back."""
        return now < self._replicas[index].out_until

    def order(self, root: bytes) -> list[int]:
        """Return the replicas as a conversation prefers them."""
        scores = [
            hashlib.sha256(replica.name + b"\0" + root).digest() for replica in self._replicas
        ]
        return sorted(range(len(scores)), key=scores.__getitem__, reverse=True)

    def choose(self, root: bytes | None, tried: frozenset[int], now: float) -> Chosen:
        """Return who takes a request, of those that were not `tried`, which are not all.

        Without a `root` each in turn takes one.
        """
        if root is None:
            return Chosen(self._pick(self._in_turn(), tried, now), "any")
        order = self.order(root)
        index = self._pick(order, tried, now)
        if index == order[0]:
            return Chosen(index, "own")
        is_full = order[0] not in tried and not self.is_left_out(order[0], now)
        return Chosen(index, "spilled" if is_full else "other")

    def first(self, tried: frozenset[int], now: float) -> Chosen:
        """Return the first in the settings' order that is not left out, for what one replica knows."""
        return Chosen(self._available(range(len(self)), tried, now)[0], "any")

    def begin(self, index: int, now: float) -> None:
        """Count a request in; one that tries a replica anew keeps the others from doing so, too."""
        replica = self._replicas[index]
        replica.running += 1
        if replica.failures:
            replica.out_until = now + _pause(replica.failures)

    def end(self, index: int) -> None:
        """Count it out."""
        self._replicas[index].running -= 1

    def reached(self, index: int) -> None:
        """Note that a replica takes connections."""
        replica = self._replicas[index]
        replica.failures, replica.out_until = 0, -math.inf

    def refused(self, index: int, now: float) -> None:
        """Note that a replica took no connection: leave it out for a while."""
        replica = self._replicas[index]
        replica.failures += 1
        replica.out_until = now + _pause(replica.failures)

    def _available(self, order: Sequence[int], tried: frozenset[int], now: float) -> list[int]:
        left = [index for index in order if index not in tried]
        return [index for index in left if not self.is_left_out(index, now)] or left

    def _pick(self, order: Sequence[int], tried: frozenset[int], now: float) -> int:
        available = self._available(order, tried, now)
        bound = self._bound(len(available))
        for index in available:
            if self._replicas[index].running < bound:
                return index
        return min(available, key=self.running)  # while one that is left out runs what it had

    def _bound(self, available: int) -> int:
        """Return how many requests a replica may run, the next one included."""
        share = (sum(replica.running for replica in self._replicas) + 1) / available
        return max(self._spill, math.ceil(LOAD_FACTOR * share))

    def _in_turn(self) -> list[int]:
        count = len(self._replicas)
        start, self._next = self._next, (self._next + 1) % count
        return [(start + step) % count for step in range(count)]


def _pause(failures: int) -> float:
    return min(FIRST_PAUSE_SECONDS * 2.0 ** (min(failures, 32) - 1), LONGEST_PAUSE_SECONDS)
