"""One request's account: what it carried each way, and a bounded copy of what the client sent.

Kept beside the traffic, so that observing changes no byte and delays none.
"""

from dataclasses import dataclass

from .observation import Observed, ObservedBody, Observer
from .upstream import UpstreamConfig


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose request it is, and where to."""

    tenant: str
    path: str
    dialect: str | None
    content_encoding: str | None
    at: float


class Account:
    """Counts one request; `close` reports it."""

    def __init__(
        self, subject: Subject, upstream: UpstreamConfig, observer: Observer, max_body_bytes: int
    ) -> None:
        """At most `max_body_bytes` of a turn are copied; a longer one is only counted."""
        self._subject = subject
        self._upstream = upstream
        self._observer = observer
        self._max_body_bytes = max_body_bytes
        is_copied = upstream.mode != "pass" and subject.dialect is not None
        self._body: list[bytes] | None = [] if is_copied else None
        self._body_bytes = 0
        self._reading: object = None
        self._is_dropped = False
        self._bytes_up = 0
        self._bytes_down = 0
        self.status = 0
        """What the client was answered; 0 while it was not."""

    def take(self, chunk: bytes) -> None:
        """Count bytes that the client sent."""
        self._bytes_up += len(chunk)
        if self._body is None:
            return
        if self._bytes_up > self._max_body_bytes:
            self._let_go()
        elif self._observer.take_room(len(chunk)):
            self._body.append(chunk)
            self._body_bytes += len(chunk)
        else:
            self._is_dropped = True
            self._let_go()

    def end(self) -> None:
        """Learn that all of the client's body came."""
        subject, body = self._subject, self._body
        if body and subject.dialect is not None:
            self._reading = self._observer.read(
                ObservedBody(subject.tenant, subject.dialect, subject.content_encoding, body)
            )
            self._body = None

    def give(self, size: int) -> None:
        """Count bytes that the client is sent."""
        self._bytes_down += size

    def close(self) -> None:
        """Report it, unless its upstream's mode is `pass`; call it once."""
        self._let_go()
        if self._upstream.mode == "pass":
            return
        subject = self._subject
        self._observer.record(
            Observed(
                tenant=subject.tenant,
                upstream=self._upstream.name,
                mode=self._upstream.mode,
                dialect=subject.dialect,
                path=subject.path,
                reading=self._reading,
                is_dropped=self._is_dropped,
                bytes_up=self._bytes_up,
                bytes_down=self._bytes_down,
                status=self.status,
                at=subject.at,
            )
        )

    def _let_go(self) -> None:
        if self._body is not None:
            self._observer.give_room(self._body_bytes)
            self._body = None
