"""The mode `uuid`: an engine is told a name beside an image's bytes the first time, the name alone after.

vLLM keeps what it made of an image under that name, until it needs the room. The name is a keyed hash
of tenant and digest: equal names mean equal bytes, no tenant can guess another's, and a client that
names its images itself is left alone. What is not there any more is found out by a refusal; then the
bytes go again, those of the images used longest ago first, since they went first there too.
Source: vLLM, entrypoints/chat_utils.py and multimodal/processing/processor.py.
"""

import re
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

from coatcheck.protocol import Buffer, Json, JsonObject, UuidSlot

from ..affinity import Affinity
from ..body import Body
from ..form import AsUuid
from ..meters import Meters
from ..peeked import Refusal
from ..splice import Filling
from .inline import InlinePlan
from .mode import Headers, Hop, Plan
from .named import Named, Place, Places
from .offer import offers
from .owner import keyed_hash

_REFUSALS = frozenset({400, 503})
_CODE = "multimodal_cache_miss"
_finds_miss = re.compile(r"Cache miss for (\w+) at index (\d+)").search
# Plans of a turn: the first ones send what is missed and nothing else, those after them guess what else
# is, the last one leaves no bytes out; that after it has no names.
_EXACT_PLANS, _MAX_PLANS = 4, 11
# For another turn's bytes to be looked at, which takes an engine less than that.
_SETTLE_SECONDS = 0.5
# Waiting for bytes that another turn is sending; after that they go twice.
_JOIN_SECONDS = 5.0


class Uuids:
    """The mode `uuid`. What engines have is remembered in this process alone."""

    def __init__(self, secret: bytes, meters: Meters, clock: Callable[[], float]) -> None:
        """`secret` keys the names: with another, all images are sent once more. `clock` gives seconds."""
        self._secret = secret
        self._meters = meters
        self._places = Places(clock)

    async def plan(self, hop: Hop) -> Plan:
        """Name every image; see `Mode.plan`."""
        items = [
            Named(self._uuid(hop.tenant, slot, offer.filling), offer.filling)
            async for offer in offers(hop, UuidSlot)
            if isinstance(slot := offer.filling.slot, UuidSlot) and not slot.has_uuid
        ]
        if not items:
            return InlinePlan(hop.fillings)
        place = self._places.at(_address(hop))
        await place.join({item.uuid for item in items}, _JOIN_SECONDS)
        unknown = place.unknown(item.uuid for item in items)
        return self._planned(hop, place, items, unknown, 1)

    async def close(self) -> None:
        """Nothing is held."""

    def _uuid(self, tenant: str, slot: UuidSlot, filling: Filling) -> str:
        return keyed_hash(self._secret, "uuid", tenant, slot.uuid_kind, filling.blob.digest)

    def _planned(
        self,
        hop: Hop,
        place: Place,
        items: Sequence[Named],
        with_bytes: Collection[str],
        number: int,
    ) -> "UuidPlan":
        return UuidPlan(self, hop, place, items, frozenset(with_bytes), number)

    def count(self, plan: "UuidPlan") -> None:
        """Count what a plan that was answered has sent and spared."""
        for item in plan.items:
            is_sent = item.uuid in plan.with_bytes
            size = 0 if is_sent else item.filling.blob.size
            self._meters.reused("uuid", "uploaded" if is_sent else "found", size)

    async def replan(self, plan: "UuidPlan", refusal: Refusal) -> Plan | None:
        """Return what to send in place of a plan that was refused; see `Plan.refused`."""
        if not _is_miss(refusal):
            return None
        self._meters.reused("uuid", "recovered")
        place = plan.place
        left_out = place.oldest(uuid for uuid in plan.uuids if uuid not in plan.with_bytes)
        if not left_out:
            return InlinePlan(plan.hop.fillings)  # it keeps nothing under our names
        missed = _missed(plan, refusal)
        if plan.number == 1:
            place.count_miss(missed or left_out[0], plan.believed)
        guessed = _guessed(plan.number, missed, left_out)
        perhaps = place.miss(guessed, plan.believed)
        if plan.number > _EXACT_PLANS:
            perhaps = set[str]()
        surely = plan.with_bytes | (set(guessed) - perhaps)
        sending = place.begin(surely)  # at once: others are to wait for these
        try:
            there = await place.settle(perhaps, _SETTLE_SECONDS)
            sent = surely | (perhaps - there)
            return self._planned(plan.hop, place, plan.items, sent, plan.number + 1)
        finally:
            sending.end()


