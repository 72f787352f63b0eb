"""Repr-Digest and Content-Digest fields, for SHA-256 (RFC 9530)."""

import base64
import binascii
import re

from .digest import Digest
from .errors import InvalidDigestError, InvalidFieldDigestError

# A dictionary of byte sequences (RFC 8941 sections 3.2 and 3.3.5); parameters are allowed.
_member = re.compile(r"\s*([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/=]*):\s*(?:;[^,]*)?").fullmatch


def parse_digest_field(text: str) -> Digest | None:
    """Return the SHA-256 that a field value names; None when it names other algorithms only.

    Raises:
        InvalidFieldDigestError: the value is no dictionary of byte sequences, or its SHA-256 has
            not 32 bytes.
    """
    found: Digest | None = None
    for item in text.split(","):
        member = _member(item)
        if member is None:
            raise InvalidFieldDigestError(f"not a digest field: {text[:120]!r}")
        if member[1] == "sha-256":
            try:
                found = Digest.from_raw(base64.b64decode(member[2], validate=True))
            except (binascii.Error, InvalidDigestError) as error:
                raise InvalidFieldDigestError("sha-256 takes 32 bytes in base64") from error
    return found


def format_digest_field(digest: Digest) -> str:
    """Return the field value for a digest: `sha-256=:<base64>:`."""
    return f"sha-256=:{base64.b64encode(digest.raw).decode()}:"
