"""Answers of models, read into the messages that a next request gives back.

Each dialect has one form for that, the plainest in which its provider's own SDK sends an answer again.
A form is one module, and one line in `answer_forms.py`; it does no I/O and keeps no state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .attachment import Slot
from .json_value import Json, JsonObject


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """One answer: what its provider calls it, and the messages that it adds to its conversation.

    Of several choices it is the first. There are no messages where a next request could carry nothing
    of it. They share their values with what they were read from.
    """

    id: str | None
    messages: Sequence[Json]


class AnswerParts(Protocol):
    """One streamed answer, put together from its events."""

    @property
    def is_whole(self) -> bool:
        """Whether the model said that it was done."""
        ...

    @property
    def is_last(self) -> bool:
        """Whether the event taken last is the one that ends a stream of this dialect.

        Never where streams end without one, or with `[DONE]`.
        """
        ...

    def is_failure(self, event: JsonObject, name: str) -> bool:
        """Say whether an event tells that there will be no answer; `name` is the event's."""
        ...

    def take(self, event: JsonObject) -> None:
        """Take the JSON of the next event. What is not understood in it is passed over."""
        ...

    def answer(self) -> ModelAnswer | None:
        """Return what came so far; None where a part of it could not be put together."""
        ...


class AnswerForm(Protocol):
    """How one dialect's answers are read."""

    @property
    def dialect(self) -> str:
        """Its name."""
        ...

    def read(self, body: Json) -> ModelAnswer | None:
        """Read a whole answer; None where it is none, or not finished."""
        ...

    def parts(self) -> AnswerParts:
        """Return what puts one streamed answer together."""
        ...

    @property
    def marks(self) -> Sequence[bytes]:
        """What one of stands in the JSON of every answer and event that carries bytes inline."""
        ...

    def carried(self, value: Json) -> list[Json]:
        """Return what a whole answer, or one event's JSON, carries of the messages of a next request.

        It is in the form of messages, for `Dialect.walk`; objects in it are those of `value`, so that
        what is put into their slots stands there too.
        """
        ...

    def passing(self, value: Json) -> list[Slot]:
        """Find the attachments that no next request carries: images in the making, and sound."""
        ...


def text_of(value: Json) -> str:
    """Return a string; empty for anything else."""
    return value if isinstance(value, str) else ""


def name_of(value: Json) -> str | None:
    """Return a string that is not empty."""
    return value if isinstance(value, str) and value else None


def objects_of(value: Json) -> list[JsonObject]:
    """Return the objects of a list; none for anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def first_of(value: Json) -> JsonObject | None:
    """Return the object that a list begins with."""
    first = value[0] if isinstance(value, list) and value else None
    return first if isinstance(first, dict) else None
