"""What an observed request adds to the report, given what was seen before.

The rules, which `docs/report.md` explains to readers:

1. A prefix is known when its digest was seen before, from the same tenant in the same dialect.
2. Repeated are the messages of the longest known prefix, and after it the base64 of images that
   the tenant had sent before; and large values beside the messages that it had sent before.
3. With `on`, a client names the longest prefix and the values that are still kept, appends the rest in ref form,
   asks which of the rest's images are missing, and uploads those that are not held.
4. A prefix is broken when the request goes beyond its longest known prefix, and behind that stands
   a message, not the last, with which an earlier request ended. It broke at the first message that
   is not known there. So neither a branch, nor a repetition, nor another conversation with the same
   beginning breaks anything. It is broken before the first message where the conversation's earlier
   request had other values there, such as its tools.
5. A conversation is new where no earlier request's end stands in it, and it continues no prompt by name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from coatcheck.protocol import PrefixOutcome, PromptUsage

from .marks import HAS_BROKEN, Mark, Memory, Seen, TurnMarks, changed_key
from .observation import Observed
from .observed_turn import ObservedImage, ObservedTurn, question_bytes

_MB = 1_000_000
LEADING = -1
"""In place of a message's index: what stands before the messages."""


@dataclass(frozen=True, slots=True)
class Request:
    """An observed request. `turn` is None where no messages were read."""

    tenant: str
    upstream: str
    mode: str
    at: float
    bytes_up: int
    bytes_down: int
    turn: ObservedTurn | None
    is_dropped: bool = False
    usage: PromptUsage | None = None

    @classmethod
    def of(cls, observed: Observed, turn: ObservedTurn | None, *, is_dropped: bool) -> "Request":
        """Join what is told at the end with what was read of the body."""
        return cls(
            observed.tenant,
            observed.upstream,
            observed.mode,
            observed.at,
            observed.bytes_up,
            observed.bytes_down,
            turn,
            is_dropped,
            observed.usage,
        )

    def dropped(self) -> "Request":
        """Return it as if its body had not been read."""
        return replace(self, turn=None, is_dropped=True)


@dataclass(frozen=True, slots=True)
class Terms:
    """For how many seconds after its last use something is known, and is kept by `on`."""

    known_seconds: float = 7 * 24 * 3600
    prompt_seconds: float = 24 * 3600
    lease_seconds: float = 24 * 3600


@dataclass(slots=True)
class Figures:
    """Sums over requests.

    `turns` are the requests whose messages were read, `dropped` those for which there was no time
    to, or that were too large. `on_bytes` are what clients would have sent with `on` in place of
    `bytes_up`: they say what it would have saved. `conversations` are those that began or branched,
    `broken_conversations` those whose prefix has broken, once each; `lost_bytes` stood behind the breaks.
    Tokens are the providers' own counts, of answers that say them.
    """

    requests: int = 0
    turns: int = 0
    dropped: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    repeated_bytes: int = 0
    images: int = 0
    image_bytes: int = 0
    over_1_mb: int = 0
    over_6_mb: int = 0
    over_20_mb: int = 0
    breaks: int = 0
    on_bytes: int = 0
    conversations: int = 0
    broken_conversations: int = 0
    lost_bytes: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0

    def add(self, other: "Figures") -> None:
        """Add another sum to this one."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one request adds: figures, where it broke its prefix, and what is seen from now on."""

    figures: Figures
    broke_at: int | None
    seen: dict[Mark, Seen]
    broke_in: str = ""
    """The role of the message at which it broke, or what stands before the messages and changed."""
    prefix: PrefixOutcome | None = None
    """What became of the conversation's prefix; None where no messages were read."""


def judge(request: Request, marks: TurnMarks | None, memory: Memory, terms: Terms) -> Outcome:
    """Say what a request adds. `marks` are those of its turn, if it has one."""
    figures = Figures(
        requests=1,
        dropped=int(request.is_dropped),
        bytes_up=request.bytes_up,
        bytes_down=request.bytes_down,
        over_1_mb=int(request.bytes_up > _MB),
        over_6_mb=int(request.bytes_up > 6 * _MB),
        over_20_mb=int(request.bytes_up > 20 * _MB),
        on_bytes=request.bytes_up,
        prompt_tokens=request.usage.prompt_tokens if request.usage else 0,
        cached_tokens=request.usage.cached_tokens if request.usage else 0,
    )
    if request.turn is None or marks is None:
        return Outcome(figures, None, {})
    view = _View(request.turn, marks, memory, request.at)
    start = view.longest(terms.known_seconds)
    figures.turns = 1
    figures.repeated_bytes = sum(item.json_bytes for item in request.turn.messages[:start])
    known = view.fields(terms.known_seconds)
    figures.repeated_bytes += sum(one.json_bytes for one in request.turn.fields if one.key in known)
    for image, is_known in view.images(start, terms.known_seconds):
        figures.repeated_bytes += image.base64_bytes if is_known else 0
    for image, is_known in view.images(0, terms.known_seconds):
        figures.images += not is_known
        figures.image_bytes += 0 if is_known else image.size
    if not request.turn.is_envelope:
        figures.on_bytes = _on_bytes(request.turn, view, terms)
    broken = view.broken(start, terms.known_seconds)
    earlier = view.earlier(terms.known_seconds)
    has_broken = earlier is not None and bool(earlier.seen.depth & HAS_BROKEN)
    if broken is not None:
        figures.breaks = 1
        figures.broken_conversations = int(not has_broken)
        figures.lost_bytes = broken.lost_bytes
    is_new = earlier is None and broken is None and not view.has_parent
    figures.conversations = int(is_new)
    seen = view.seen(has_broken=has_broken or broken is not None)
    if broken is None:
        return Outcome(figures, None, seen, prefix="new" if is_new else "kept")
    return Outcome(figures, broken.at, seen, broken.role, "broken")


