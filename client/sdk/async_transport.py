"""The asynchronous transport; `transport.py` says what it does. For asyncio, and what else `anyio` knows.

Work and files are waited for in threads, so that the loop never stands still.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from anyio import to_thread

from ..asynchronous import carry_out
from ..errors import InvalidAnswerError
from ..exchange import MAX_ANSWER_BYTES, Join, Outgoing
from .announced import announced_async
from .handed import HANDED
from .office import Office
from .plan import carry
from .steps import Drain, Drop, Load, Send, Step

if TYPE_CHECKING:
    import httpx2


Sending: TypeAlias = "Callable[..., Awaitable[httpx2.Response]]"


class AsyncTransport:
    """Safe for tasks. Closing it closes the client that it sends through."""

    def __init__(
        self, office: Office, inner: "httpx2.AsyncClient", *, follows: bool = False
    ) -> None:
        """`follows` says that the inner client follows redirects, and not whoever asks."""
        self._office = office
        self._inner = inner
        self._follows = follows
        self._reading = partial(announced_async, office.library, self._perform)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections. May be called twice."""
        await self._inner.aclose()

    async def handle_async_request(self, request: "httpx2.Request") -> "httpx2.Response":
        """Send a request; the response is open."""
        return await carry_out(carry(self._office, request, self._reading), self._perform)

    async def send(
        self, otherwise: Sending, request: "httpx2.Request", *, stream: bool = False, **options: Any
    ) -> "httpx2.Response":
        """Send a request as the client's `send`; see `Transport.send`."""
        if HANDED not in request.extensions or "auth" in options:
            return await otherwise(request, stream=stream, **options)
        response = await self.handle_async_request(request)
        if response.has_redirect_location:
            await response.aclose()
            return await otherwise(request, stream=stream, **options)
        response.request = request
        if not stream:
            await response.aread()
        return response

    async def _perform(self, step: Step) -> object:
        match step:
            case Load():
                return await step.request.aread()
            case Send():
                return await self._send(step)
            case Drain():
                return await _drain(step.response)
            case Drop():
                await step.response.aclose()
                return None
            case Join():
                return await to_thread.run_sync(step.until.result)
            case _:
                return await to_thread.run_sync(step.run)

    async def _send(self, step: Send) -> "httpx2.Response":
        request = step.request
        if step.body is not None:
            request = self._office.library.request(
                request.method,
                request.url,
                headers=request.headers,
                content=_pieces(step.body),
                extensions=request.extensions,
            )
        return await self._inner.send(request, stream=True, follow_redirects=self._follows)


async def _pieces(body: Outgoing) -> AsyncIterator[bytes]:
    while piece := await to_thread.run_sync(body.read_piece):
        yield piece
        body.sent(len(piece))


async def _drain(response: "httpx2.Response") -> bytes:
    try:
        pieces: list[bytes] = []
        left = MAX_ANSWER_BYTES
        async for piece in response.aiter_raw():
            pieces.append(piece)
            left -= len(piece)
            if left < 0:
                raise InvalidAnswerError(f"an answer of over {MAX_ANSWER_BYTES} bytes")
        return b"".join(pieces)
    finally:
        await response.aclose()
