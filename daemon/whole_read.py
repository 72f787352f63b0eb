"""When a blob was read whole: all pieces, in order from the first. That verifies it."""

from coatcheck.protocol import piece_count


class WholeRead:
    """Follows one reader of a blob of `size` bytes."""

    def __init__(self, size: int) -> None:
        self._count = piece_count(size)
        self._next = 0

    def note(self, index: int) -> bool:
        """Note that a piece was read; return whether that made it whole. Said once."""
        if index != self._next or self._next == self._count:
            return False
        self._next += 1
        return self._next == self._count
