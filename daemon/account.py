"""One request's account: what it carried each way, and a bounded copy of what the client sent.

Kept beside the traffic, so that observing changes no byte and delays none.
"""

from collections.abc import Callable
from dataclasses import dataclass

from .observation import Observed, Observer
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
        self._bytes_up = 0
        self._bytes_down = 0
        self.status = 0
        """What the client was answered; 0 while it was not."""

    def take(self, chunk: bytes) -> None:
        """Count bytes that the client sent."""
        self._bytes_up += len(chunk)
        if self._body is not None:
            self._body.append(chunk)
            if self._bytes_up > self._max_body_bytes:
                self._body = None

    def give(self, size: int) -> None:
        """Count bytes that the client is sent."""
        self._bytes_down += size

    def close(self, *, is_whole: bool) -> None:
        """Report it, unless its upstream's mode is `pass`; call it once.

        `is_whole` says whether all of the client's body came; else what came is only counted.
        """
        if self._upstream.mode == "pass":
            return
        subject = self._subject
        body = self._body if is_whole else None
        self._observer.record(
            Observed(
                tenant=subject.tenant,
                upstream=self._upstream.name,
                mode=self._upstream.mode,
                dialect=subject.dialect,
                path=subject.path,
                body=b"".join(body) if body else None,
                content_encoding=subject.content_encoding,
                bytes_up=self._bytes_up,
                bytes_down=self._bytes_down,
                status=self.status,
                at=subject.at,
            )
        )


OpenAccount = Callable[[Subject, UpstreamConfig], Account]
