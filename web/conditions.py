"""Which bytes a GET asks for: conditions and ranges, decided from the headers alone.

Conditions come first, then the range (RFC 9110 section 13.2.2). A blob never changes and has no
date, so the entity tag, its quoted digest, decides everything; conditions by date are ignored.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from coatcheck.protocol import Digest

_tag = re.compile(r'\s*(?:(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*")|(\*))?\s*(?:,|$)').match
_range = re.compile(r"bytes[ \t]*=[ \t]*(?:([0-9]+)-([0-9]*)|-([0-9]+))[ \t]*", re.ASCII).fullmatch
_TOO_MANY_DIGITS = 19  # over any size; int() refuses very long numbers


@dataclass(frozen=True, slots=True)
class Selection:
    """The bytes from `start` up to and without `stop`; `is_part` when a range was asked for."""

    start: int
    stop: int
    is_part: bool = False


@dataclass(frozen=True, slots=True)
class NotModified:
    """The client has the blob."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """The client wants another blob than this one."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """The range has no byte of the blob."""


Decision = Selection | NotModified | PreconditionFailed | Unsatisfiable


def entity_tag(digest: Digest) -> str:
    """Return the blob's strong entity tag (RFC 9110 section 8.8.3)."""
    return f'"{digest}"'


def decide(headers: Mapping[str, str], digest: Digest, size: int) -> Decision:
    """Say what a GET or HEAD with these headers gets.

    One range is served; several, malformed ones and other units are ignored, which RFC 9110
    section 14.2 leaves to the server.
    """
    tag = entity_tag(digest)
    if (value := headers.get("If-Match")) is not None and not _names(value, tag, weakly=False):
        return PreconditionFailed()
    if (value := headers.get("If-None-Match")) is not None and _names(value, tag, weakly=True):
        return NotModified()
    asked = headers.get("Range")
    condition = headers.get("If-Range")
    if asked is None or (condition is not None and condition.strip() != tag):
        return Selection(0, size)
    return _select(asked, size)


def _names(value: str, tag: str, *, weakly: bool) -> bool:
    """True when a list of entity tags names `tag`, or is `*` (RFC 9110 sections 13.1.1, 13.1.2)."""
    at = 0
    while at < len(value) and (match := _tag(value, at)) is not None:
        is_weak, found, star = match.groups()
        if star or (found == tag and (weakly or not is_weak)):
            return True
        at = match.end()
    return False


def _select(asked: str, size: int) -> Decision:
    match = _range(asked.strip())
    if match is None:
        return Selection(0, size)
    first, last, suffix = match.groups()
    if suffix is not None:
        count = min(_number(suffix), size)
        return Selection(size - count, size, is_part=True) if count else Unsatisfiable()
    start = _number(first)
    stop = _number(last) + 1 if last else size
    if stop <= start and last:
        return Selection(0, size)
    if start >= size:
        return Unsatisfiable()
    return Selection(start, min(stop, size), is_part=True)


def _number(digits: str) -> int:
    return int(digits) if len(digits) < _TOO_MANY_DIGITS else 10**_TOO_MANY_DIGITS
