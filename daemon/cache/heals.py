"""What was wrong with copies, and that a new one took their place."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from coatcheck.protocol import Digest

_MOST_NEWEST = 100
_MOST_WAITING = 1000


@dataclass(frozen=True, slots=True)
class Heal:
    """One copy that was gone or damaged, and was replaced from the store `at` this Unix time."""

    digest: Digest
    fault: str
    at: float


class Heals:
    """Of one process, since it started. Belongs to the event loop."""

    def __init__(self) -> None:
        self.count = 0
        """How many copies were replaced."""
        self._newest: deque[Heal] = deque(maxlen=_MOST_NEWEST)
        self._waiting: OrderedDict[Digest, str] = OrderedDict()

    def find(self, digest: Digest, fault: str) -> None:
        """Note what is wrong with a copy that was let go of."""
        self._waiting[digest] = fault
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)

    def replace(self, digest: Digest, now: float) -> None:
        """Note that there is a new copy of a blob, whether or not one was bad."""
        fault = self._waiting.pop(digest, None)
        if fault is not None:
            self.count += 1
            self._newest.appendleft(Heal(digest, fault, now))

    def newest(self) -> Sequence[Heal]:
        """Return the newest ones, the last first."""
        return list(self._newest)
