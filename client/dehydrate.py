"""Dehydrating: messages with their inline attachments replaced by refs."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias, cast

from coatcheck.protocol import (
    MAX_DEPTH,
    Dialect,
    Json,
    JsonObject,
    RefForm,
    dialect,
    ref_form,
)

from .blobs import headers_for
from .errors import InvalidArgumentError
from .exchange import Exchange, Work
from .known import Known
from .upload import upload_missing

Messages: TypeAlias = Sequence[Mapping[str, object]]
"""A dialect's message list: objects, lists, strings, numbers, booleans and None."""


def dehydrate(
    messages: Messages, dialect_name: str, known: Known, end_user: str | None = None
) -> Exchange[list[JsonObject]]:
    """Return the messages in ref form, after uploading what the server is missing.

    Raises:
        UnknownDialectError: there is no such dialect.
        InvalidEndUserError: nobody can have the name `end_user`.
        InvalidArgumentError: a value is not JSON.
        MalformedMessageError: a message is not the dialect's.
    """
    named = headers_for(end_user)
    dehydrated = yield from to_ref_form(messages, dialect(dialect_name))
    yield from upload_missing(dehydrated.inline, named, known)
    return [message for message in dehydrated.messages if isinstance(message, dict)]


def to_ref_form(messages: Messages, of: Dialect) -> Exchange[RefForm]:
    """Return the messages in ref form; uploads nothing."""
    copied = [copy_object(message, f"messages.{at}") for at, message in enumerate(messages)]
    return (yield from Work(partial(ref_form, of, copied)))


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
