"""Dialects: what one provider's wire format lets us know and change.

A dialect finds attachments in parsed messages. It does no I/O and keeps no state; each is one
module, and one line in `dialects.py`.
"""

from collections.abc import Collection
from typing import Protocol

from .attachment import Slot
from .json_value import Json, JsonObject
from .provider import Provider


class Dialect(Protocol):
    """One provider's wire format."""

    @property
    def name(self) -> str:
        """The name in settings and prompt digests, such as `openai.chat`."""
        ...

    @property
    def provider(self) -> Provider:
        """Whose it is, which decides how its errors look."""
        ...

    @property
    def messages_key(self) -> str:
        """The top-level key of the message list."""
        ...

    def end_user(self, body: JsonObject) -> str | None:
        """Return whom a request's body says that it is for; None where it names nobody.

        A name that no end user may have counts as none: the field is the provider's, not ours.
        """
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
