"""Operations as exchanges: generators that say what is to be done, and drivers that do it.

An exchange yields steps and is sent their outcome: a `Request` is answered by its `Reply`, a
`Work` by what its function returned, a `Join` once another exchange is done with something. A step that fails is thrown into the exchange where it
stands. So each operation is written once, and the blocking and the asynchronous driver differ
only in how they wait.

Drivers keep three rules:
1. They run an exchange to its end: also after an error or a cancellation they throw that in and
   perform the steps that still come, which is how exchanges close what they opened.
2. They raise only this folder's errors, or what the caller's own callback raised.
3. The asynchronous one runs `Work`, `Outgoing.read_piece`, `Sink.begin` and `Sink.write` in
   threads; `sent` and `received`, which tell the caller, on its loop.
"""

from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""The most that is held of one answer: an answer is a model's text or a page of descriptors."""


class Outgoing(Protocol):
    """A request body that is read while it is sent."""

    @property
    def size(self) -> int:
        """Bytes, known before the first is sent."""
        ...

    def read_piece(self) -> bytes:
        """Return the next piece; empty at the end. Called by one thread at a time."""
        ...

    def sent(self, count: int) -> None:
        """Learn that `count` more bytes were handed to the connection."""
        ...


class Sink(Protocol):
    """Where the body of a successful answer goes while it arrives."""

    def begin(self, size: int | None) -> None:
        """Get ready for `size` bytes; None where the answer does not say."""
        ...

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        ...

    def received(self, count: int) -> None:
        """Learn that `count` more bytes were taken."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer. Header names are lower case. `body` is empty where a sink or a stream took it."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def is_success(self) -> bool:
        """Say whether the status is 2xx."""
        return 200 <= self.status < 300

    def number(self, header: str) -> int | None:
        """Return a header's value where it is a decimal number."""
        text = self.headers.get(header, "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request to the client's origin.

    A success with `sink` streams its body there; with `keep_open` the driver hands the open body
    to whoever drives. Any other answer is read whole, up to `MAX_ANSWER_BYTES`.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes | Outgoing | None = None
    sink: Sink | None = None
    keep_open: bool = False

    def __iter__(self) -> Generator["Request", object, Reply]:
        reply = yield self
        return cast("Reply", reply)  # drivers answer a request with its reply


@dataclass(frozen=True, slots=True)
class Work(Generic[T_co]):
    """Something that takes a processor or a disk for a while: up to some tens of milliseconds."""

    run: Callable[[], T_co]

    def __iter__(self) -> Generator["Work[object]", object, T_co]:
        outcome = yield self
        return cast("T_co", outcome)  # drivers answer work with what its function returned


@dataclass(frozen=True, slots=True)
class Join:
    """Waits until another exchange, of whichever driver, is done; it says so by setting a result."""

    until: "Future[object]"

    def __iter__(self) -> Generator["Join", object, None]:
        yield self


Step: TypeAlias = Request | Work[object] | Join
Exchange: TypeAlias = Generator[Step, object, T]
