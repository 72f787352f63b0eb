"""The attachments of a whole body, wherever they stand."""

from collections.abc import Iterator

from coatcheck.protocol import Dialect, JsonObject, Slot


def attachments(body: JsonObject, dialect: Dialect) -> Iterator[Slot]:
    """Yield the attachments in the messages, then those beside them.

    Raises:
        MalformedMessageError: a message is not the dialect's.
    """
    messages = body.get(dialect.messages_key)
    if messages is not None:
        yield from dialect.walk(messages)
    yield from dialect.walk_beside(body)
