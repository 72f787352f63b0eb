"""The way back to the client: an upstream's answer byte for byte, or an error in its place.

After an error event the connection is broken, never ended cleanly. Somebody may tap an answer: see it
pass, and add to it; without a tap nothing is looked at.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web

from coatcheck.protocol import Provider, error_event
from coatcheck.web import BrokenAnswerError, Inflater, PassedAnswer, ProblemError, refusal_status

from .errors import DaemonError, UpstreamCutError, UpstreamGarbageError
from .event_gate import HOLD_BYTES, EventGate
from .headers import answer_headers
from .upstream import Answer

_log = logging.getLogger(__name__)
_REFUSED = 400
_MAX_INFLATED_BYTES = 1 << 40  # of a stream: it is passed on as it comes, whatever its length


@dataclass(frozen=True, slots=True)
class Passed:
    """What goes on of a whole answer: its body, and headers to add.

    A body that `is_written` anew has no coding any more.
    """

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    is_written: bool = False


class WholeReading(Protocol):
    """Reads an answer that comes whole, before any of it goes on."""

    @property
    def max_bytes(self) -> int:
        """How much is held for it; what is longer passes unread."""
        ...

    async def read(self, body: bytes) -> Passed:
        """Read the body, coded as it came; return what goes on. Raises nothing."""
        ...


class StreamReading(Protocol):
    """Reads the events of an answer as they pass."""

    @property
    def hold_bytes(self) -> int:
        """An event up to this long comes whole."""
        ...

    @property
    def codings(self) -> Sequence[str]:
        """What the stream is coded in, as of `parse_codings`; it goes on without."""
        ...

    async def pass_on(self, data: bytes, *, begins_inside: bool) -> bytes:
        """Take the next events, and return what goes on in their place. Raises nothing.

        They are whole, but for one that is too long to be held: then `begins_inside` is true until
        that has ended.
        """
        ...

    async def end(self) -> bytes:
        """Return what goes behind the last event of a stream that ended cleanly. Raises nothing."""
        ...


class Watch(Protocol):
    """Looks at what passes as it came; it delays nothing, and raises nothing."""

    def see(self, data: bytes, *, ends_inside: bool) -> None:
        """Look at the next bytes that went on: of a stream they end inside an event, or do not."""
        ...

    def end(self) -> None:
        """Learn that all of the answer went on."""
        ...


class Tap(Protocol):
    """Sees one answer pass."""

    def whole(self, answer: Answer) -> WholeReading | None:
        """Return what reads an answer that is no stream; None: it passes as it comes."""
        ...

    def stream(self, answer: Answer) -> StreamReading | None:
        """Return what reads a stream of events; None: it passes as it comes."""
        ...

    def watch(self, answer: Answer, *, is_stream: bool) -> Watch | None:
        """Return what looks at an answer that nothing reads; None: nobody does."""
        ...


async def relay(
    provider: Provider,
    request: web.Request,
    answer: Answer,
    extra: Mapping[str, str],
    count: Callable[[bytes], None],
    tap: Tap | None = None,
) -> web.StreamResponse:
    """Pass an answer on, its headers joined by `extra`; `count` is shown the bytes of its body.

    Raises:
        BrokenAnswerError: the upstream broke off; what there was to say has been written.
    """
    status = answer.status
    if status >= _REFUSED and _is_stream(answer.headers):
        status = refusal_status(request, provider, status)
    response = PassedAnswer(status, answer_headers(answer.headers.items()))
    response.headers.update(extra)
    way = _Way(request, response, count)
    try:
        async with aclosing(answer.chunks()) as chunks:
            if request.method == "HEAD" or not _is_stream(answer.headers):
                await _pass_whole(way, answer, chunks, tap)
            else:
                await _pass_stream(way, provider, answer, chunks, tap)
    except DaemonError as error:
        _log.warning("answer broke off: %s", error)
        raise BrokenAnswerError(str(error)) from error
    await response.write_eof()
    return response


@dataclass(frozen=True, slots=True)
class _Way:
    """The client's side."""

    request: web.Request
    response: PassedAnswer
    count: Callable[[bytes], None]

    async def begin(self) -> None:
        await self.response.prepare(self.request)

    async def give(self, data: bytes) -> None:
        if data:
            self.count(data)
            await self.response.write(data)


