"""What an observed request adds to the report, given what was seen before.

The rules, which `docs/report.md` explains to readers:

1. A prefix is known when its digest was seen before, from the same tenant in the same dialect.
2. Repeated are the messages of the longest known prefix, and after it the base64 of images that
   the tenant had sent before.
3. With `on`, a client names the longest prefix that is still kept, appends the rest in ref form,
   asks which of the rest's images are missing, and uploads those that are not held.
4. A prefix is broken when the request goes beyond its longest known prefix, and behind that stands
   a message, not the last, with which an earlier request ended. It broke at the first message that
   is not known there. So neither a branch, nor a repetition, nor another conversation with the same
   beginning breaks anything.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from .marks import Mark, Memory, Seen, TurnMarks
from .observation import Observed
from .observed_turn import ObservedImage, ObservedTurn, question_bytes

_MB = 1_000_000


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
    `bytes_up`: they say what it would have saved.
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
    )
    if request.turn is None or marks is None:
        return Outcome(figures, None, {})
    view = _View(request.turn, marks, memory, request.at)
    start = view.longest(terms.known_seconds)
    figures.turns = 1
    figures.repeated_bytes = sum(item.json_bytes for item in request.turn.messages[:start])
    for image, is_known in view.images(start, terms.known_seconds):
        figures.repeated_bytes += image.base64_bytes if is_known else 0
    for image, is_known in view.images(0, terms.known_seconds):
        figures.images += not is_known
        figures.image_bytes += 0 if is_known else image.size
    if not request.turn.is_envelope:
        figures.on_bytes = _on_bytes(request.turn, view, terms)
    broke_at = view.broke_at(start, terms.known_seconds)
    figures.breaks = int(broke_at is not None)
    return Outcome(figures, broke_at, view.seen())


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

    def broke_at(self, start: int, seconds: float) -> int | None:
        """Return the index of the message at which a prefix broke, from the conversation's start."""
        ends = self._marks.ends[start:-1] if self._turn.chain else ()
        is_broken = any(self._is_known(mark, seconds) for end in ends for mark in end)
        return self._depth + start if is_broken else None

    def seen(self) -> dict[Mark, Seen]:
        """Return what is known after this turn."""
        found = {mark: Seen(self._now) for marks in self._marks.images for mark in marks}
        for count, mark in enumerate(self._marks.prefixes, 1):
            found[mark] = Seen(self._now, self._depth + count)
        if self._marks.ends:
            found |= {mark: Seen(self._now) for mark in self._marks.ends[-1]}
        return found

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
    return turn.envelope_bytes(start) + question_bytes(len(named)) + uploads
