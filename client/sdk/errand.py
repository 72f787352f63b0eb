"""A turn on its way: what its steps are as requests of the library, and its answer as a response."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from coatcheck.protocol import Dialect, Problem, encode_json

from ..announcement import Announcements
from ..errors import ConnectionFailedError, TimedOutError
from ..exchange import Exchange, Reply, Request
from ..exchange import Step as CoreStep
from ..turn import Turn
from .direct import is_away
from .handed import HANDED, Handed
from .office import Office
from .steps import Drain, Plan, Send

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

Stream: TypeAlias = "httpx2.SyncByteStream | httpx2.AsyncByteStream"
Reading: TypeAlias = Callable[[Stream, Announcements], Stream]
"""Returns a stream with what reads it as it passes."""


@dataclass(slots=True)
class Errand:
    """One request of an SDK's, and how far it came."""

    office: Office
    request: "httpx2.Request"
    url: "httpx2.URL"
    dialect: Dialect | None = None
    turn: Turn | None = None
    is_sent: bool = False
    """Whether a provider may have it already."""
    answer: "httpx2.Response | None" = None
    """What came to the request itself, the last time that it was sent; open where it is a success."""

    @property
    def handed(self) -> Handed | None:
        """What came beside the request."""
        handed = self.request.extensions.get(HANDED)
        return handed if isinstance(handed, Handed) else None

    @property
    def original(self) -> "httpx2.Request":
        """The request as its SDK means it, with its body written out."""
        return self.request if self.handed is None else self.rewritten(self.handed.write())

    def run(self, exchange: Exchange[T]) -> Plan[T]:
        """Carry out an exchange by requests like this one."""
        try:
            step = next(exchange)
            while True:
                try:
                    outcome = yield from self._perform(step)
                except BaseException as error:  # noqa: BLE001 - passed on, not swallowed
                    step = exchange.throw(error)
                else:
                    step = exchange.send(outcome)
        except StopIteration as stop:
            return cast("T", stop.value)

    def _perform(self, step: CoreStep) -> Plan[object]:
        if not isinstance(step, Request):
            return (yield step)
        try:
            return (yield from self._send(step))
        except self.office.library.timeout as error:
            raise TimedOutError(f"no answer in time: {error}") from error
        except self.office.library.transport_error as error:
            raise ConnectionFailedError(f"the connection failed: {error}") from error

    def _send(self, step: Request) -> Plan[Reply]:
        content = step.body if isinstance(step.body, bytes) else None
        body = None if isinstance(step.body, bytes) else step.body
        path = step.path.encode("ascii")
        request = self.office.library.request(
            step.method,
            self.url if step.keep_open else self.url.copy_with(raw_path=path),
            headers=self.office.step_headers(step, self.request),
            content=content,
            extensions=self.extensions,
        )
        self.is_sent = self.is_sent or step.keep_open
        response = yield from Send(request, body)
        if step.keep_open:
            self.answer = response
            if response.is_success:
                return reply_of(response)
        return reply_of(response, (yield from Drain(response)))

    def response(
        self, reply: Reply, announcements: Announcements | None, reading: Reading
    ) -> "httpx2.Response | None":
        """Return what the SDK gets for the answer to the request itself.

        None where it says that nobody took it, and there is somebody else.
        """
        assert self.answer is not None
        if self.office.fallback and is_away(reply):
            return None
        if not reply.is_success:
            return self._read(self.answer, reply.body)
        if announcements is not None and _is_plain_stream(reply):
            self.answer.stream = reading(self.answer.stream, announcements)
        return self.answer

    def _read(self, response: "httpx2.Response", raw: bytes) -> "httpx2.Response":
        """Return a response whose bytes were read already."""
        return self.office.library.response(
            response.status_code, headers=response.headers, content=raw, extensions=_told(response)
        )

    def refused(self, dialect: Dialect, problem: Problem) -> "httpx2.Response":
        """Return an answer of our own, as the provider's SDK reads one."""
        return self.office.library.response(
            problem.status,
            headers={"content-type": "application/json", "x-should-retry": "false"},
            content=encode_json(dialect.provider.error(problem)),
        )

    def rewritten(self, content: bytes) -> "httpx2.Request":
        """Return the request with another body."""
        headers = self.office.turn_headers(self.request)
        return self.office.library.request(
            self.request.method,
            self.request.url,
            headers=headers,
            content=content,
            extensions=self.extensions,
        )

    @property
    def extensions(self) -> dict[str, object]:
        """What of the SDK's request is for its library: time limits, say."""
        return {name: value for name, value in self.request.extensions.items() if name != HANDED}


def reply_of(response: "httpx2.Response", raw: bytes = b"") -> Reply:
    """Return the head of a response, with what was read of its body."""
    return Reply(response.status_code, dict(response.headers.items()), raw)


def _is_plain_stream(reply: Reply) -> bool:
    kind = reply.headers.get("content-type", "")
    coding = reply.headers.get("content-encoding", "identity")
    return kind.startswith("text/event-stream") and coding == "identity"


def _told(response: "httpx2.Response") -> dict[str, object]:
    """Return what the library says of a response: how it came."""
    return dict(response.extensions)
