"""Dialects: what one provider's wire format lets us know and change.

A dialect finds attachments in parsed messages, and says how errors look. It does no I/O and
keeps no state; each is one module, and one line in `dialects.py`.
"""

from collections.abc import Collection
from typing import Protocol

from pydantic import BaseModel

from .attachment import Slot
from .json_value import Json, JsonObject
from .problem import Problem


class Dialect(Protocol):
    """One provider's wire format."""

    @property
    def name(self) -> str:
        """The name in settings and prompt digests, such as `openai.chat`."""
        ...

    @property
    def messages_key(self) -> str:
        """The top-level key of the message list."""
        ...

    def walk(self, messages: Json, origins: Collection[str] = ()) -> list[Slot]:
        """Find every attachment, in the order of the text.

        `origins` are the authorities (`host:port`, lower case) whose `/v1/blobs/` URLs are ours.
        Unknown kinds of parts are passed over. The messages are not changed.

        Raises:
            MalformedMessageError: a type that no reading allows, a malformed ref, or a malformed
                pointer; its path says where.
        """
        ...

    @property
    def error_model(self) -> type[BaseModel]:
        """The model of an error answer's body, for the description of routes."""
        ...

    def error(self, problem: Problem) -> JsonObject:
        """Return the body of an error answer, all of it inside what the SDKs keep."""
        ...

    def error_event(self, problem: Problem) -> bytes:
        """Return the event that ends a stream which cannot go on."""
        ...