async def _pass_whole(
    way: _Way, answer: Answer, chunks: AsyncGenerator[bytes], tap: Tap | None
) -> None:
    if reading := tap.whole(answer) if tap else None:
        await _pass_read(way, chunks, reading)
        return
    watch = tap.watch(answer, is_stream=False) if tap else None
    way.response.join_head()
    await way.begin()
    try:
        async for chunk in chunks:
            await way.give(chunk)
            if watch:
                watch.see(chunk, ends_inside=False)
    except DaemonError:
        await way.response.write(b"")  # the head at least: that there was an answer
        raise
    if watch:
        watch.end()


async def _pass_read(way: _Way, chunks: AsyncGenerator[bytes], reading: WholeReading) -> None:
    held: list[bytes] = []
    failure: DaemonError | None = None
    try:
        is_all = await _hold(chunks, held, reading.max_bytes)
    except DaemonError as error:
        failure = error
    else:
        if is_all:
            body = b"".join(held)
            held.clear()
            passed = await reading.read(body)
            held.append(passed.body)
            _describe(way.response, passed)
    await way.begin()
    for chunk in held:
        await way.give(chunk)
    if failure:  # what came before the break is the client's too
        raise failure
    async for chunk in chunks:
        await way.give(chunk)


def _describe(response: PassedAnswer, passed: Passed) -> None:
    response.headers.update(passed.headers)
    if passed.is_written:
        response.headers.popall("Content-Encoding", None)
        response.headers["Content-Length"] = str(len(passed.body))


async def _hold(chunks: AsyncGenerator[bytes], held: list[bytes], max_bytes: int) -> bool:
    """Hold what comes; say whether it is all."""
    size = 0
    async for chunk in chunks:
        held.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            return False
    return True


async def _pass_stream(
    way: _Way,
    provider: Provider,
    answer: Answer,
    chunks: AsyncGenerator[bytes],
    tap: Tap | None,
) -> None:
    reading = tap.stream(answer) if tap else None
    if not (reading or _is_plain(answer.headers)):
        await _pass_whole(way, answer, chunks, None)
        return
    watch = tap.watch(answer, is_stream=True) if tap and not reading else None
    # With a length, an error event could end just where a whole answer would.
    way.response.headers.popall("Content-Length", None)
    if reading and reading.codings:
        way.response.headers.popall("Content-Encoding", None)
        chunks = _inflated(chunks, reading.codings)
    gate = EventGate(reading.hold_bytes if reading else HOLD_BYTES)
    await way.begin()
    try:
        async for chunk in chunks:
            begins_inside = gate.is_inside
            if data := gate.feed(chunk):
                if reading:
                    data = await reading.pass_on(data, begins_inside=begins_inside)
                await way.give(data)
                if watch:
                    watch.see(data, ends_inside=gate.is_inside)
        if gate.is_torn and not _is_framed(answer.headers):
            raise UpstreamCutError("the upstream's answer ends inside an event")
    except DaemonError as error:
        await way.response.write(gate.break_off(error_event(provider, error.problem)))
        raise
    rest = gate.finish()
    await way.give(rest)
    if reading:
        last = await reading.end()
        if not (rest or gate.is_inside):  # what is added would end an event that has no end
            await way.give(last)


async def _inflated(chunks: AsyncGenerator[bytes], codings: Sequence[str]) -> AsyncGenerator[bytes]:
    inflater = Inflater(codings, _MAX_INFLATED_BYTES)
    try:
        async for chunk in chunks:
            for piece in inflater.pieces(chunk):
                yield piece
        inflater.finish()
    except ProblemError as error:
        raise UpstreamGarbageError("the upstream's answer is not coded as it says") from error


def _is_stream(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Type", "").lower().startswith("text/event-stream")


def _is_plain(headers: Mapping[str, str]) -> bool:
    return headers.get("Content-Encoding", "identity").lower() == "identity"


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether HTTP says where the answer ends; else it ends with the connection, whole or not."""
    return "Content-Length" in headers or "Transfer-Encoding" in headers
