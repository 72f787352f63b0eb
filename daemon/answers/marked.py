"""Finding what may carry bytes inline before its JSON is read."""

from coatcheck.protocol import (
    AnswerError,
    AnswerForm,
    JsonObject,
    SseError,
    SseReader,
    event_object,
)

from ..parsed_request import count_values


def has_mark(form: AnswerForm, data: bytes) -> bool:
    """Say whether JSON may carry bytes inline."""
    return any(mark in data for mark in form.marks)


def value_of(event: bytes, max_values: int) -> JsonObject | None:
    """Return the JSON of the one event that some bytes are; None for anything else, and for too much."""
    if count_values(event) > max_values:
        return None
    try:
        found = SseReader().feed(event)
        return event_object(found[0]) if len(found) == 1 else None
    except (AnswerError, SseError):
        return None
