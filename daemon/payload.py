"""A request's body on its way to an upstream over HTTP, and the patience with which it goes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from coatcheck.protocol import Buffer
from coatcheck.web import WebError

from .body import Body
from .errors import DaemonError


class Patience:
    """The first byte is awaited from the last byte sent, so sending postpones the deadline.

    It is never put beyond `ends_at`, of the loop's clock. One timer looks from time to time whether it
    has come: setting one for each piece that is sent would cost as much as the piece.
    """

    def __init__(self, deadline: asyncio.Timeout, seconds: float, ends_at: float) -> None:
        """`end` it before the deadline's scope is left."""
        self._deadline = deadline
        self._seconds = seconds
        self._ends_at = ends_at
        self._loop = asyncio.get_running_loop()
        self._until = min(self._loop.time() + seconds, ends_at)
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(self._until, self._look)

    def end(self) -> None:
        """Stop: the answer is here, or none will come; the body may still be on its way."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def hold(self) -> None:
        """Let time pass that is not the upstream's: what goes to it next is not there yet."""
        self._until = self._ends_at

    def renew(self) -> None:
        """Wait the whole time again."""
        self._until = min(self._loop.time() + self._seconds, self._ends_at)

    def _look(self) -> None:
        now = self._loop.time()
        if now >= self._until:
            self._timer = None
            self._deadline.reschedule(now)
        else:  # no later than a renewal may end, which brings the time forward again
            self._timer = self._loop.call_at(min(self._until, now + self._seconds), self._look)


class Payload(aiohttp.Payload):
    """A body as aiohttp takes one: with its length, written in its own pieces."""

    def __init__(self, body: Body) -> None:
        super().__init__(body, headers={})
        self._size = body.size
        self._body = body
        self._transport: asyncio.Transport | None = None
        self.is_sent = False
        """Whether the last byte was handed to the connection."""
        self._settled = asyncio.Event()
        self._settled.set()
        self.failure: DaemonError | WebError | None = None
        """Why the body could not be read to its end, where that is not the upstream's doing."""
        self.patience: Patience | None = None
        """What the sending postpones, if anything."""

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Write the whole body; for aiohttp."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Write the whole body, whatever the length; for aiohttp.

        Raises:
            DaemonError: the body cannot be read; `failure` has it too.
            WebError: see `DaemonError`.
        """
        self._consumed = True  # aiohttp sends a request again whose body can be read again
        if isinstance(writer, StreamWriter):
            self._transport = writer.transport
        self._settled.clear()
        try:
            async with aclosing(self._body.chunks()) as chunks:
                await self._write_all(writer, chunks)
        except (DaemonError, WebError) as error:
            self.failure = error
            raise
        finally:
            self._settled.set()
        self.is_sent = True

    async def settle(self) -> None:
        """Wait until nothing reads the body any more: its source may have another reader next."""
        await self._settled.wait()

    async def _write_all(
        self, writer: AbstractStreamWriter, chunks: AsyncGenerator[Buffer]
    ) -> None:
        """Write what comes; waiting for it is no fault of the upstream."""
        patience = self.patience
        if patience is None:
            async for chunk in chunks:
                await writer.write(chunk)
            return
        patience.hold()
        try:
            async for chunk in chunks:
                patience.renew()
                await writer.write(chunk)
                del chunk
                patience.hold()
        finally:
            patience.renew()

    def abort(self) -> None:
        """Drop the connection that this was written to, and what its buffer still holds.

        aiohttp closes it, which waits for an upstream to read the rest; some never do.
        """
        if self._transport:
            self._transport.abort()

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse; for aiohttp.

        Raises:
            TypeError: always.
        """
        raise TypeError("a streamed body has no text")
