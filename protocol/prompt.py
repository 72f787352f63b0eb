"""Prompt digests: one name for a list of messages, however it was cut into requests.

    p0 = SHA-256("coatcheck.prompt.v1\\n" + dialect)
    pi = SHA-256(p(i-1) || SHA-256(JCS(mi)))

`mi` is message i in ref form, JCS is RFC 8785. A branch is another child of the same parent.
"""

import hashlib
import json
from collections.abc import Sequence

import rfc8785

from .digest import Digest
from .errors import PromptDigestError
from .json_value import Json

_DOMAIN = b"coatcheck.prompt.v1\n"


def prompt_root(dialect: str) -> Digest:
    """Return p0, the digest of the empty list in a dialect."""
    return Digest.of(_DOMAIN + dialect.encode())


def prompt_step(parent: Digest, message: Json) -> Digest:
    """Return the digest of a list that continues `parent` by one message in ref form.

    Raises:
        PromptDigestError: RFC 8785 cannot express the message.
    """
    return prompt_link(parent, message_hash(message))


def message_hash(message: Json) -> bytes:
    """Return SHA-256(JCS(m)) of a message in ref form, which is the same in every list.

    Raises:
        PromptDigestError: RFC 8785 cannot express the message.
    """
    return hashlib.sha256(canonical_json(message)).digest()


def prompt_link(parent: Digest, hashed: bytes) -> Digest:
    """Return the digest of a list that continues `parent` by the message with this hash."""
    return Digest.of(parent.raw + hashed)


def prompt_digests(
    dialect: str, messages: Sequence[Json], parent: Digest | None = None
) -> list[Digest]:
    """Return the digest after each message, the last one naming the whole list.

    `parent` is what the messages continue; None is the empty list.

    Raises:
        PromptDigestError: RFC 8785 cannot express one of the messages.
    """
    digests: list[Digest] = []
    current = parent or prompt_root(dialect)
    for message in messages:
        current = prompt_step(current, message)
        digests.append(current)
    return digests


def canonical_json(value: Json) -> bytes:
    """Return the RFC 8785 form.

    Raises:
        PromptDigestError: an integer is beyond 2**53 - 1, or a string is no valid Unicode.
    """
    try:
        if _is_plain(value):
            return _plain.encode(value).encode()
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise PromptDigestError(f"no RFC 8785 form: {error}") from error


# Python's own encoder writes strings as RFC 8785 section 3.2.2.2 does; where nothing else could differ
# it does so three times as fast.
_plain = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"))
_MAX_INT = 2**53 - 1


def _is_plain(value: Json) -> bool:
    """Whether a value has no fractions, no large integers, and keys whose order is that of their bytes."""
    kind = type(value)
    if kind is str or value is None or kind is bool:
        return True
    if isinstance(value, dict):
        return all(key.isascii() and _is_plain(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return kind is int and isinstance(value, int) and -_MAX_INT <= value <= _MAX_INT
