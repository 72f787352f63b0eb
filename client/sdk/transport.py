"""The blocking transport: takes an SDK's turns through Coatcheck, for clients of httpx2 and httpx.

It stands in a client that the SDK is given, and sends through another one: the client that the SDK had, or
would have had, with its proxies, certificates, hooks and pool. So the requests that a turn takes go the
same way, within the time limits that the SDK set for the turn.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from ..blocking import carry_out
from ..errors import InvalidAnswerError
from ..exchange import MAX_ANSWER_BYTES, Join, Outgoing
from .announced import announced
from .handed import HANDED
from .office import Office
from .plan import carry
from .steps import Drain, Drop, Load, Send, Step

if TYPE_CHECKING:
    import httpx2


Sending: TypeAlias = "Callable[..., httpx2.Response]"


class Transport:
    """Safe for threads. Closing it closes the client that it sends through."""

    def __init__(self, office: Office, inner: "httpx2.Client", *, follows: bool = False) -> None:
        """`follows` says that the inner client follows redirects, and not whoever asks."""
        self._office = office
        self._inner = inner
        self._follows = follows
        self._reading = partial(announced, office.library, self._perform)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. May be called twice."""
        self._inner.close()

    def handle_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Send a request; the response is open."""
        return carry_out(carry(self._office, request, self._reading), self._perform)

    def send(
        self, otherwise: Sending, request: "httpx2.Request", *, stream: bool = False, **options: Any
    ) -> "httpx2.Response":
        """Send a request as the client's `send`, which is `otherwise`, but sooner where it is a turn.

        What that does besides is done by the client that is sent through, or concerns no turn.
        """
        if HANDED not in request.extensions or "auth" in options:
            return otherwise(request, stream=stream, **options)
        response = self.handle_request(request)
        if response.has_redirect_location:
            response.close()
            return otherwise(request, stream=stream, **options)
        response.request = request
        if not stream:
            response.read()
        return response

    def _perform(self, step: Step) -> object:
        match step:
            case Load():
                return step.request.read()
            case Send():
                return self._send(step)
            case Drain():
                return _drain(step.response)
            case Drop():
                step.response.close()
                return None
            case Join():
                return step.until.result()
            case _:
                return step.run()

    def _send(self, step: Send) -> "httpx2.Response":
        request = step.request
        if step.body is not None:
            request = self._office.library.request(
                request.method,
                request.url,
                headers=request.headers,
                content=_pieces(step.body),
                extensions=request.extensions,
            )
        return self._inner.send(request, stream=True, follow_redirects=self._follows)


def _pieces(body: Outgoing) -> Iterator[bytes]:
    while piece := body.read_piece():
        yield piece
        body.sent(len(piece))


def _drain(response: "httpx2.Response") -> bytes:
    try:
        pieces: list[bytes] = []
        left = MAX_ANSWER_BYTES
        for piece in response.iter_raw():
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise InvalidAnswerError(f"an answer of over {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces)
    finally:
        response.close()
