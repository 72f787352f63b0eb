"""Dehydrating: messages with their inline attachments replaced by refs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, cast

from coatcheck.protocol import (
    Dialect,
    Digest,
    FoundInline,
    FoundPointer,
    Json,
    JsonObject,
    Slot,
    dialect,
    inline_ref,
    sniff,
)

from .blobs import missing
from .errors import InvalidArgumentError
from .exchange import Exchange, Work
from .put import send

Messages: TypeAlias = Sequence[Mapping[str, object]]
"""A dialect's message list: objects, lists, strings, numbers, booleans and None."""

MAX_DEPTH = 200  # the deepest nesting that a server reads


@dataclass(frozen=True, slots=True)
class Inline:
    """An attachment whose bytes the caller passed: in which message, and what it is called."""

    message: int
    digest: Digest
    found: FoundInline


@dataclass(frozen=True, slots=True)
class Dehydrated:
    """Messages in ref form, and the bytes that the refs took the place of."""

    messages: list[JsonObject]
    inlines: tuple[Inline, ...]


def dehydrate(messages: Messages, dialect_name: str) -> Exchange[list[JsonObject]]:
    """Return the messages in ref form, after uploading what the server is missing.

    Raises:
        UnknownDialectError: there is no such dialect.
        InvalidArgumentError: a value is not JSON.
        MalformedMessageError: a message is not the dialect's.
    """
    dehydrated = yield from to_ref_form(messages, dialect(dialect_name))
    yield from bring(dehydrated.inlines)
    return dehydrated.messages


def to_ref_form(messages: Messages, of: Dialect) -> Exchange[Dehydrated]:
    """Copy the messages and replace inline bytes and pointers by refs; uploads nothing."""
    copied = [copy_object(message, f"messages.{at}") for at, message in enumerate(messages)]
    return (yield from Work(partial(_replace, copied, of)))


def bring(inlines: Sequence[Inline]) -> Exchange[None]:
    """Upload those that the server is missing, after asking for all of them at once."""
    if inlines:
        absent = yield from missing(inline.digest for inline in inlines)
        yield from upload_all(absent, inlines)


def upload_all(digests: Iterable[Digest], inlines: Sequence[Inline]) -> Exchange[None]:
    """Upload the named ones, one after the other: each is decoded, sent, and let go."""
    found = {inline.digest: inline.found for inline in inlines}
    for digest in digests:
        source = yield from Work(found[digest].decode)
        assert source is not None  # it was decoded before, to be hashed
        yield from send(source, found[digest].media_type)


def copy_object(value: Mapping[str, object], path: str) -> JsonObject:
    """Copy a JSON object deeply; strings are shared.

    Raises:
        InvalidArgumentError: something in it is not JSON; the message says where.
    """
    copied = copy_json(dict(value), path)
    assert isinstance(copied, dict)
    return copied


def copy_json(value: object, path: str, depth: int = 0) -> Json:
    """Copy a JSON value deeply; tuples become lists.

    Raises:
        InvalidArgumentError: something in it is not JSON; the message says where.
    """
    if depth > MAX_DEPTH:
        raise InvalidArgumentError(f"{path[:200]}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        members = cast("dict[object, object]", value).items()
        return {
            _key(key, path): copy_json(item, f"{path}.{key}", depth + 1) for key, item in members
        }
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return [copy_json(item, f"{path}.{at}", depth + 1) for at, item in enumerate(items)]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise InvalidArgumentError(f"{path}: {type(value).__name__} {value!r:.40} is not JSON")


def _key(key: object, path: str) -> str:
    if not isinstance(key, str):
        raise InvalidArgumentError(f"{path}: the key {key!r:.40} is no string")
    return key


def _replace(messages: list[JsonObject], of: Dialect) -> Dehydrated:
    inlines: list[Inline] = []
    for slot in of.walk(messages):
        found = slot.found
        if isinstance(found, FoundPointer):
            slot.put_ref(inline_ref(found, found.pointer.digest, None))
        elif isinstance(found, FoundInline) and (data := found.decode()):
            digest = Digest.of(data)
            slot.put_ref(inline_ref(found, digest, sniff(data[:64])))
            inlines.append(Inline(_message_of(slot), digest, found))
    return Dehydrated(messages, tuple(inlines))


def _message_of(slot: Slot) -> int:
    return next(step for step in slot.path if isinstance(step, int))
