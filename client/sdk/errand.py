"""A turn on its way: what its steps are as requests of the library, and its answer as a response."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from coatcheck.protocol import ANSWER_REFS_HEADER, Dialect, Problem, encode_json

from ..announcement import Announcements
from ..errors import ClientError, ConnectionFailedError, TimedOutError
from ..exchange import Exchange, Reply, Request
from ..exchange import Step as CoreStep
from ..turn import Turn
from .direct import is_away
from .handed import HANDED, Handed
from .office import Office
from .passing import Passing
from .restoring import Restoring, asks_for_images
from .steps import Drain, Plan, Send

if TYPE_CHECKING:
    import httpx2

T = TypeVar("T")

_OF_THE_LENGTH = frozenset({"content-length", "transfer-encoding"})

Stream: TypeAlias = "httpx2.SyncByteStream | httpx2.AsyncByteStream"
Reading: TypeAlias = Callable[[Stream, Passing], Stream]
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
    restoring: Restoring | None = None
    """Puts back the bytes that the answer has refs for; None where none were asked for."""
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
        headers = self.office.step_headers(step, self.request)
        if step.keep_open and self.restoring:  # no header of the turn's: its client does not ask
            headers.append((ANSWER_REFS_HEADER.encode(), b"1"))
        request = self.office.library.request(
            step.method,
            self.url if step.keep_open else self.url.copy_with(raw_path=path),
            headers=headers,
            content=content,
            extensions=self.extensions,
        )
        self.is_sent = self.is_sent or step.keep_open
        response = yield from Send(request, body)
        if step.keep_open:
            self.answer = response
            if response.is_success:
                return reply_of(response)
        raw = yield from Drain(response)
        if step.sink is not None and response.is_success:
            step.sink.begin(len(raw))
            step.sink.write(raw)
            step.sink.received(len(raw))
            return reply_of(response)
        return reply_of(response, raw)

    def take_on(self, turn: Turn) -> None:
        """Take on a turn; where it may be answered with images, ask for refs in their place."""
        assert turn.body is not None
        names = {name.lower() for name in turn.headers}
        if ANSWER_REFS_HEADER.lower() not in names and asks_for_images(turn.dialect, turn.body):
            self.restoring = Restoring(turn.dialect)
        self.turn = turn

    def response(
        self, reply: Reply, announcements: Announcements | None, reading: Reading
    ) -> "Plan[httpx2.Response | None]":
        """Return what the SDK gets for the answer to the request itself.

        None where it says that nobody took it, and there is somebody else.
        """
        answer, restoring = self.answer, self.restoring
        assert answer is not None
        if self.office.fallback and is_away(reply):
            return None
        if not reply.is_success:
            return self._read(answer, reply.body)
        is_plain = reply.headers.get("content-encoding", "identity") == "identity"
        if is_plain and _is(reply, "text/event-stream") and (announcements or restoring):
            answer.stream = reading(answer.stream, Passing(announcements, restoring, self._restore))
        elif is_plain and _is(reply, "application/json") and restoring:
            body = yield from Drain(answer)
            return self._read(answer, (yield from self._restore(restoring.whole(body))))
        return answer

    def _restore(self, exchange: Exchange[bytes]) -> Plan[bytes]:
        try:
            return (yield from self.run(exchange))
        except ConnectionFailedError as error:
            raise error.__cause__ or error from None
        except ClientError as error:
            raise self.office.library.protocol_error(f"an image did not come: {error}") from error

    def _read(self, response: "httpx2.Response", raw: bytes) -> "httpx2.Response":
        """Return a response whose bytes were read already."""
        headers = [each for each in response.headers.multi_items() if each[0] not in _OF_THE_LENGTH]
        return self.office.library.response(
            response.status_code, headers=headers, content=raw, extensions=_told(response)
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


def _is(reply: Reply, media_type: str) -> bool:
    return reply.headers.get("content-type", "").startswith(media_type)


def _told(response: "httpx2.Response") -> dict[str, object]:
    """Return what the library says of a response: how it came."""
    return dict(response.extensions)