@dataclass(frozen=True, slots=True)
class _End:
    """An earlier request's last message: where it stands now, and what was noted with it."""

    at: int
    seen: Seen


@dataclass(frozen=True, slots=True)
class _Break:
    """Where a prefix broke, from the conversation's start."""

    at: int
    role: str
    lost_bytes: int


class _View:
    """A turn beside what is remembered."""

    def __init__(self, turn: ObservedTurn, marks: TurnMarks, memory: Memory, now: float) -> None:
        self._turn = turn
        self._marks = marks
        self._memory = memory
        self._now = now
        parent = memory.get(marks.parent)
        self._depth = parent.depth if parent else 0

    def longest(self, seconds: float) -> int:
        """Return how many messages the longest known prefix has."""
        prefixes = self._marks.prefixes
        known = (
            count
            for count in range(len(prefixes), 0, -1)
            if self._is_known(prefixes[count - 1], seconds)
        )
        return next(known, 0)

    def images(self, start: int, seconds: float) -> Iterator[tuple[ObservedImage, bool]]:
        """Yield the images from a message on, and whether each is known, of this turn or before."""
        met: set[Mark] = set()
        for message, marks in zip(
            self._turn.messages[start:], self._marks.images[start:], strict=True
        ):
            for image, mark in zip(message.images, marks, strict=True):
                yield image, mark in met or self._is_known(mark, seconds)
                met.add(mark)

    def fields(self, seconds: float) -> set[str]:
        """Return the keys of the large values that are known."""
        marks = self._marks.fields.items()
        return {key for key, mark in marks if self._is_known(mark, seconds)}

    @property
    def has_parent(self) -> bool:
        """Whether it continues a prompt by its name."""
        return self._turn.parent is not None

    def earlier(self, seconds: float) -> _End | None:
        """Return the end of the conversation's earlier request; of the same list, if it is sent again."""
        return next(self._ends(len(self._marks.ends), seconds), None)

    def broken(self, start: int, seconds: float) -> _Break | None:
        """Return where a prefix broke that has `start` known messages.

        What stands before the messages comes first: a model reads it first.
        """
        end = next(self._ends(len(self._marks.ends) - 1, seconds), None)
        if end is None or start == len(self._turn.messages):  # it does not go beyond what is known
            return None
        key = changed_key(self._turn.dialect, self._marks.leading, end.seen.depth)
        if key is not None:
            return _Break(LEADING, key, self._bytes(0, end.at))
        if end.at < start or not self._turn.chain:
            return None
        role = self._turn.messages[start].role
        return _Break(self._depth + start, role, self._bytes(start, end.at))

    def seen(self, *, has_broken: bool) -> dict[Mark, Seen]:
        """Return what is known after this turn."""
        found = {mark: Seen(self._now) for marks in self._marks.images for mark in marks}
        found |= {mark: Seen(self._now) for mark in self._marks.fields.values()}
        for count, mark in enumerate(self._marks.prefixes, 1):
            found[mark] = Seen(self._now, self._depth + count)
        if self._marks.ends:
            leading = self._marks.leading | (HAS_BROKEN if has_broken else 0)
            found |= {mark: Seen(self._now, leading) for mark in self._marks.ends[-1]}
        return found

    def _ends(self, count: int, seconds: float) -> Iterator[_End]:
        """Yield the ends of earlier requests among the first `count` messages, the last one first."""
        for at in range(count - 1, -1, -1):
            for mark in self._marks.ends[at]:
                if self._is_known(mark, seconds):
                    yield _End(at, self._memory[mark])

    def _bytes(self, start: int, end: int) -> int:
        return sum(message.json_bytes for message in self._turn.messages[start : end + 1])

    def _is_known(self, mark: Mark, seconds: float) -> bool:
        seen = self._memory.get(mark)
        return seen is not None and self._now - seen.at <= seconds


def _on_bytes(turn: ObservedTurn, view: _View, terms: Terms) -> int:
    """Return what a client with an empty hand but a good memory would have sent."""
    start = view.longest(terms.prompt_seconds)
    named = {image.digest for message in turn.messages[start:] for image in message.images}
    uploads = sum(
        image.size for image, is_held in view.images(start, terms.lease_seconds) if not is_held
    )
    known = view.fields(terms.prompt_seconds)
    return turn.envelope_bytes(start, known) + question_bytes(len(named)) + uploads
