"""A request's body with texts spliced in as it is read, of which there is no copy."""

from __future__ import annotations

import io
from bisect import bisect_right
from itertools import accumulate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

__all__ = ["SplicedBody"]


class SplicedBody(io.RawIOBase):
    """Bytes and ASCII texts, one after the other, as one file that can be read again.

    What sends it reads pieces, and knows its length (`len`) beforehand, so it need not be chunked.
    """

    def __init__(self, parts: Sequence[bytes | str]) -> None:
        super().__init__()
        self._parts = parts
        self._ends = list(accumulate(map(len, parts)))
        self._at = 0

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: len(self)}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning")
        self._at = start + offset
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer as far as there is something, across parts."""
        view = memoryview(buffer).cast("B")
        count = 0
        while count < len(view) and self._at < len(self):
            number = bisect_right(self._ends, self._at)
            part = self._parts[number]
            start = self._at - (self._ends[number] - len(part))
            piece = part[start : start + len(view) - count]
            data = piece.encode("ascii") if isinstance(piece, str) else piece
            view[count : count + len(data)] = data
            count += len(data)
            self._at += len(data)
        return count
