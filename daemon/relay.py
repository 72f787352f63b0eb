"""The way back to the client: an upstream's answer byte for byte, or an error in its place.

After an error event the connection is broken, never ended cleanly.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import aclosing

from aiohttp import web

from coatcheck.protocol import Provider, error_event
from coatcheck.web import BrokenAnswerError, PassedAnswer

from .errors import DaemonError, UpstreamCutError
from .event_gate import EventGate
from .headers import answer_headers
from .upstream import Answer

_log = logging.getLogger(__name__)


async def relay(
    provider: Provider,
    request: web.Request,
    answer: Answer,
    extra: Mapping[str, str],
    count: Callable[[int], None],
) -> web.StreamResponse:
    """Pass an answer on, its headers joined by `extra`; `count` is told the bytes of its body.

    Raises:
        BrokenAnswerError: the upstream broke off; what there was to say has been written.
    """
    response = PassedAnswer(answer.status, answer_headers(answer.headers.items()))
    response.headers.update(extra)
    gate = EventGate() if request.method != "HEAD" and _is_plain_stream(answer.headers) else None
    if gate:
        # With a length, an error event could end just where a whole answer would.
        response.headers.popall("Content-Length", None)
    await response.prepare(request)
    try:
        async with aclosing(answer.chunks()) as chunks:
            async for chunk in chunks:
                if data := gate.feed(chunk) if gate else chunk:
                    count(len(data))
                    await response.write(data)
        if gate and gate.is_torn and not _is_framed(answer.headers):
            raise UpstreamCutError("the upstream's answer ends inside an event")
    except DaemonError as error:
        _log.warning("answer broke off: %s", error)
        if gate:
            await response.write(gate.break_off(error_event(provider, error.problem)))
        raise BrokenAnswerError(str(error)) from error
    if gate and (rest := gate.finish()):
        count(len(rest))
        await response.write(rest)
    await response.write_eof()
    return response


def _is_plain_stream(headers: Mapping[str, str]) -> bool:
    return (
        headers.get("Content-Type", "").lower().startswith("text/event-stream")
        and headers.get("Content-Encoding", "identity").lower() == "identity"
    )


def _is_framed(headers: Mapping[str, str]) -> bool:
    """Whether HTTP says where the answer ends; else it ends with the connection, whole or not."""
    return "Content-Length" in headers or "Transfer-Encoding" in headers