class UuidPlan:
    """Names for all images of a turn, and bytes for those that the engine may not have."""

    watched = _REFUSALS

    def __init__(
        self,
        mode: Uuids,
        hop: Hop,
        place: Place,
        items: Sequence[Named],
        with_bytes: frozenset[str],
        number: int,
    ) -> None:
        """`number` counts the plans of the turn, from one."""
        self._mode = mode
        self.hop = hop
        self.place = place
        self.items = items
        self.uuids = list(dict.fromkeys(item.uuid for item in items))
        self.with_bytes = with_bytes
        self.number = number
        self.believed = place.senders(uuid for uuid in self.uuids if uuid not in with_bytes)
        self._sending = place.begin(with_bytes)
        paths = {item.filling.slot.path for item in items}
        others = (filling for filling in hop.fillings if filling.slot.path not in paths)
        named = (
            replace(item.filling, form=AsUuid(item.uuid, has_bytes=item.uuid in with_bytes))
            for item in items
        )
        self.fillings: Sequence[Filling] = [*others, *named]

    def headers(self, headers: Headers) -> Headers:
        """Return them as they are."""
        return headers

    def body(self, body: Body) -> Body:
        """Return the body; when all of it went, the bytes in it need not go again."""
        return _Watched(body, self._sending.sent) if self.with_bytes else body

    async def refused(self, refusal: Refusal) -> Plan | None:
        """See `Plan.refused`."""
        self._sending.lost()  # what is refused is not looked at
        return await self._mode.replan(self, refusal)

    def answered(self, status: int) -> None:
        """Learn whether the engine has what it was sent."""
        if status >= 400:
            self._sending.lost()
            return
        self._sending.answered()
        self._mode.count(self)
        if self.believed:
            self.place.hit(self.believed)

    def close(self) -> None:
        """Let others send what was not sent."""
        self._sending.end()


@dataclass(frozen=True, slots=True)
class _Watched:
    """A body, and who is told when all of it was taken."""

    inner: Body
    when_sent: Callable[[], None]

    @property
    def size(self) -> int | None:
        return self.inner.size

    async def chunks(self) -> AsyncGenerator[Buffer]:
        async with aclosing(self.inner.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
        self.when_sent()


def _address(hop: Hop) -> str:
    """Return where a turn is likely to go: of several replicas, to the one that its conversation prefers.

    Where it goes to another one, that says what it does not have.
    """
    config = hop.upstream.config
    if len(config.base_urls) < 2 or hop.root is None:
        return f"{config.name} {config.base_url}"
    preferred = Affinity(config.base_urls, config.spill_requests).order(hop.root)[0]
    return f"{config.name} {config.base_urls[preferred]}"


def _guessed(number: int, missed: str | None, left_out: Sequence[str]) -> Sequence[str]:
    """Return what else to send: what is missed, and after some plans with each twice as many that may be.

    So bytes seldom go that are there, and a turn with many images is not refused for each of them.
    """
    if missed is None or number >= _MAX_PLANS:
        return left_out
    others = [uuid for uuid in left_out if uuid != missed]
    return [missed, *others[: 2 ** max(0, number - _EXACT_PLANS) - 1]]


def _is_miss(refusal: Refusal) -> bool:
    """Whether an engine says that it was named something that it does not have."""
    if refusal.status == 400 and _finds_miss(refusal.text):
        return True
    error: Json = refusal.body.get("error") if isinstance(refusal.body, dict) else None
    return isinstance(error, dict) and _CODE in (error.get("code"), error.get("type"))


def _missed(plan: UuidPlan, refusal: Refusal) -> str | None:
    """Return the name that a refusal means by its index among those of a kind; None: it says none."""
    match = _finds_miss(refusal.text)
    if match is None:
        return None
    paths = list(_paths(plan.hop.turn.body, match[1]))
    index = int(match[2])
    by_path = {item.filling.slot.path: item.uuid for item in plan.items}
    uuid = by_path.get(paths[index]) if index < len(paths) else None
    return None if uuid in plan.with_bytes else uuid


def _paths(body: JsonObject, kind: str) -> "Sequence[tuple[str | int, ...]]":
    """Return where the parts of a kind stand, as engines count them: in order, whoever named them."""
    key = f"{kind}_url"
    found: list[tuple[str | int, ...]] = []
    messages = body.get("messages")
    for number, message in enumerate(messages if isinstance(messages, list) else ()):
        content = message.get("content") if isinstance(message, dict) else None
        for index, part in enumerate(content if isinstance(content, list) else ()):
            if isinstance(part, dict) and key in part:
                found.append(("messages", number, "content", index, key))
    return found
