"""Which bytes a Range header asks for, and how much it may ask (RFC 9110 sections 14.1 and 14.2).

1. The spans of an answer do not overlap or touch, so no byte is sent twice.
2. There are at most `MAX_RANGES` of them, and they turn back at most `MAX_TURNS` times: however a
   range is written, a blob is read through a few times at most, and the parts' own headers stay
   small.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MAX_RANGES = 32
"""Ranges in one header: what readers of PDF and video ask for at once is below ten."""

MAX_TURNS = 2
"""How often a span may begin before the one sent before it (RFC 9110 section 17.15)."""

_set = re.compile(r"[ \t]*bytes[ \t]*=(.*)", re.ASCII | re.IGNORECASE | re.DOTALL).fullmatch
_range = re.compile(r"[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.ASCII).fullmatch
_empty = re.compile(r"[ \t]*", re.ASCII).fullmatch
_TOO_MANY_DIGITS = 19  # over any size; int() refuses very long numbers


@dataclass(frozen=True, slots=True)
class Span:
    """The bytes from `start` up to and without `stop`; at least one."""

    start: int
    stop: int


def select_spans(asked: str, size: int) -> tuple[Span, ...] | None:
    """Return the spans of a blob of `size` bytes that a Range header asks for.

    They stand in the order in which they are named. Ranges that overlap or touch are one span, at the
    place of the first of them; those without a byte of the blob are left out (RFC 9110 section
    15.3.7.2). None: the header is to be ignored, because it is malformed, has another unit, has more
    than `MAX_RANGES` ranges, or turns back more than `MAX_TURNS` times (section 14.2 leaves the last
    two to the server). An empty tuple: no range has a byte of the blob (section 15.5.17).
    """
    match = _set(asked)
    if match is None:
        return None
    named = [text for text in match[1].split(",") if not _empty(text)]
    if not 0 < len(named) <= MAX_RANGES:
        return None
    spans: list[Span] = []
    for text in named:
        found = _range(text)
        if found is None or _is_reversed(found):
            return None
        if (span := _span(found, size)) is not None:
            spans.append(span)
    joined = tuple(_joined(spans))
    return None if _turns(joined) > MAX_TURNS else joined


def _is_reversed(match: re.Match[str]) -> bool:
    """True for a range that ends before it begins, which spoils the header (section 14.1.1)."""
    first, last, _ = match.groups()
    return bool(last) and _order(last) < _order(first)


def _span(match: re.Match[str], size: int) -> Span | None:
    """Return the bytes that a range has of the blob; None where it has none."""
    first, last, suffix = match.groups()
    if suffix is not None:
        start, stop = max(0, size - _number(suffix)), size
    else:
        start, stop = _number(first), min(_number(last) + 1, size) if last else size
    return Span(start, stop) if start < stop else None


def _turns(spans: Sequence[Span]) -> int:
    return sum(after.start < before.start for before, after in itertools.pairwise(spans))


def _joined(spans: Sequence[Span]) -> Iterator[Span]:
    """Yield spans with those that overlap or touch made one, each where its first one stood."""
    merged: list[tuple[int, Span]] = []  # the place that it takes, and the span, by ascending start
    for place, span in sorted(enumerate(spans), key=lambda item: item[1].start):
        if merged and span.start <= merged[-1][1].stop:
            earliest, last = merged.pop()
            place = min(place, earliest)
            span = Span(last.start, max(last.stop, span.stop))
        merged.append((place, span))
    return (span for _, span in sorted(merged, key=lambda item: item[0]))


def _number(digits: str) -> int:
    significant = digits.lstrip("0") or "0"
    return int(significant) if len(significant) < _TOO_MANY_DIGITS else 10**_TOO_MANY_DIGITS


def _order(digits: str) -> tuple[int, str]:
    """Return what compares like the number, however many digits it has."""
    significant = digits.lstrip("0")
    return len(significant), significant
