"""Streams of answers that are read as they pass."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, cast

from ..asynchronous import carry_out as carry_out_async
from ..blocking import carry_out
from .errand import Stream
from .library import Library
from .passing import Passed, Passing
from .steps import Step

if TYPE_CHECKING:
    import httpx2


def announced(
    library: Library, perform: Callable[[Step], object], stream: Stream, passing: Passing
) -> Stream:
    """Return the bytes of an answer as its SDK is to see them."""
    source = cast("httpx2.SyncByteStream", stream)

    def passed(pieces: Iterator[Passed]) -> Iterator[bytes]:
        for piece in pieces:
            if data := piece if isinstance(piece, bytes) else carry_out(piece, perform):
                yield data

    class Announced(library.stream):  # type: ignore[name-defined,misc]  # known when it is made
        def __iter__(self) -> Iterator[bytes]:
            for data in source:
                yield from passed(passing.feed(data))
            yield from passed(passing.end())

        def close(self) -> None:
            source.close()

    return Announced()


def announced_async(
    library: Library,
    perform: Callable[[Step], Awaitable[object]],
    stream: Stream,
    passing: Passing,
) -> Stream:
    """Return the bytes of an answer as its SDK is to see them."""
    source = cast("httpx2.AsyncByteStream", stream)

    async def passed(pieces: Iterator[Passed]) -> AsyncIterator[bytes]:
        for piece in pieces:
            if data := piece if isinstance(piece, bytes) else await carry_out_async(piece, perform):
                yield data

    class Announced(library.async_stream):  # type: ignore[name-defined,misc]  # known when it is made
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in source:
                async for piece in passed(passing.feed(data)):
                    yield piece
            async for piece in passed(passing.end()):
                yield piece

        async def aclose(self) -> None:
            await source.aclose()

    return Announced()
