"""Finding what may carry bytes inline before its JSON is read."""

from coatcheck.protocol import (
    AnswerError,
    AnswerForm,
    JsonObject,
    SseError,
    SseReader,
    event_object,
)


def has_mark(form: AnswerForm, data: bytes) -> bool:
    """Say whether JSON may carry bytes inline."""
    return any(mark in data for mark in form.marks)


def value_of(event: bytes) -> JsonObject | None:
    """Return the JSON of the one event that some bytes are; None where they are anything else."""
    try:
        found = SseReader().feed(event)
        return event_object(found[0]) if len(found) == 1 else None
    except (AnswerError, SseError):
        return None
