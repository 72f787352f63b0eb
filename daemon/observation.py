"""What is told of each request that went through the gateway, and to whom.

Whoever forwards a request makes one `Observed` of it when its answer has ended, and hands it to an
`Observer`. Recording never waits and never fails: what an observer cannot take it drops and counts.
"""

from dataclasses import dataclass, field
from typing import Literal, Protocol

Mode = Literal["pass", "observe", "on"]


@dataclass(frozen=True, slots=True)
class Observed:
    """One request that went through.

    `dialect` is None on a path that is no turn; `path` is that path as the route has it, without a
    query. `body` is what the client sent, coded as `content_encoding` says (None: as it is); it is
    None when there was none or it was longer than the tee holds. `bytes_up` are the body's bytes as
    they came from the client, `bytes_down` the answer's body as it went to the client. `status` is
    what the client was answered. `at` is when the request came, in Unix seconds.
    """

    tenant: str
    upstream: str
    mode: Mode
    dialect: str | None
    path: str
    body: bytes | None = field(repr=False)
    content_encoding: str | None
    bytes_up: int
    bytes_down: int
    status: int
    at: float


class Observer(Protocol):
    """Takes what was observed."""

    def record(self, observed: Observed) -> None:
        """Take one request for analysis later. It returns at once, never raises, and may drop it."""
        ...

    async def close(self) -> None:
        """Analyse and write what was taken. May be called twice."""
        ...


class NoObserver:
    """An observer of nothing."""

    def record(self, observed: Observed) -> None:
        """Drop it."""

    async def close(self) -> None:
        """Do nothing."""
