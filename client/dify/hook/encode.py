"""Bytes as base64, once they are what their digest names."""

from __future__ import annotations

from binascii import b2a_base64
from hashlib import sha256

from .errors import BrokenError, HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[memoryview], "int | None"]


__all__ = ["encoded"]

# Of three, so that each piece's base64 ends where the next begins; and below the 128 KiB from which on
# glibc maps memory: once it has unmapped some, texts no longer grow where they lie.
_PIECE_BYTES = 3 * 8192


def encoded(read: Read, name: str, size: int | None, limit: int) -> str:
    """Return the base64 of what `read` fills buffers with, which is verified.

    Raises:
        BrokenError: these are not the bytes that the digest names.
        HookError: there are more than the limit.
    """
    if (size or 0) > limit:
        raise HookError(f"blob_too_large: sha256:{name} has {size} bytes, over {limit}")
    piece = memoryview(bytearray(_PIECE_BYTES if size is None else min(_PIECE_BYTES, size + 1)))
    hasher, total, text = sha256(), 0, ""
    while (count := _fill(piece, read)) > 0:
        total += count
        if total > limit:
            raise HookError(f"blob_too_large: sha256:{name} has over {limit} bytes")
        hasher.update(piece[:count])
        # CPython makes the text longer where it lies, so there is never a second one.
        text += b2a_base64(piece[:count], newline=False).decode("ascii")
        if count < len(piece):
            break
    if size not in (None, total):
        raise BrokenError(f"daemon_unavailable: {total} of {size} bytes of sha256:{name} came")
    if hasher.hexdigest() != name:
        raise BrokenError(f"digest_mismatch: other bytes came for sha256:{name}")
    return text


def _fill(piece: memoryview, read: Read) -> int:
    """Fill a piece, and return how far: less than all of it only at the end."""
    count = 0
    while count < len(piece):
        more = read(piece[count:])
        if not more:
            break
        count += more
    return count
