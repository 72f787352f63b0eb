"""What engines have under names of ours, as far as this process knows.

It is a guess: an engine drops what it was named to make room, and says so when it is named again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..splice import Filling

_MAX_NAMES = 100_000  # of one engine, some 200 bytes each: more images than it has room for
_MISSES_IN_A_ROW = 3
_RESTING_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Named:
    """An image in a turn, and its name."""

    uuid: str
    filling: Filling


class Places:
    """What is known of each engine. Belongs to the event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._places: dict[str, Place] = {}

    def at(self, address: str) -> "Place":
        """Return what is known of an engine; there are as many as the settings have."""
        if address not in self._places:
            self._places[address] = Place(self._clock)
        return self._places[address]


class Place:
    """One engine: what it was sent, the one used longest ago first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._there: OrderedDict[str, None] = OrderedDict()
        self._on_their_way: dict[str, Sending] = {}
        self._misses = 0
        self._rests_until = 0.0

    async def join(self, uuids: Iterable[str], seconds: float) -> None:
        """Wait for those that another turn is sending, at most so long for all."""
        wanted = set(uuids)
        ends_at = asyncio.get_running_loop().time() + seconds
        while (under_way := wanted & self._on_their_way.keys()) and not self._rests():
            sending = self._on_their_way[next(iter(under_way))]
            try:
                async with asyncio.timeout_at(ends_at):
                    await sending.when_sent.wait()
            except TimeoutError:
                return

    def unknown(self, uuids: Iterable[str]) -> set[str]:
        """Return those whose bytes have to go; using the others keeps them."""
        wanted = list(uuids)
        if self._rests():
            return set(wanted)
        for uuid in wanted:
            if uuid in self._there:
                self._there.move_to_end(uuid)
        return {uuid for uuid in wanted if uuid not in self._there}

    def begin(self, uuids: Iterable[str]) -> "Sending":
        """Begin to send bytes. `end` what is returned."""
        sending = Sending(self, frozenset(uuids))
        for uuid in sending.uuids:
            self._on_their_way.setdefault(uuid, sending)
        return sending

    def note(self, sending: "Sending") -> None:
        """Note that bytes went; nobody waits for them any more."""
        for uuid in sending.uuids:
            self._there[uuid] = None
            self._there.move_to_end(uuid)
        while len(self._there) > _MAX_NAMES:
            self._there.popitem(last=False)
        self._let_go(sending)

    def drop(self, sending: "Sending") -> None:
        """Note that bytes have not arrived."""
        for uuid in sending.uuids:
            self._there.pop(uuid, None)
        self._let_go(sending)

    def oldest(self, uuids: Iterable[str]) -> Sequence[str]:
        """Return names in the order of their last use, each once; those that are not known first."""
        order = {uuid: number for number, uuid in enumerate(self._there)}
        return sorted(dict.fromkeys(uuids), key=lambda uuid: order.get(uuid, -1))

    def miss(self, uuids: Iterable[str], *, is_first: bool) -> None:
        """Note that the engine does not have these; `is_first` in a turn.

        One that never has what it is named is told no names alone for a while.
        """
        for uuid in uuids:
            self._there.pop(uuid, None)
        self._misses += is_first
        if self._misses >= _MISSES_IN_A_ROW:
            self._misses = 0
            self._rests_until = self._clock() + _RESTING_SECONDS

    def hit(self) -> None:
        """Note that the engine had what it was named alone."""
        self._misses = 0

    def _rests(self) -> bool:
        return self._clock() < self._rests_until

    def _let_go(self, sending: "Sending") -> None:
        for uuid in sending.uuids:
            if self._on_their_way.get(uuid) is sending:
                del self._on_their_way[uuid]


class Sending:
    """Bytes that one turn sends."""

    def __init__(self, place: Place, uuids: frozenset[str]) -> None:
        self._place = place
        self.uuids = uuids
        self.when_sent = asyncio.Event()
        """Set when they went, or will not."""

    def sent(self) -> None:
        """All of them were handed over; before the engine can have looked at them."""
        self._place.note(self)
        self.when_sent.set()

    def lost(self) -> None:
        """The engine refused what they came with."""
        self._place.drop(self)
        self.when_sent.set()

    def end(self) -> None:
        """Nothing more will be sent. May be called after the others."""
        if not self.when_sent.is_set():
            self.lost()
