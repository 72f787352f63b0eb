"""What engines have under names of ours, as far as this process knows.

It is a guess: an engine drops what it was named to make room, and says so when it is named again.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..splice import Filling

_MAX_NAMES = 100_000  # of one engine, some 300 bytes each: more images than it has room for
_MAX_FRUITLESS = 20  # turns that are under way at the same time miss together
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
    """One engine: which bytes it was sent, and by which request; the one used longest ago first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._there: OrderedDict[str, Sending] = OrderedDict()
        self._on_their_way: dict[str, Sending] = {}
        self._fruitless = 0
        self._rests_until = 0.0

    async def join(self, uuids: Iterable[str], seconds: float) -> None:
        """Wait for those that another turn is sending, at most so long for all."""
        wanted = set(uuids)
        ends_at = asyncio.get_running_loop().time() + seconds
        while (under_way := wanted & self._on_their_way.keys()) and not self._rests():
            sending = self._on_their_way[next(iter(under_way))]
            if not await _within(ends_at, sending.when_sent):
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

    def senders(self, uuids: Iterable[str]) -> "Mapping[str, Sending]":
        """Return by which request each of those that are there was sent."""
        return {uuid: self._there[uuid] for uuid in uuids if uuid in self._there}

    def begin(self, uuids: Iterable[str]) -> "Sending":
        """Begin to send bytes, in place of who has begun before. `end` what is returned."""
        sending = Sending(self, frozenset(uuids))
        self._on_their_way.update(dict.fromkeys(sending.uuids, sending))
        return sending

    def note(self, sending: "Sending") -> None:
        """Note that bytes went; nobody waits for them any more."""
        for uuid in sending.uuids:
            self._there[uuid] = sending
            self._there.move_to_end(uuid)
        while len(self._there) > _MAX_NAMES:
            self._there.popitem(last=False)
        self._let_go(sending)

    def drop(self, sending: "Sending") -> None:
        """Note that bytes have not arrived."""
        for uuid in sending.uuids:
            if self._there.get(uuid) is sending:
                del self._there[uuid]
        self._let_go(sending)

    def oldest(self, uuids: Iterable[str]) -> Sequence[str]:
        """Return names in the order of their last use, each once; those that are not known first."""
        order = {uuid: number for number, uuid in enumerate(self._there)}
        return sorted(dict.fromkeys(uuids), key=lambda uuid: order.get(uuid, -1))

    def miss(self, uuids: Collection[str], believed: "Mapping[str, Sending]") -> set[str]:
        """Note that the engine did not have these, which a turn `believed` to be there by a request.

        Returns those that may be there all the same: another turn has sent them since, or is about to,
        or the engine has not come so far as to look at them.
        """
        perhaps: set[str] = set()
        for uuid in uuids:
            sending = self._on_their_way.get(uuid) or self._there.get(uuid)
            if sending is None:
                continue
            if sending is not believed.get(uuid) or not sending.when_answered.is_set():
                perhaps.add(uuid)
            else:
                del self._there[uuid]
        return perhaps

    async def settle(self, uuids: Collection[str], seconds: float) -> set[str]:
        """Return those that the engine has by now, after waiting for the requests they are in."""
        ends_at = asyncio.get_running_loop().time() + seconds
        while sending := self._unanswered(uuids):
            if not await _within(ends_at, sending.when_answered):
                break
        return {uuid for uuid in uuids if uuid in self._there}

    def _unanswered(self, uuids: Iterable[str]) -> "Sending | None":
        for uuid in uuids:
            sending = self._on_their_way.get(uuid) or self._there.get(uuid)
            if sending and not sending.when_answered.is_set():
                return sending
        return None

    def count_miss(self, uuid: str, believed: "Mapping[str, Sending]") -> None:
        """Count a turn that missed this.

        Where bytes are sent again and again for names that are missed before they were of any use, the
        engine keeps nothing, or has too little room: it is named nothing alone for a while.
        """
        sending = believed.get(uuid)
        if sending is None or uuid in sending.useful:
            return
        self._fruitless += 1
        if self._fruitless >= _MAX_FRUITLESS:
            self._fruitless = 0
            self._rests_until = self._clock() + _RESTING_SECONDS

    def hit(self, believed: "Mapping[str, Sending]") -> None:
        """Note that the engine had what it was named alone."""
        self._fruitless = 0
        for uuid, sending in believed.items():
            sending.useful.add(uuid)

    def _rests(self) -> bool:
        return self._clock() < self._rests_until

    def _let_go(self, sending: "Sending") -> None:
        for uuid in sending.uuids:
            if self._on_their_way.get(uuid) is sending:
                del self._on_their_way[uuid]


class Sending:
    """Bytes that one request sends."""

    def __init__(self, place: Place, uuids: frozenset[str]) -> None:
        self._place = place
        self.uuids = uuids
        self.useful: set[str] = set()
        """Those that were named alone since, and were there."""
        self.when_sent = asyncio.Event()
        """Set when they went, or will not."""
        self.when_answered = asyncio.Event()
        """Set when the engine has said something, or will not."""

    def sent(self) -> None:
        """All of them were handed over; before the engine can have looked at them."""
        self._place.note(self)
        self.when_sent.set()

    def lost(self) -> None:
        """The engine refused what they came with."""
        self._place.drop(self)
        self.when_sent.set()
        self.when_answered.set()

    def answered(self) -> None:
        """The engine has looked at them."""
        self.when_answered.set()

    def end(self) -> None:
        """Nothing more will come. May be called after the others."""
        if not self.when_sent.is_set():
            self.lost()
        self.when_answered.set()


async def _within(ends_at: float, event: asyncio.Event) -> bool:
    """Wait for an event until a time of the loop's clock; return whether it came."""
    try:
        async with asyncio.timeout_at(ends_at):
            return await event.wait()
    except TimeoutError:
        return False
