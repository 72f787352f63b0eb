"""What the store said lately, for each tenant: that it holds a blob. Never that it does not.

1. An answer is believed for `FRESH_SECONDS`; while the store is away, for `STALE_SECONDS`.
2. Who changes a grant calls `forget` after the change; an answer read before it and arriving after
   it is not remembered. That is what the ticket is for. It is of one key, and of few others with
   it: forgetting what anybody may name keeps hardly an answer from being remembered.

Belongs to the event loop; nothing here waits.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Generic, TypeVar

FRESH_SECONDS = 30.0
STALE_SECONDS = 3600.0
MAX_ENTRIES = 65_536
_SLOTS = 4096

_K = TypeVar("_K")
_V = TypeVar("_V")


@dataclass(frozen=True, slots=True)
class _Entry(Generic[_V]):
    value: _V
    read_at: float


class Remembered(Generic[_K, _V]):
    """A bounded map of answers, the one asked for longest ago forgotten first."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self._max_entries = max_entries  # some 500 bytes each
        self._entries: OrderedDict[_K, _Entry[_V]] = OrderedDict()
        self._changes = [0] * _SLOTS

    def ticket(self, key: _K) -> int:
        """Return what `put` wants to see with an answer, to be taken before asking."""
        return self._changes[hash(key) % _SLOTS]

    def get(self, key: _K, now: float, *, max_age_seconds: float = FRESH_SECONDS) -> _V | None:
        """Return the answer, if it is remembered and young enough."""
        entry = self._entries.get(key)
        # A clock that was set back makes an entry old, not new.
        if entry is None or not 0 <= now - entry.read_at <= max_age_seconds:
            return None
        self._entries.move_to_end(key)
        return entry.value

    def put(self, key: _K, value: _V, now: float, ticket: int) -> None:
        """Remember an answer, unless it was forgotten since the ticket."""
        if ticket != self.ticket(key):
            return
        self._entries[key] = _Entry(value, now)
        self._entries.move_to_end(key)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def forget(self, key: _K) -> None:
        """Forget one answer, because it changed."""
        self._changes[hash(key) % _SLOTS] += 1
        self._entries.pop(key, None)

    def __len__(self) -> int:
        return len(self._entries)
