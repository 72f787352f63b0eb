"""Repr-Digest and Content-Digest, and the fields that ask for them, for SHA-256 (RFC 9530).

All four are dictionaries of structured fields (RFC 9651 section 3.2).
"""

import base64

import http_sf

from .digest import Digest
from .errors import InvalidDigestError, InvalidFieldDigestError

SHA_256 = "sha-256"
_MAX_WEIGHT = 10
_SHOWN_CHARACTERS = 120


def parse_digest_field(text: str) -> Digest | None:
    """Return the SHA-256 that a field value names; None when it names other algorithms or none.

    Raises:
        InvalidFieldDigestError: the value is no dictionary of byte sequences, or its SHA-256 has
            not 32 bytes.
    """
    raw = _digests(text).get(SHA_256)
    try:
        return None if raw is None else Digest.from_raw(raw)
    except InvalidDigestError as error:
        raise InvalidFieldDigestError("sha-256 takes 32 bytes in base64") from error


def digest_algorithms(text: str) -> list[str]:
    """Return the algorithms that a field value names, as written.

    Raises:
        InvalidFieldDigestError: the value is no dictionary of byte sequences.
    """
    return list(_digests(text))


def format_digest_field(digest: Digest) -> str:
    """Return the field value for a digest: `sha-256=:<base64>:`."""
    return f"{SHA_256}=:{base64.b64encode(digest.raw).decode()}:"


def parse_digest_preference(text: str) -> int | None:
    """Return how much a Want-Repr-Digest or Want-Content-Digest wants SHA-256: 0 (not) to 10.

    None where it does not say, and where the value is malformed: preferences are advice (RFC 9530
    section 4), and a structured field that cannot be parsed is ignored (RFC 9651 section 4.2).
    """
    try:
        members = _members(text)
    except InvalidFieldDigestError:
        return None
    weights = {name: value for name, value in members.items() if _is_weight(value)}
    found = weights.get(SHA_256) if len(weights) == len(members) else None
    return found if isinstance(found, int) else None


def _digests(text: str) -> dict[str, bytes]:
    members = _members(text)
    digests = {name: value for name, value in members.items() if isinstance(value, bytes)}
    if len(digests) != len(members):
        raise _unreadable(text)
    return digests


def _members(text: str) -> dict[str, object]:
    """Return a dictionary's values without their parameters; the last of a name wins."""
    if not text.isascii():
        raise _unreadable(text)
    try:
        members = http_sf.parse(text.encode(), tltype="dictionary")
    except http_sf.StructuredFieldError as error:
        raise _unreadable(text) from error
    assert isinstance(members, dict)
    return {name: item[0] if isinstance(item, tuple) else item for name, item in members.items()}


def _is_weight(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int):
        return False
    return 0 <= value <= _MAX_WEIGHT


def _unreadable(text: str) -> InvalidFieldDigestError:
    return InvalidFieldDigestError(f"not a digest field: {text[:_SHOWN_CHARACTERS]!r}")
