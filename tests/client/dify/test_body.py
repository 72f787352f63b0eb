"""A body with texts spliced in, as what sends it reads it."""

import io
from itertools import product

import pytest

from coatcheck.client.dify.hook.body import SplicedBody

PARTS: list[bytes | str] = [b'{"a": "\xc3\xa9', "QUJD", b"", "", "REVG" * 3, b'"}']
WHOLE = b'{"a": "\xc3\xa9QUJDREVGREVGREVG"}'


def test_it_reads_as_the_whole_in_pieces_of_any_size() -> None:
    body = SplicedBody(PARTS)
    assert len(body) == len(WHOLE)
    for size, start in product(range(1, len(WHOLE) + 2), range(len(WHOLE) + 1)):
        body.seek(start)
        pieces = [body.read(size) for _ in range(start, len(WHOLE), size)]
        assert (b"".join(pieces), body.read(size)) == (WHOLE[start:], b"")
        assert body.tell() == len(WHOLE)


def test_it_is_wound_as_files_are() -> None:
    body = SplicedBody(PARTS)
    assert (body.readable(), body.seekable(), body.tell()) == (True, True, 0)
    assert body.read() == WHOLE
    assert (body.seek(-3, io.SEEK_END), body.read()) == (len(WHOLE) - 3, WHOLE[-3:])
    assert (body.seek(1), body.seek(2, io.SEEK_CUR), body.read(2)) == (1, 3, WHOLE[3:5])
    assert (body.seek(len(WHOLE) + 5), body.read(1)) == (len(WHOLE) + 5, b"")
    with pytest.raises(ValueError, match="before"):
        body.seek(-1)


def test_nothing_is_an_empty_body() -> None:
    assert (len(SplicedBody([])), SplicedBody([]).read()) == (0, b"")
