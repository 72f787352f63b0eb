"""Cursors: where the next page of a list begins, opaque to whoever carries one."""

import base64
import binascii

from coatcheck.protocol import Digest, InvalidDigestError, is_file_id

from .errors import InvalidCursorError


def write_cursor(created_at: float, name: str) -> str:
    """Return the cursor behind the grant of this digest, or the file with this id; URL-safe."""
    return base64.urlsafe_b64encode(f"{created_at!r} {name}".encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[float, Digest]:
    """Return what `write_cursor` was given for a grant.

    Raises:
        InvalidCursorError: it was not made by `write_cursor`.
    """
    created_at, name = _read(cursor)
    try:
        return created_at, Digest(name)
    except InvalidDigestError as error:
        raise InvalidCursorError from error


def read_file_cursor(cursor: str) -> tuple[float, str]:
    """Return what `write_cursor` was given for a file; raises as `read_cursor`."""
    created_at, name = _read(cursor)
    if not is_file_id(name):
        raise InvalidCursorError
    return created_at, name


def _read(cursor: str) -> tuple[float, str]:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        created_at, _, name = base64.urlsafe_b64decode(padded.encode()).decode().partition(" ")
        return float(created_at), name
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise InvalidCursorError from error
