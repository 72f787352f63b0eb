"""Cursors: where the next page of a list begins, opaque to whoever carries one."""

import base64
import binascii

from coatcheck.protocol import Digest, InvalidDigestError

from .errors import InvalidCursorError


def write_cursor(created_at: float, digest: Digest) -> str:
    """Return the cursor behind the grant with these; URL-safe."""
    return base64.urlsafe_b64encode(f"{created_at!r} {digest}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, Digest]:
    """Return what `write_cursor` was given.

    Raises:
        InvalidCursorError: it was not made by `write_cursor`.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, _, digest = base64.urlsafe_b64decode(padded.encode()).decode().partition(" ")
        return float(created_at), Digest(digest)
    except (binascii.Error, UnicodeError, ValueError, InvalidDigestError) as error:
        raise InvalidCursorError from error
