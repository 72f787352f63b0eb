"""What is told of each request that went through the gateway, and to whom.

Whoever forwards a request asks an `Observer` for room as the body comes, hands the body over once
all of it is there, and tells the rest when the answer has ended. So a body is not held while a
model thinks. Observing never waits and never fails: what there is no room for is dropped and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from coatcheck.protocol import PromptUsage

from .observed_turn import SentTurn

Mode = Literal["pass", "observe", "on"]


@dataclass(frozen=True, slots=True)
class ObservedBody:
    """A turn's body as the client sent it, coded as `content_encoding` says (None: as it is)."""

    tenant: str
    dialect: str
    content_encoding: str | None
    chunks: Sequence[bytes] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes that it holds."""
        return sum(map(len, self.chunks))


@dataclass(frozen=True, slots=True)
class ObservedRequest:
    """A turn that the gateway has parsed: a copy of what is in it. `size` is about what it holds."""

    tenant: str
    dialect: str
    sent: SentTurn = field(repr=False)
    size: int


@dataclass(frozen=True, slots=True)
class Observed:
    """One request that went through.

    `dialect` is None on a path that is no turn. `reading` is what the observer gave for the body; None
    when there was no body to read, or not all of it came. `is_dropped` says that there was no room
    for it, or that it is too large to be read. `bytes_up` are the body's bytes as they came from the client, `bytes_down` the answer's
    body as it went to the client. `status` is what the client was answered. `at` is when the request
    came, in Unix seconds.
    """

    tenant: str
    upstream: str
    mode: Mode
    dialect: str | None
    path: str
    reading: object
    is_dropped: bool
    bytes_up: int
    bytes_down: int
    status: int
    at: float
    usage: PromptUsage | None = None
    """What the answer says of the tokens that were read."""


class Observer(Protocol):
    """Takes what was observed. Every call returns at once and never raises."""

    def take_room(self, size: int) -> bool:
        """Take room for so many bytes of a body; False when there is none."""
        ...

    def give_room(self, size: int) -> None:
        """Give back room for bytes that will not be handed over."""
        ...

    def read(self, body: ObservedBody | ObservedRequest) -> object:
        """Take a whole body, for whose `size` room was taken, to be read later; for `Observed.reading`."""
        ...

    def record(self, observed: Observed) -> None:
        """Take one request; it may be dropped."""
        ...

    async def close(self) -> None:
        """Read and write what was taken, as far as a few seconds go. May be called twice."""
        ...


class NoObserver:
    """An observer of nothing."""

    def take_room(self, size: int) -> bool:
        """Have none."""
        return False

    def give_room(self, size: int) -> None:
        """Do nothing."""

    def read(self, body: ObservedBody | ObservedRequest) -> object:
        """Drop it."""
        return None

    def record(self, observed: Observed) -> None:
        """Drop it."""

    async def close(self) -> None:
        """Do nothing."""
