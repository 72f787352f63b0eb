"""A spliced body is base64 of the blobs, with the length that was promised."""

import asyncio
import base64
import random

import pytest

from coatcheck.daemon.body import RUN_BYTES, Base64Of, RawBody, SplicedBody
from coatcheck.daemon.errors import BlobUnreadableError
from coatcheck.daemon.source import PieceReader
from coatcheck.protocol import PIECE_BYTES, Digest


class Pieces:
    """A reader that hands out pieces of any size but the last."""

    def __init__(self, data: bytes, fails_at: int | None = None) -> None:
        self.data, self.fails_at, self.closed = data, fails_at, False

    @property
    def size(self) -> int:
        return len(self.data)

    async def read_piece(self, index: int) -> memoryview:
        if index == self.fails_at:
            raise BlobUnreadableError(Digest.of(self.data))
        return memoryview(self.data)[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]

    async def close(self) -> None:
        self.closed = True


def spliced(data: bytes, reader: Pieces) -> SplicedBody:
    async def open_blob(digest: Digest) -> PieceReader:
        return reader

    return SplicedBody([b"<", Base64Of(Digest.of(data), len(data)), b">"], open_blob)


@pytest.mark.parametrize(
    "size",
    [
        1,
        2,
        3,
        4,
        RUN_BYTES - 1,
        RUN_BYTES,
        RUN_BYTES + 1,
        PIECE_BYTES - 1,
        PIECE_BYTES,
        PIECE_BYTES + 1,
        PIECE_BYTES + 2,
        PIECE_BYTES + RUN_BYTES,
        2 * PIECE_BYTES + 5,
        3 * PIECE_BYTES,
    ],
)
async def test_a_blob_of_any_size_is_spliced_in(size: int) -> None:
    data = random.Random(size).randbytes(size)
    reader = Pieces(data)
    body = spliced(data, reader)
    sent = b"".join([chunk async for chunk in body.chunks()])
    assert sent == b"<" + base64.b64encode(data) + b">"
    assert len(sent) == body.size
    assert reader.closed


async def test_short_texts_go_together_and_nothing_else_is_copied() -> None:
    data = bytes(RUN_BYTES + 1)
    long = memoryview(b"long" * 100_000)

    async def open_blob(digest: Digest) -> PieceReader:
        return Pieces(data)

    blob = Base64Of(Digest.of(data), len(data))
    body = SplicedBody([b"<", b"", memoryview(b"-"), blob, b"|", b"|", long, b"|", blob], open_blob)
    chunks = [chunk async for chunk in body.chunks()]
    run, last = base64.b64encode(data[:RUN_BYTES]), base64.b64encode(data[RUN_BYTES:])
    assert chunks == [b"<-", run, last + b"||", long, b"|", run, last]
    assert sum(map(len, chunks)) == body.size


async def test_others_get_a_turn_between_blobs() -> None:
    async def open_blob(digest: Digest) -> PieceReader:
        return Pieces(b"abc")

    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    body = SplicedBody([Base64Of(Digest.of(b"abc"), 3)] * 50, open_blob)
    sent = b"".join([bytes(chunk) async for chunk in body.chunks()])
    counting.cancel()
    assert sent == b"YWJj" * 50
    assert turns >= 48


async def test_a_body_can_be_sent_again() -> None:
    body = spliced(b"abc", Pieces(b"abc"))
    assert [chunk async for chunk in body.chunks()] == [chunk async for chunk in body.chunks()]
    raw = RawBody(b"abc")
    assert [[chunk async for chunk in raw.chunks()] for _ in range(2)] == [[b"abc"]] * 2


async def test_a_bad_piece_ends_the_body_and_the_reader_is_closed() -> None:
    data = bytes(PIECE_BYTES + 1)
    reader = Pieces(data, fails_at=1)
    with pytest.raises(BlobUnreadableError):
        async for _ in spliced(data, reader).chunks():
            pass
    assert reader.closed
