"""Signatures for URLs that open one blob without a key, for whoever fetches it for a tenant.

1. A signature names the tenant to nobody but this store, and opens one blob for reading until its
   end. It grants nothing: the tenant's own grant is asked for with each use of it.
2. Ends fall on a grid (`window_seconds`), so that the same question has the same answer within a
   window, in every process and after every restart: a prompt that holds the URL stays what it was.
3. Whether a signature is good is found out by the same work whatever is wrong with it, and without
   asking the index.

A signature is a tag over all that it stands for, and the tenant's name masked by a stream that the
tag selects: deterministic authenticated encryption in the form of RFC 5297 (SIV), with HMAC-SHA256 as
its function. The secret is 256 random bits in a file that only the owner reads; without the file there
is a new one, and what was signed before has ended.
"""

import base64
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from coatcheck.protocol import Digest, is_tenant

from .durable import replace_private
from .errors import SignatureExpiredError, SignatureInvalidError, disk_errors

SECRET_BYTES: Final = 32
SECRET_FILE: Final = "url-secret"
_TAG_BYTES: Final = 32
_MAX_TEXT: Final = 1024  # a tenant's name has at most 128 characters
_FORM: Final = b"coatcheck.signed-url.v1"


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature and its end, in Unix seconds; until `same_until` the next one is the same."""

    expires_at: int
    same_until: int
    signature: str


class SignedUrls:
    """Makes and reads signatures. Keeps nothing but the secret."""

    def __init__(self, secret: bytes, window_seconds: int, clock: Callable[[], float]) -> None:
        """`secret` is random and known to this store alone; `clock` gives Unix seconds."""
        self._window = window_seconds
        self._clock = clock
        self._tag_key = hmac.digest(secret, _FORM + b" tag", "sha256")
        self._mask_key = hmac.digest(secret, _FORM + b" mask", "sha256")

    @classmethod
    @disk_errors()
    def open(
        cls,
        folder: Path | None,
        window_seconds: int,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> Self:
        """Read the secret of a data folder, and make it where there is none. Blocking.

        One process at a time may do so for one folder. Without a folder the secret ends with the
        store.

        Raises:
            StoreFullError, StoreUnavailableError: the disk refused.
        """
        return cls(_secret(folder, random), window_seconds, clock)

    def sign(self, tenant: str, digest: Digest, seconds: int | None = None) -> Signed:
        """Sign for at least `seconds` from now, a window's length where that is not said.

        The end is the last of the window that begins `seconds` from now, so it is less than a
        window later.
        """
        wanted = self._window if seconds is None else seconds
        same_until = (int(self._clock()) // self._window + 1) * self._window
        expires_at = same_until + wanted
        name = tenant.encode()
        tag = self._tag(digest, expires_at, name)
        token = base64.urlsafe_b64encode(tag + self._masked(tag, name)).rstrip(b"=")
        return Signed(expires_at, same_until, token.decode())

    def read(self, digest: Digest, expires: str, signature: str) -> str:
        """Return the tenant for whom a blob's URL was signed.

        Raises:
            SignatureInvalidError: this store has signed no such thing.
            SignatureExpiredError: it has, and that has ended.
        """
        token, ends = _decoded(signature), _number(expires)
        tag, masked = token[:_TAG_BYTES], token[_TAG_BYTES:]
        name = self._masked(tag, masked)
        is_ours = hmac.compare_digest(tag, self._tag(digest, ends, name))
        tenant = name.decode("ascii", "replace")
        if not (is_ours and is_tenant(tenant)):
            raise SignatureInvalidError
        if ends <= self._clock():
            raise SignatureExpiredError
        return tenant

    def _tag(self, digest: Digest, expires_at: int, name: bytes) -> bytes:
        signed = b"\n".join((_FORM, digest.encode(), str(expires_at).encode(), name))
        return hmac.digest(self._tag_key, signed, "sha256")

    def _masked(self, tag: bytes, name: bytes) -> bytes:
        """Mask a name, or unmask it."""
        blocks = range(-(-len(name) // hashlib.sha256().digest_size))
        stream = b"".join(hmac.digest(self._mask_key, bytes([n]) + tag, "sha256") for n in blocks)
        return bytes(a ^ b for a, b in zip(name, stream, strict=False))


def _decoded(signature: str) -> bytes:
    """Return a signature's bytes; what is none is a tag that nothing has."""
    try:
        text = signature.encode("ascii")[:_MAX_TEXT]
        token = base64.b64decode(text + b"=" * (-len(text) % 4), b"-_", validate=True)
    except ValueError:
        return b""
    is_written_so = base64.urlsafe_b64encode(token).rstrip(b"=") == signature.encode()
    return token if is_written_so else b""


def _number(text: str) -> int:
    """Return a time as `sign` writes it; -1 for anything else, which is signed by nobody."""
    is_plain = text.isascii() and text.isdecimal() and len(text) <= 15 and str(int(text)) == text
    return int(text) if is_plain else -1


def _secret(folder: Path | None, random: Callable[[int], bytes]) -> bytes:
    if folder is None:
        return random(SECRET_BYTES)
    path = folder / SECRET_FILE
    try:
        found = bytes.fromhex(path.read_text("ascii"))
    except (FileNotFoundError, ValueError):
        found = b""
    if len(found) == SECRET_BYTES:
        os.chmod(path, 0o600)  # also where it was put back from a copy
        return found
    secret = random(SECRET_BYTES)
    replace_private(path, secret.hex().encode() + b"\n")
    return secret
