"""What a GET asks for: conditions and ranges, decided from the headers alone.

Conditions come first, then the range (RFC 9110 section 13.2.2). A blob never changes and has no
date, so the entity tag, its quoted digest, decides everything; conditions by date are ignored
(sections 13.1.3 and 13.1.4), and a date in If-Range matches nothing (section 13.1.5).
"""

import re
from dataclasses import dataclass

from multidict import CIMultiDictProxy

from coatcheck.protocol import Digest

from .ranges import Span, select_spans

_tag = re.compile(r'\s*(?:(W/)?("[\x21\x23-\x7e\x80-\U0010ffff]*"))?\s*(?:,|$)').match


@dataclass(frozen=True, slots=True)
class Selection:
    """The bytes of `spans`, in this order; `is_part` when ranges were asked for.

    There is one span at least, and one only where `is_part` is false: the whole.
    """

    spans: tuple[Span, ...]
    is_part: bool = False

    @property
    def start(self) -> int:
        """The first byte to be sent."""
        return self.spans[0].start


@dataclass(frozen=True, slots=True)
class NotModified:
    """The client has the blob."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """The client wants another blob than this one."""


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """No range has a byte of the blob."""


Decision = Selection | NotModified | PreconditionFailed | Unsatisfiable


def entity_tag(digest: Digest) -> str:
    """Return the blob's strong entity tag (RFC 9110 section 8.8.3)."""
    return f'"{digest}"'


def decide(headers: CIMultiDictProxy[str], digest: Digest, size: int) -> Decision:
    """Say what a GET or HEAD with these headers gets.

    Which ranges are served and which headers ignored, see `select_spans`. If-Range matches the
    strong entity tag alone; anything else in it gets the whole.
    """
    tag = entity_tag(digest)
    wanted = field_value(headers, "If-Match")
    if wanted is not None and not _names(wanted, tag, weakly=False):
        return PreconditionFailed()
    held = field_value(headers, "If-None-Match")
    if held is not None and _names(held, tag, weakly=True):
        return NotModified()
    spans = _asked(headers, tag, size)
    if spans is None:
        return Selection((Span(0, size),))
    return Selection(spans, is_part=True) if spans else Unsatisfiable()


def field_value(headers: CIMultiDictProxy[str], name: str) -> str | None:
    """Return a field's lines as one value (RFC 9110 section 5.3); None where there is none."""
    return ", ".join(headers.getall(name)) if name in headers else None


def _asked(headers: CIMultiDictProxy[str], tag: str, size: int) -> tuple[Span, ...] | None:
    asked = field_value(headers, "Range")
    condition = field_value(headers, "If-Range")
    if asked is None or (condition is not None and condition.strip() != tag):
        return None
    return select_spans(asked, size)


def _names(value: str, tag: str, *, weakly: bool) -> bool:
    """True when a list of entity tags names `tag`, or is `*` (RFC 9110 sections 13.1.1, 13.1.2).

    What follows something that is no tag is not read.
    """
    if value.strip() == "*":
        return True
    at = 0
    while at < len(value) and (match := _tag(value, at)) is not None:
        is_weak, found = match.groups()
        if found == tag and (weakly or not is_weak):
            return True
        at = match.end()
    return False
