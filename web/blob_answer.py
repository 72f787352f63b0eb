"""How a GET or HEAD of a blob is answered: what it gets, under which headers, in which bytes.

A blob is read by pieces, and each piece is verified as it is read, whichever part of it is sent.
"""

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Protocol

from aiohttp import web

from coatcheck.protocol import PIECE_BYTES, Buffer, Digest, format_digest_field

from .byteranges import Byteranges, content_range
from .conditions import NotModified, PreconditionFailed, Selection, Unsatisfiable, decide
from .digest_choice import DigestChoice, choose_digests
from .errors import refuse
from .heavy import in_thread_if
from .presentation import BlobFacts, blob_headers, shown_type, validators
from .ranges import Span
from .route import Parameter

_CHUNK_BYTES = 1024 * 1024
_HASHED_FROM_BYTES = 64 * 1024  # hashing less takes under 0.1 ms; a thread hop costs as much

BLOB_CONDITIONS = (
    Parameter("Range", "ranges of bytes; several are sent as `multipart/byteranges`", "header"),
    Parameter("If-Range", "the entity tag that the ranges belong to", "header"),
    Parameter("If-None-Match", "entity tags that the client has", "header"),
    Parameter("If-Match", "entity tags that the client wants", "header"),
    Parameter("Want-Repr-Digest", "`sha-256=0` leaves Repr-Digest out (RFC 9530)", "header"),
    Parameter(
        "Want-Content-Digest",
        "`sha-256=0` leaves Content-Digest out; more asks for it with a range, too",
        "header",
    ),
)
"""The headers that `select_bytes` and `send_blob` heed, for documents."""


class PieceReader(Protocol):
    """A blob that is open for reading."""

    async def read_piece(self, index: int) -> memoryview:
        """Return piece `index` of `PIECE_BYTES`, verified; the view is good until the next call."""
        ...


def select_bytes(request: web.Request, facts: BlobFacts) -> Selection | web.Response:
    """Return which bytes a request gets, or the whole answer where it gets none: 304.

    Raises:
        ProblemError: 412 `precondition_failed`; 416 `range_not_satisfiable`.
    """
    match decide(request.headers, facts.digest, facts.size):
        case Selection() as selection:
            return selection
        case NotModified():
            return web.Response(status=304, headers=validators(facts))
        case PreconditionFailed():
            raise refuse(412, "precondition_failed", "Precondition failed")
        case Unsatisfiable():
            error = refuse(416, "range_not_satisfiable", "Range not satisfiable", size=facts.size)
            error.headers = {"Content-Range": f"bytes */{facts.size}"}
            raise error


async def send_blob(
    request: web.Request,
    facts: BlobFacts,
    selection: Selection,
    reader: PieceReader,
    *,
    saved_as: str | None = None,
) -> web.StreamResponse:
    """Answer with these bytes of the blob, 200 or 206; HEAD without reading what is not announced.

    With `saved_as` they are a file to be saved by this name.

    Raises what the reader raises; once the answer has begun, that breaks it off. Does not close
    the reader.
    """
    headers = blob_headers(facts, saved_as)
    choice = choose_digests(request)
    if choice.has_representation:
        headers["Repr-Digest"] = format_digest_field(facts.digest)
    if (digest := await _content_digest(facts, selection, choice, reader)) is not None:
        headers["Content-Digest"] = format_digest_field(digest)
    response = web.StreamResponse(headers=headers)
    async with aclosing(_begin(response, facts, selection, reader)) as content:
        await response.prepare(request)
        if request.method != "HEAD":
            async for chunk in content:
                await response.write(chunk)
        await response.write_eof()
    return response


async def _content_digest(
    facts: BlobFacts, selection: Selection, choice: DigestChoice, reader: PieceReader
) -> Digest | None:
    """Return the digest of the content, where it is wanted and costs one piece at most."""
    if not choice.has_content:
        return None
    if not selection.is_part:
        return facts.digest
    span, *others = selection.spans
    index, offset = divmod(span.start, PIECE_BYTES)
    count = span.stop - span.start
    if others or not choice.asks_content or offset + count > PIECE_BYTES:
        return None
    part = (await reader.read_piece(index))[offset : offset + count]
    return await in_thread_if(count, lambda: _digest(part), from_bytes=_HASHED_FROM_BYTES)


def _digest(data: memoryview) -> Digest:
    return Digest.from_raw(hashlib.sha256(data).digest())


def _begin(
    response: web.StreamResponse, facts: BlobFacts, selection: Selection, reader: PieceReader
) -> AsyncGenerator[Buffer]:
    """Say what comes, and return it."""
    span, *others = selection.spans
    if selection.is_part:
        response.set_status(206)
    if others:
        parts = Byteranges(facts.digest, facts.size, shown_type(facts), selection.spans)
        response.headers["Content-Type"] = parts.content_type
        response.content_length = parts.length
        return _multipart(parts, selection.spans, reader)
    if selection.is_part:
        response.headers["Content-Range"] = content_range(span, facts.size)
    response.content_length = span.stop - span.start
    return _bytes(span, reader)


async def _multipart(
    parts: Byteranges, spans: tuple[Span, ...], reader: PieceReader
) -> AsyncGenerator[Buffer]:
    for span in spans:
        yield parts.begin(span)
        async with aclosing(_bytes(span, reader)) as chunks:
            async for chunk in chunks:
                yield chunk
    yield parts.end()


async def _bytes(span: Span, reader: PieceReader) -> AsyncGenerator[Buffer]:
    """Yield views, each good until the next one is asked for."""
    for index, start, stop in _pieces(span):
        piece = await reader.read_piece(index)
        for at in range(start, stop, _CHUNK_BYTES):
            yield piece[at : min(at + _CHUNK_BYTES, stop)]


def _pieces(span: Span) -> Iterator[tuple[int, int, int]]:
    """Yield each piece of a span: its index, and from where up to where in it."""
    start = span.start
    while start < span.stop:
        index, offset = divmod(start, PIECE_BYTES)
        end = min(PIECE_BYTES, offset + span.stop - start)
        yield index, offset, end
        start += end - offset
