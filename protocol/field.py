"""Fields: large top-level values of request bodies, which an envelope may name by their digest.

A field's digest is the SHA-256 of its RFC 8785 form. Which values may be named follows from the
body alone, so that both sides know it: no answer has to list them.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from .dialect import Dialect
from .digest import Digest
from .envelope import ENVELOPE_KEY, MAX_FIELDS
from .errors import PromptDigestError
from .json_value import Json, JsonObject
from .prompt import canonical_json, prompt_root
from .provider import is_private

MIN_FIELD_BYTES = 512
"""In RFC 8785 form. Naming a value takes some hundred bytes, and keeping it a row and a look-up."""
MAX_FIELD_BYTES = 4 * 1024 * 1024
"""As above. Sixteen of them take what a kept message list may take."""
FIELD_DIALECT = "coatcheck.field"
"""In place of a dialect: a field is kept as the prompt of one message, which is the value."""

_BYTES_A_CHARACTER = 6  # at most, in a JSON string: \u0000


@dataclass(frozen=True, slots=True)
class Field:
    """One value, its key, and its digest."""

    key: str
    digest: Digest
    value: Json


def field_digest(value: Json) -> Digest | None:
    """Return the digest of a value that may be named; None for one of another size.

    One without an RFC 8785 form has none either.
    """
    if not may_be_field(value):
        return None
    try:
        canonical = canonical_json(value)
    except PromptDigestError:
        return None
    if not MIN_FIELD_BYTES <= len(canonical) <= MAX_FIELD_BYTES:
        return None
    return Digest.of(canonical)


def fields_of(body: JsonObject, dialect: Dialect) -> Iterator[Field]:
    """Yield the values that are kept with a prompt, in the order of the text.

    `body` is what has the message list; see `framed`. These are all but the message list, the model, the
    envelope and what is private; the first `MAX_FIELDS` of them. Takes a millisecond for some 100 kB.
    """
    count = 0
    for key, value in body.items():
        if count == MAX_FIELDS:
            return
        if is_own_key(key, dialect):
            continue
        if (digest := field_digest(value)) is not None:
            count += 1
            yield Field(key, digest, value)


def is_own_key(key: str, dialect: Dialect) -> bool:
    """Whether a key of a body is no field, whatever it has."""
    own = (dialect.messages_key, dialect.model_key, ENVELOPE_KEY)
    return key in own or is_private(key, dialect.provider)


def may_be_field(value: Json) -> bool:
    """Whether a value might be large enough; takes no time."""
    if isinstance(value, str):
        return (len(value) + 1) * _BYTES_A_CHARACTER >= MIN_FIELD_BYTES
    return isinstance(value, dict | list)


def field_prompt(digest: Digest) -> Digest:
    """Return the prompt digest under which a field is kept, in `FIELD_DIALECT`."""
    return Digest.of(prompt_root(FIELD_DIALECT).raw + digest.raw)
