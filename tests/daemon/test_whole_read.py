"""A blob is verified once all its pieces were read, in order from the first."""

from coatcheck.daemon.whole_read import WholeRead
from coatcheck.protocol import PIECE_BYTES


def test_the_last_piece_in_order_makes_it_whole_once() -> None:
    whole = WholeRead(3 * PIECE_BYTES)
    assert [whole.note(index) for index in (0, 0, 2, 1, 2, 2, 0)] == [
        *[False] * 4,
        True,
        False,
        False,
    ]


def test_reading_from_the_middle_verifies_nothing() -> None:
    whole = WholeRead(2 * PIECE_BYTES)
    assert not whole.note(1)
