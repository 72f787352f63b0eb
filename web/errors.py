"""What can go wrong between a socket and a handler."""

from collections.abc import Mapping
from types import MappingProxyType

from coatcheck.protocol import Json, Problem

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class WebError(Exception):
    """A server cannot do what it was asked. `retryable` says whether trying again can help."""

    retryable: bool = False


class ProblemError(WebError):
    """A request is answered with a problem, whoever's fault it is; raise it in any handler.

    `headers` are added to the answer (`Allow`, `Content-Range`, `Retry-After`).
    """

    def __init__(self, problem: Problem, headers: Mapping[str, str] = NO_HEADERS) -> None:
        super().__init__(f"{problem.status} {problem.code}: {problem.detail or problem.title}")
        self.problem = problem
        self.headers = headers
        self.retryable = problem.retryable


class BrokenAnswerError(WebError):
    """A begun answer cannot be finished, and the handler has written what there is to say of it.

    The connection is closed after what was written, without the end that the framing promises.
    """


class AddressError(WebError):
    """The address to listen on is taken, or is not one of this host's: the operator's to settle."""


class NotStartedError(WebError):
    """A server has no address before it is started: a mistake of the program."""


class NotLoopbackError(WebError):
    """Without keys a server listens on loopback only: the operator asked for another address."""


def refuse(
    status: int, code: str, title: str, detail: str = "", **extensions: Json
) -> ProblemError:
    """Return the error for a problem that a resend cannot help."""
    return ProblemError(Problem(status, code, title, detail, MappingProxyType(extensions)))
