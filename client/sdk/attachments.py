"""The attachments of a whole body, wherever they stand."""

from collections.abc import Iterator

from coatcheck.protocol import Dialect, JsonObject, Slot, messages_in


def attachments(body: JsonObject, dialect: Dialect) -> Iterator[Slot]:
    """Yield the attachments in the messages, then those beside them.

    Raises:
        MalformedMessageError: a message is not the dialect's.
    """
    messages = messages_in(dialect, body)
    if messages is not None:
        yield from dialect.walk(messages)
    yield from dialect.walk_beside(body)
