"""Streams of answers that are read as they pass."""

from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, cast

from ..announcement import Announcements
from .errand import Stream
from .library import Library

if TYPE_CHECKING:
    import httpx2


def announced(library: Library, stream: Stream, announcements: Announcements) -> Stream:
    """Return the bytes of an answer, without what they announce to us."""
    source = cast("httpx2.SyncByteStream", stream)

    class Announced(library.stream):  # type: ignore[name-defined,misc]  # known when it is made
        def __iter__(self) -> Iterator[bytes]:
            for data in source:
                if passed := announcements.feed(data):
                    yield passed
            if rest := announcements.end():
                yield rest

        def close(self) -> None:
            source.close()

    return Announced()


def announced_async(library: Library, stream: Stream, announcements: Announcements) -> Stream:
    """Return the bytes of an answer, without what they announce to us."""
    source = cast("httpx2.AsyncByteStream", stream)

    class Announced(library.async_stream):  # type: ignore[name-defined,misc]  # known when it is made
        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for data in source:
                if passed := announcements.feed(data):
                    yield passed
            if rest := announcements.end():
                yield rest

        async def aclose(self) -> None:
            await source.aclose()

    return Announced()
