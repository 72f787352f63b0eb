"""Bodies for an upstream: bytes at hand or as they come, or JSON with blobs spliced in.

A spliced body knows its length beforehand and holds one piece of one blob at a time, so that
memory for a request does not grow with its images.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import pybase64

from coatcheck.protocol import Buffer, Digest, Whole, altchars, piece_count

from .source import PieceReader

# Base64 is written in runs of this many bytes: a multiple of three, so that runs join without
# padding. Larger runs cost fewer wake-ups of the loop, smaller ones less memory for each request;
# encoding one takes 0.05 ms, so it needs no thread.
RUN_BYTES = 3 * 192 * 1024
# Bytes at hand go in slices of this: fewer calls of the socket's; what it does not take is copied.
_SLICE_BYTES = 1024 * 1024
# Texts are joined up to this: to copy so much costs less than a call of the socket's and a packet.
_JOINED_BYTES = 16 * 1024

OpenBlob = Callable[[Digest], Awaitable[PieceReader]]


class Body(Protocol):
    """What is sent: its length, and its bytes in order."""

    @property
    def size(self) -> int | None:
        """Bytes; None when only the end will tell."""
        ...

    def chunks(self) -> AsyncGenerator[Buffer]:
        """Yield the bytes. Close the generator, and what it holds open is closed with it.

        Raises:
            BlobUnreadableError: a blob turned out bad.
            ProblemError: whoever sends it broke off, or was too slow.
        """
        ...


def _slices(data: Buffer | Whole) -> Iterator[memoryview]:
    view = memoryview(data)
    for start in range(0, len(view), _SLICE_BYTES):
        yield view[start : start + _SLICE_BYTES]


class RawBody:
    """Bytes at hand."""

    def __init__(self, data: Whole) -> None:
        self._data = data

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self._data)

    async def chunks(self) -> AsyncGenerator[Buffer]:
        """Yield the bytes, in slices that a socket takes without much copying."""
        for piece in _slices(self._data):
            yield piece


class StreamedBody:
    """Bytes as they come from elsewhere, read once and never held."""

    def __init__(self, chunks: AsyncGenerator[Buffer], size: int | None) -> None:
        """`size` is what was announced; None for chunked coding."""
        self._chunks = chunks
        self._size = size

    @property
    def size(self) -> int | None:
        """Bytes, as announced."""
        return self._size

    def chunks(self) -> AsyncGenerator[Buffer]:
        """Yield the bytes as they come."""
        return self._chunks


@dataclass(frozen=True, slots=True)
class Base64Of:
    """The base64 text of a blob, standing in a spliced body, in one of two alphabets."""

    digest: Digest
    size: int
    is_url_safe: bool = False

    @property
    def encoded_size(self) -> int:
        """Characters, padding included."""
        return encoded_size(self.size)


def encoded_size(size: int) -> int:
    """Return the characters of base64 for so many bytes, padding included (RFC 4648 section 4)."""
    return 4 * -(-size // 3)


class SplicedBody:
    """Texts and blobs, joined."""

    def __init__(
        self, segments: Sequence[bytes | memoryview | Base64Of], open_blob: OpenBlob
    ) -> None:
        self._segments = segments
        self._open_blob = open_blob
        self._size = sum(
            segment.encoded_size if isinstance(segment, Base64Of) else len(segment)
            for segment in segments
        )

    @property
    def size(self) -> int:
        """Bytes."""
        return self._size

    async def chunks(self) -> AsyncGenerator[Buffer]:
        """Yield the texts, short ones joined, and each blob in base64 runs.

        Let go of each before the next: a run then comes to lie where the one before it lay, which the
        processor has at hand still. Others get their turn between two blobs.
        """
        short = b""
        blobs = 0
        for segment in self._segments:
            if isinstance(segment, Base64Of):
                blobs += 1
                if blobs > 1:  # neither a blob in memory nor a quick upstream makes anybody wait
                    await asyncio.sleep(0)
                if short:
                    yield short
                runs = _Runs(segment)
                reader = await self._open_blob(segment.digest)
                try:
                    for index in range(piece_count(reader.size)):
                        for run in runs.of(await reader.read_piece(index)):
                            yield run
                            del run
                finally:
                    await reader.close()
                short = runs.last()
            elif len(short) + len(segment) <= _JOINED_BYTES:
                short += segment
            else:
                if short:
                    yield short
                    short = b""
                for piece in _slices(segment):
                    yield piece
        if short:
            yield short


class _Runs:
    """The base64 of one blob, piece by piece."""

    def __init__(self, blob: Base64Of) -> None:
        self._encode = partial(pybase64.b64encode, altchars=altchars(blob.is_url_safe))
        self._rest = b""  # of the piece before: at most two bytes

    def of(self, piece: memoryview) -> Iterator[bytes]:
        """Yield a piece, but for what is left over of it."""
        if rest := self._rest:
            head = rest + piece[: RUN_BYTES - len(rest)]
            piece = piece[RUN_BYTES - len(rest) :]
            whole = len(head) // 3 * 3
            yield self._encode(head[:whole])
            self._rest = head[whole:]
        whole = piece.nbytes // 3 * 3
        for start in range(0, whole, RUN_BYTES):
            yield self._encode(piece[start : min(start + RUN_BYTES, whole)])
        self._rest += bytes(piece[whole:])

    def last(self) -> bytes:
        """Return what is left over of the last piece, padded."""
        return self._encode(self._rest)
