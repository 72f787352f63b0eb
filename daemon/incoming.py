"""A request's body on its way in: looked into, then streamed on or read whole.

One chunk is held, and what was looked into.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial

from aiohttp import web

from coatcheck.protocol import Buffer, Whole, peek_model
from coatcheck.web import (
    ProblemError,
    body_chunks,
    codings_of,
    in_thread_if,
    inflate_head,
    read_body,
    read_whole,
)

from .body import StreamedBody
from .errors import TooLargeError

PEEK_BYTES = 1024 * 1024
"""How far a body is read to find its model before it is sent on."""
_SCAN_FROM_BYTES = 64 * 1024  # scanning costs some 10 ms a megabyte at worst


class Incoming:
    """The body of one request. `peek`, then one of `body` and `read`; after `read`, `body` too."""

    def __init__(self, request: web.Request, body: AsyncGenerator[bytes] | None = None) -> None:
        """`body` yields all of it, where somebody has read some of it before; it is closed here."""
        self._request = request
        self._kept: list[Buffer] = []
        self._kept_bytes = 0
        self._rest = body
        self._is_ended = False

    @property
    def request(self) -> web.Request:
        """Whose body it is."""
        return self._request

    @property
    def size(self) -> int | None:
        """Bytes, as announced; None for chunked coding."""
        return self._request.content_length

    async def model(self, frame: str | None = None) -> str | None:
        """Return the model that the beginning of the body names; None when it is not there.

        `frame` is of the provider that the request means.

        Raises:
            ProblemError: see `body_chunks`.
        """
        head = await self._peek()
        headers = self._request.headers
        if not head:
            return None
        if "Content-Encoding" in headers:
            return await asyncio.to_thread(_compressed_model, self._request, head, frame)
        scan = partial(peek_model, head, headers.get("Content-Type", ""), frame)
        return await in_thread_if(len(head), scan, from_bytes=_SCAN_FROM_BYTES)

    def body(
        self, count: Callable[[Buffer], None], end: Callable[[], None] | None = None
    ) -> StreamedBody | None:
        """Return the body to be sent on; None: there is no body.

        `count` is shown each chunk, and `end` is called when all of them went on.
        """
        if "Content-Length" in self._request.headers:
            return StreamedBody(self._chunks(count, end), self.size)
        if "Transfer-Encoding" in self._request.headers:
            return StreamedBody(self._chunks(count, end), None)
        return None

    async def close(self) -> None:
        """Let go of what was looked into and not read."""
        if self._rest:
            await self._rest.aclose()

    async def read(self, max_bytes: int) -> Whole:
        """Return the whole body.

        Raises:
            ProblemError: it is longer than `max_bytes`, or see `body_chunks`.
            TooLargeError: it turned out longer than `max_bytes`.
        """
        if self._rest is None:
            is_coded = "Content-Encoding" in self._request.headers
            read = read_body if is_coded else read_whole
            whole: Whole = await read(self._request, max_bytes)
        else:
            async for chunk in self._rest:
                self._keep(chunk)
                if self._kept_bytes > max_bytes:
                    break
            if self._kept_bytes > max_bytes:
                raise TooLargeError("bytes of the body", "body_too_large", max_bytes=max_bytes)
            whole = b"".join(self._kept)
        self._kept, self._is_ended = [memoryview(whole)], True
        return whole

    def let_go(self) -> None:
        """Forget a body that was read; after this there is none."""
        self._kept = []

    async def _peek(self) -> bytes:
        if self._rest is None:
            self._rest = body_chunks(self._request, None)
        while self._kept_bytes < PEEK_BYTES and not self._is_ended:
            chunk = await anext(self._rest, None)
            if chunk is None:
                self._is_ended = True
            else:
                self._keep(chunk)
        return b"".join(self._kept)

    def _keep(self, chunk: Buffer) -> None:
        self._kept.append(chunk)
        self._kept_bytes += len(chunk)

    async def _chunks(
        self, count: Callable[[Buffer], None], end: Callable[[], None] | None
    ) -> AsyncGenerator[Buffer]:
        kept, self._kept = self._kept, []
        for chunk in kept:
            count(chunk)
            yield chunk
        del kept
        if not self._is_ended:
            rest, self._rest = self._rest or body_chunks(self._request, None), None
            async with aclosing(rest):
                async for chunk in rest:
                    count(chunk)
                    yield chunk
            self._is_ended = True
        if end is not None:
            end()


def _compressed_model(request: web.Request, head: bytes, frame: str | None) -> str | None:
    try:
        text = inflate_head(head, codings_of(request), PEEK_BYTES)
    except ProblemError:
        return None
    return peek_model(text, request.headers.get("Content-Type", ""), frame)
