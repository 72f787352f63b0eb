"""Carries an exchange to another daemon, over an upstream's connections.

A turn goes with its client's headers, and its answer stays open for whoever relays it. What is asked
beside it goes with our key alone. That connections break is for the exchange to know where it asks
beside a turn; of the turn itself it is the end.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing
from typing import TypeVar

from multidict import CIMultiDict

from coatcheck.client import (
    ConnectionFailedError,
    Exchange,
    InvalidAnswerError,
    Join,
    Reply,
    Request,
    Step,
    carry_out,
)

from ..body import RawBody
from ..errors import UpstreamError, UpstreamGarbageError
from ..target import upstream_target
from ..upstream import Answer, Outgoing, Upstream

T = TypeVar("T")

_MAX_TOLD_BYTES = 64 * 1024 * 1024  # of an answer that is read whole: an error, a list of digests
_USER_AGENT = "coatcheck-edge"


class WholeAnswer:
    """An answer that was read."""

    def __init__(self, answer: Answer, body: bytes) -> None:
        self.status = answer.status
        self.headers = CIMultiDict(answer.headers.items())
        self._body = body

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body."""
        yield self._body


class Courier:
    """Takes one turn. `stack` lets go of its answer."""

    def __init__(
        self,
        upstream: Upstream,
        target: str,
        headers: Sequence[tuple[str, str]],
        beside: Sequence[tuple[str, str]],
        stack: AsyncExitStack,
    ) -> None:
        """`target` and `headers` are the turn's; those `beside` go with what is asked for it."""
        self._upstream = upstream
        self._target = target
        self._headers = headers
        self._beside = [*beside, *upstream.config.headers]
        self._stack = stack
        self._answer: Answer | None = None

    @property
    def answer(self) -> Answer:
        """The answer to the turn, once that was sent."""
        assert self._answer is not None
        return self._answer

    async def run(self, exchange: Exchange[T]) -> T:
        """Carry out an exchange.

        Raises:
            UpstreamError: the turn got no answer.
            what the exchange raises.
        """
        return await carry_out(exchange, self._perform)

    async def _perform(self, step: Step) -> object:
        if isinstance(step, Join):
            return await asyncio.shield(asyncio.wrap_future(step.until))
        if not isinstance(step, Request):
            return await asyncio.to_thread(step.run)
        return await (self._send_turn(step) if step.keep_open else self._ask(step))

    async def _send_turn(self, request: Request) -> Reply:
        outgoing = Outgoing(request.method, self._target, self._headers, _body(request))
        async with AsyncExitStack() as stack:
            answer = await stack.enter_async_context(self._upstream.send(outgoing))
            reply = _reply(answer)
            if reply.is_success:
                self._answer = answer
                self._stack.push_async_exit(stack.pop_all())
                return reply
            told = await _whole(answer, self._upstream.config.name)
        self._answer = WholeAnswer(answer, told)
        return Reply(reply.status, reply.headers, told)

    async def _ask(self, request: Request) -> Reply:
        provider = self._upstream.config.provider
        named = {"Accept-Encoding": "identity", "User-Agent": _USER_AGENT, **request.headers}
        set_here = {name.lower() for name, _ in self._beside}
        headers = [(name, value) for name, value in named.items() if name.lower() not in set_here]
        outgoing = Outgoing(
            request.method,
            upstream_target(request.path, provider, drops_key=False),
            [*headers, *self._beside],
            _body(request),
        )
        try:
            async with self._upstream.send(outgoing) as answer:
                told = await _whole(answer, self._upstream.config.name)
                return Reply(answer.status, _reply(answer).headers, told)
        except UpstreamGarbageError as error:
            raise InvalidAnswerError(str(error)) from error
        except UpstreamError as error:
            raise ConnectionFailedError(str(error)) from error


def _body(request: Request) -> RawBody | None:
    if request.body is None:
        # Servers want to know that nothing comes, where something might.
        return RawBody(b"") if request.method in ("POST", "PUT", "PATCH") else None
    assert isinstance(request.body, bytes)
    return RawBody(request.body)


def _reply(answer: Answer) -> Reply:
    return Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()})


async def _whole(answer: Answer, name: str) -> bytes:
    told = bytearray()
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            told += chunk
            if len(told) > _MAX_TOLD_BYTES:
                raise UpstreamGarbageError(f"upstream {name} answered without an end")
    return bytes(told)
