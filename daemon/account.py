"""One request's account: what it carried each way, and a bounded copy of what the client sent.

Kept beside the traffic, so that observing changes no byte and delays none.
"""

from dataclasses import dataclass

from coatcheck.protocol import Buffer, Dialect, PromptUsage, read_usage

from .answer_ends import AnswerEnds
from .observation import Observed, ObservedBody, ObservedRequest, Observer
from .observed_turn import ReadLimits, SentTurn, sent_turn
from .parsed_request import ParsedRequest
from .upstream import UpstreamConfig

# What a JSON value takes of memory beside its text, about.
_VALUE_BYTES = 100


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
        self, subject: Subject, upstream: UpstreamConfig, observer: Observer, limits: ReadLimits
    ) -> None:
        """A turn beyond the limits is not copied but only counted."""
        self._subject = subject
        self._upstream = upstream
        self._observer = observer
        self._limits = limits
        is_copied = upstream.mode != "pass" and subject.dialect is not None
        self._body: list[bytes] | None = [] if is_copied else None
        self._body_bytes = 0
        self._reading: object = None
        self._is_dropped = False
        self._bytes_up = 0
        self._bytes_down = 0
        is_read = is_copied and (upstream.observe or upstream.mode == "observe")
        self._ends = AnswerEnds() if is_read else None
        self.status = 0
        """What the client was answered; 0 while it was not."""

    def take(self, chunk: Buffer) -> None:
        """Count bytes that the client sent."""
        self._bytes_up += len(chunk)
        if self._body is None:
            return
        if self._bytes_up > self._limits.max_bytes:
            self._is_dropped = True
            self._let_go()
        elif self._observer.take_room(len(chunk)):
            self._body.append(bytes(chunk))
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

    def count(self, size: int) -> None:
        """Count a whole body that nobody reads for the report; `size` is as it came."""
        self._bytes_up += size
        self._body = None

    def copy_of(self, parsed: ParsedRequest, dialect: Dialect) -> SentTurn | None:
        """Copy what `show` takes of a parsed body; None: it has no turn, or too large a one."""
        limits = self._limits
        if parsed.size > limits.max_bytes or parsed.values > limits.max_values:
            self._is_dropped = True
            return None
        sent = sent_turn(parsed.put_back(), dialect)
        return sent and sent.copy()

    def show(self, size: int, parsed: ParsedRequest, sent: SentTurn | None) -> None:
        """Learn of a whole body that was read: `size` is as it came, `sent` of `copy_of`."""
        self._bytes_up += size
        self._body = None
        dialect = self._subject.dialect
        if sent is None or dialect is None:
            return
        held = parsed.size + _VALUE_BYTES * parsed.values
        if self._observer.take_room(held):
            request = ObservedRequest(self._subject.tenant, dialect, sent, held)
            self._reading = self._observer.read(request)
        else:
            self._is_dropped = True

    def give(self, data: bytes) -> None:
        """Count bytes that the client is sent."""
        self._bytes_down += len(data)
        if self._ends is not None:
            self._ends.take(data)

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
                usage=self._usage(),
            )
        )

    def _usage(self) -> PromptUsage | None:
        dialect = self._subject.dialect
        if self._ends is None or dialect is None:
            return None
        return read_usage(dialect, self._ends.joined())

    def _let_go(self) -> None:
        if self._body is not None:
            self._observer.give_room(self._body_bytes)
            self._body = None
