"""A turn as it came."""

from dataclasses import dataclass

from coatcheck.protocol import Call, Whole

from .parsed_request import ParsedRequest


@dataclass(frozen=True, slots=True)
class Received:
    """A turn as it came: its body as sent (`raw`) and decoded (`text`), read, and whose it is."""

    raw: Whole
    text: Whole
    parsed: ParsedRequest
    tenant: str
    end_user: str | None
    """Whom it is for, as its header says, or else its body, once that is whole."""
    call: Call
