"""Streamed answers: chunks as they come, and at the end the message they make up."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from types import TracebackType
from typing import Self

from coatcheck.protocol import Digest, JsonObject

from .answer import Assembly
from .asynchronous import AsyncBody
from .blocking import BlockingBody
from .errors import ConnectionFailedError, StreamBrokenError, TimedOutError
from .known import KeptPrompts


class _Streamed:
    """What both streams know."""

    def __init__(self, prompt: Digest | None, kept: KeptPrompts) -> None:
        self.prompt = prompt
        self._kept = kept
        self._assembly = Assembly()

    @property
    def is_complete(self) -> bool:
        """Say whether the stream said that it was done; before that the message is a part."""
        return self._assembly.is_done

    @property
    def text(self) -> str:
        """The text so far."""
        return self._assembly.text

    @property
    def message(self) -> JsonObject:
        """The assistant's message so far, in the form to append to the next turn's messages."""
        return self._assembly.message

    def _broken(self, error: ConnectionFailedError) -> ConnectionFailedError | None:
        """Return what a failure to read means; nothing once the answer is complete."""
        if self.is_complete:
            return None
        return error if isinstance(error, TimedOutError) else StreamBrokenError(str(error))

    def _end(self) -> None:
        self._assembly.end()
        if self._assembly.announced is not None:
            self._kept.remember([self._assembly.announced])


class ChatStream(_Streamed):
    """Iterates over the chunks of one answer, once; belongs to one thread.

    Use it in a `with`, or call `close`, unless it is read to its end.

    Raises, while iterating:
        StreamError: the stream ended in an error event.
        StreamBrokenError: it stopped before its end.
        TimedOutError: nothing came in time.
        InvalidAnswerError: something in it is no chunk.
    """

    def __init__(self, body: BlockingBody, prompt: Digest | None, kept: KeptPrompts) -> None:
        super().__init__(prompt, kept)
        self._body = body
        self._chunks = self._iterate()

    def __iter__(self) -> Iterator[JsonObject]:
        return self._chunks

    def __next__(self) -> JsonObject:
        return next(self._chunks)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop: before the end this closes the connection. May be called twice."""
        self._body.close()

    def _iterate(self) -> Iterator[JsonObject]:
        try:
            while data := self._read():
                yield from self._assembly.feed(data)
            self._end()
        finally:
            self.close()

    def _read(self) -> bytes:
        try:
            return self._body.read()
        except ConnectionFailedError as error:
            if meaning := self._broken(error):
                raise meaning from error
            return b""


class AsyncChatStream(_Streamed):
    """The same for an event loop: iterate with `async for`; belongs to one task."""

    def __init__(self, body: AsyncBody, prompt: Digest | None, kept: KeptPrompts) -> None:
        super().__init__(prompt, kept)
        self._body = body
        self._waiting: Iterator[JsonObject] = iter(())

    def __aiter__(self) -> AsyncIterator[JsonObject]:
        return self

    async def __anext__(self) -> JsonObject:
        try:
            while True:
                for chunk in self._waiting:
                    return chunk
                if not (data := await self._read()):
                    self._end()
                    raise StopAsyncIteration
                self._waiting = self._assembly.feed(data)
        except BaseException:
            self._body.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop: before the end this closes the connection. May be called twice."""
        self._body.close()
        await asyncio.sleep(0)  # the loop closes the socket in its next round

    async def _read(self) -> bytes:
        try:
            return await self._body.read()
        except ConnectionFailedError as error:
            if meaning := self._broken(error):
                raise meaning from error
            return b""
