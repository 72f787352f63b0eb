"""What a reuse mode is: for each turn a plan of what stands in which slot, and what a refusal changes.

1. A plan is made before the body is written; what it takes, such as an upload, is awaited then.
2. A plan says which statuses it wants to see. An answer of one of those, read before its first byte
   reaches the client, may prove that the upstream's model did not run since it lacks something that it
   was named: then the plan corrects what its mode knows, and another one is written and sent in its
   place. Plans come to an end by themselves: the last one of a turn sends bytes.
3. In one chain of turns a blob keeps its form as long as the upstream can have it so: providers cache
   prompts by their beginning.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, TypeAlias

from aiohttp import web

from ..body import Body, OpenBlob
from ..peeked import Refusal
from ..splice import Filling
from ..turn import Turn
from ..upstream import Upstream

Headers: TypeAlias = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Hop:
    """One turn before its last hop: whose it is, what came, where it goes.

    `fillings` are of the attachments that are no inline bytes of the client's, or that a variant takes
    the place of; `open_blob` opens any blob of theirs.
    """

    tenant: str
    request: web.Request
    upstream: Upstream
    turn: Turn
    fillings: Sequence[Filling]
    open_blob: OpenBlob
    root: bytes | None = None
    """Of the turn's conversation, where its upstream has several replicas."""
    end_user: str | None = None
    """Whom the turn is for."""


class Plan(Protocol):
    """What goes into one turn's slots, in one request. Closed once, whatever became of the request."""

    @property
    def fillings(self) -> Sequence[Filling]:
        """What is put into slots; others stay as the client wrote them."""
        ...

    @property
    def watched(self) -> Collection[int]:
        """The statuses of answers that `refused` is to see."""
        ...

    def headers(self, headers: Headers) -> Headers:
        """Return the request's headers, joined by what the forms ask for."""
        ...

    def body(self, body: Body) -> Body:
        """Return the request's body, watched where it matters when all of it was handed over."""
        ...

    async def refused(self, refusal: Refusal) -> "Plan | None":
        """Return what to send in place of this; None: the refusal is the client's to see."""
        ...

    def answered(self, status: int) -> None:
        """Learn the status of the answer that the client gets."""
        ...

    def close(self) -> None:
        """Learn that the request has ended; called after `answered`, or without it."""
        ...


class Mode(Protocol):
    """One way in which upstreams get blobs; one object for all upstreams that have it."""

    async def plan(self, hop: Hop) -> Plan:
        """Decide what goes into a turn's slots.

        What the mode cannot do for a blob, its bytes do.
        """
        ...

    async def close(self) -> None:
        """End what goes on in the background. May be called twice."""
        ...


class Modes:
    """The modes there are, by the upstreams' setting; owns and closes them."""

    def __init__(self, modes: Mapping[str, Mode]) -> None:
        """`modes` has one for each value of `reuse` that any upstream has."""
        self._modes = MappingProxyType(dict(modes))

    def of(self, upstream: Upstream) -> Mode:
        """Return an upstream's mode."""
        return self._modes[upstream.config.reuse]

    async def close(self) -> None:
        """Close every mode. May be called twice."""
        for mode in self._modes.values():
            await mode.close()
