"""JSON texts without their long base64, which a parser would look at character by character.

The long base64 of a key's value, alone or in a data URL, is taken out and a mark stands in its place;
`decode_json` parses what is left, and puts the strings back, or a `TakenText` for each. The decoder
checks base64 some twenty times faster than a JSON parser reads it, and none of its characters means
anything in JSON. Where a mark is not met again exactly once, the text is parsed whole: so what a text
means does not depend on this.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import pybase64

from .buffer import Whole
from .pointer import VERSION_LINE

MARK = "@coatcheck.base64:"

_MARK_BYTES = MARK.encode()
_MIN_BYTES = 64 * 1024  # of what is taken out: parsing that much costs what looking for it does
_CHECKED_BYTES = 256 * 1024  # at once: a multiple of four, which stays in the processor's cache
_POINTER_PREFIX = pybase64.b64encode(VERSION_LINE)  # what begins so may be read as one
_SPACES = 32  # between a colon and its value, the colon included: more than any client writes
_matches_head = re.compile(rb"data:[A-Za-z0-9!#$&^_.+/;=-]{0,240},").match


class TakenText(str):
    """A string whose base64 is elsewhere: in itself what precedes it, and the mark.

    Making strings of large bodies costs as much as receiving them. Whoever writes a value that may have
    such strings puts them back before: `put_back`.
    """

    __slots__ = ("content", "head")

    head: str
    """What stands before the base64: that of a data URL, or nothing."""
    content: memoryview
    """The base64."""

    def __new__(cls, head: str, mark: str, content: memoryview) -> Self:
        """Return the string for a `mark` that no other has."""
        self = super().__new__(cls, head + mark)
        self.head, self.content = head, content
        return self

    @property
    def whole(self) -> str:
        """The string as it was written."""
        return self.head + str(self.content, "ascii")


@dataclass(frozen=True, slots=True)
class ShortJson:
    """A JSON text, whole and without what was taken out of it, in the order of its marks."""

    whole: Whole
    text: bytes
    taken: Sequence[TakenText] = ()

    def restored(self, piece: bytes) -> Iterator[bytes | memoryview]:
        """Yield a piece of `text`, cut through no mark, with all that was taken out of it."""
        head, *tails = piece.split(_MARK_BYTES)
        yield head
        for tail in tails:
            number, _, after = tail.partition(b"@")
            yield self.taken[int(number)].content
            yield after


def shorten_json(data: Whole) -> ShortJson:
    """Take long base64 out of a JSON text; about 0.1 ms a megabyte of it."""
    if len(data) < _MIN_BYTES:
        return _unshortened(data)
    pieces: list[bytes] = []
    taken: list[TakenText] = []
    end = 0
    for start, stop in _long_strings(data):
        content = memoryview(data)[start:stop]
        head = _matches_head(content)
        begin = start + (head.end() if head else 0)
        text = memoryview(data)[begin:stop]
        if _is_of_key(data, start) and _is_plain(text):
            found = TakenText(data[start:begin].decode(), f"{MARK}{len(taken)}@", text)
            pieces += [data[end:start], found.encode()]
            taken.append(found)
            end = stop
    if not taken:
        return _unshortened(data)
    pieces.append(data[end:])
    if any(_MARK_BYTES in piece for piece in pieces[::2]):
        return _unshortened(data)
    return ShortJson(data, b"".join(pieces), tuple(taken))


def _unshortened(data: Whole) -> ShortJson:
    whole = data[:]
    return ShortJson(whole, whole)


def _long_strings(data: Whole) -> Sequence[tuple[int, int]]:
    """Return where long stretches without a quote stand between two quotes.

    Looks at as many places as there are long stretches in the text, not at every quote.
    """
    found: list[tuple[int, int]] = []
    at = 0
    while (stop := data.find(b'"', at)) >= 0:
        if stop - at < _MIN_BYTES:
            at += _MIN_BYTES
            continue
        if (quote := data.rfind(b'"', 0, at)) >= 0:
            found.append((quote + 1, stop))
        at = stop + 1
    return found


def _is_of_key(data: Whole, start: int) -> bool:
    """Whether a string is all of the value of a key, as far as can be seen from before it.

    Others stay: their marks would not be met, and a client's text that reads like one would be.
    """
    before = data[max(0, start - 1 - _SPACES) : start - 1].rstrip(b" \t\r\n")
    return before.endswith(b":")


def _is_plain(text: memoryview) -> bool:
    """Whether a text is base64 in one of its alphabets, and no pointer's."""
    if text[: len(_POINTER_PREFIX)] == _POINTER_PREFIX:
        return False
    return _is_base64(text, None) or _is_base64(text, b"-_")


def _is_base64(text: memoryview, altchars: bytes | None) -> bool:
    try:
        for start in range(0, len(text), _CHECKED_BYTES):
            pybase64.b64decode(
                text[start : start + _CHECKED_BYTES], altchars=altchars, validate=True
            )
    except ValueError:
        return False
    return True
