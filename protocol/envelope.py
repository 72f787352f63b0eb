"""The envelope: a request that names the prefix of its messages instead of repeating it.

    "coatcheck": {"parent": "<prompt digest>" | null, "append": [<messages>], "fields": {...}}

It stands at the top of a body in place of the message list, and of the values that `fields` names; also
where these have their places within the body's `data`.
"""

from dataclasses import dataclass

from .attachment import dotted
from .dialect import Dialect, framed, messages_path
from .digest import Digest
from .errors import EnvelopeError, InvalidDigestError
from .json_value import Json, JsonObject
from .provider import is_private

ENVELOPE_KEY = "coatcheck"
PROMPT_HEADER = "Coatcheck-Prompt"
KEEP = "keep"
MAX_FIELDS = 16
"""The most that one envelope names: each is looked up, and may be 4 MiB. Requests have two or three."""

_KEYS = frozenset({"parent", "append", "fields"})


@dataclass(frozen=True, slots=True)
class Envelope:
    """The parent's digest (None: the empty list), the messages after it, fields by digest."""

    parent: Digest | None
    append: list[Json]
    fields: dict[str, Digest]

    def to_json(self) -> JsonObject:
        """Return the value of the body's `coatcheck` key."""
        value: JsonObject = {"parent": self.parent, "append": self.append}
        if self.fields:
            value["fields"] = {key: str(digest) for key, digest in self.fields.items()}
        return value


def read_envelope(body: JsonObject, dialect: Dialect) -> Envelope | None:
    """Read the envelope of a request body; None when it has none.

    An empty message list beside it counts as left out.

    Raises:
        EnvelopeError: it is malformed, stands beside a message list or beside a value that it
            names too, or appends nothing to nothing. The error's path says where.
    """
    if ENVELOPE_KEY not in body:
        return None
    value = body[ENVELOPE_KEY]
    if not isinstance(value, dict):
        raise EnvelopeError("an envelope is an object", ENVELOPE_KEY)
    if unknown := sorted(set(value) - _KEYS):
        raise EnvelopeError(f"unknown key {unknown[0][:80]!r}", ENVELOPE_KEY)
    inner = framed(dialect, body)
    messages_key = dialect.messages_key
    if messages_key in inner and inner[messages_key] != []:
        path = dotted(messages_path(dialect))
        raise EnvelopeError("a message list stands beside the envelope", path)
    parent = _parent(value)
    append = value.get("append")
    if not isinstance(append, list):
        raise EnvelopeError("a list of messages is required", f"{ENVELOPE_KEY}.append")
    if parent is None and not append:
        raise EnvelopeError("nothing is appended to nothing", f"{ENVELOPE_KEY}.append")
    return Envelope(parent, append, _fields(value, inner, dialect))


def field_path(key: str) -> str:
    """Return where an envelope names a field."""
    return f"{ENVELOPE_KEY}.fields.{key}"


def _parent(value: JsonObject) -> Digest | None:
    path = f"{ENVELOPE_KEY}.parent"
    if "parent" not in value:
        raise EnvelopeError("a prompt digest, or null, is required", path)
    parent = value["parent"]
    return None if parent is None else _digest(parent, path)


def _fields(value: JsonObject, body: JsonObject, dialect: Dialect) -> dict[str, Digest]:
    path = f"{ENVELOPE_KEY}.fields"
    fields = value.get("fields", {})
    if not isinstance(fields, dict):
        raise EnvelopeError("an object of digests", path)
    if len(fields) > MAX_FIELDS:
        raise EnvelopeError(f"more than {MAX_FIELDS} fields", path)
    for key in fields:
        if key == dialect.messages_key:
            raise EnvelopeError("the message list is no field", field_path(key))
        if key == ENVELOPE_KEY or is_private(key, dialect.provider):
            raise EnvelopeError("it is never kept", field_path(key))
        if key in body:
            raise EnvelopeError("it stands in the body too", field_path(key))
    return {key: _digest(item, field_path(key)) for key, item in fields.items()}


def _digest(value: Json, path: str) -> Digest:
    if not isinstance(value, str):
        raise EnvelopeError("a digest is a string", path)
    try:
        return Digest(value)
    except InvalidDigestError as error:
        raise EnvelopeError(str(error), path) from error
