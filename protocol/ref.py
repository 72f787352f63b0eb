"""Refs: the URI that a prompt carries in place of bytes, and the ids that stand beside it.

    blob:sha256:<64 hex>[?type=<type/subtype>]

A ref names bytes and opens nothing: it resolves only for a tenant that holds a grant.
"""

import re
from base64 import b32encode
from collections.abc import Collection
from dataclasses import dataclass

from .digest import Digest
from .errors import InvalidDigestError, InvalidMediaTypeError, InvalidRefError
from .media_type import parse_media_type

SCHEME = "blob:"
BLOB_PATH = "/v1/blobs/"

_TYPE = "?type="
FILE_ID_BYTES = 15
"""Random bytes in a file id: 24 characters."""

_FILE_ID = "file-cc"
_matches_file_id = re.compile(r"file-cc[a-z2-7]{24}").fullmatch
_origin = re.compile(r"\s*(https?)://(?:[^/?#]*@)?([^/?#@]+)(/[^?#]*)", re.IGNORECASE).match


@dataclass(frozen=True, slots=True)
class Ref:
    """A digest, and the media type to present it as where that is not the sniffed one."""

    digest: Digest
    media_type: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.digest}" + (f"{_TYPE}{self.media_type}" if self.media_type else "")


def looks_like_ref(text: str) -> bool:
    """Say whether a URI claims to be a ref of ours. One that does and is malformed is refused.

    `blob:` alone is not enough: browsers make `blob:https://...` URLs, which are not ours. White
    space before it, which URL readers drop, does not make it somebody else's.
    """
    return text[:256].lstrip()[:12].lower() == "blob:sha256:"


def parse_ref(text: str) -> Ref:
    """Read a ref.

    Raises:
        InvalidRefError: the text is not exactly a ref; the message says which part is wrong.
    """
    if not text.startswith(SCHEME):
        raise InvalidRefError(f"a ref begins with 'blob:sha256:', not {text[:16]!r}")
    body, mark, media_type = text[len(SCHEME) :].partition(_TYPE)
    try:
        digest = Digest(body)
        if not mark:
            return Ref(digest)
        parsed = parse_media_type(media_type)
    except (InvalidDigestError, InvalidMediaTypeError) as error:
        raise InvalidRefError(f"malformed ref: {error}") from error
    if parsed != media_type:
        raise InvalidRefError("a ref's type is lower case, without parameters")
    return Ref(digest, parsed)


def parse_blob_url(text: str, origins: Collection[str]) -> Ref | None:
    """Read `http(s)://A/v1/blobs/<digest>` where the lower-case `A` is one of `origins`.

    `origins` are authorities such as `127.0.0.1:8420`. Any other URL is somebody else's: None.

    Raises:
        InvalidRefError: the URL points below our `/v1/blobs/` at something that is no digest.
    """
    match = _origin(text)
    if match is None or match[2].lower() not in origins or not match[3].startswith(BLOB_PATH):
        return None
    try:
        return Ref(Digest(match[3][len(BLOB_PATH) :]))
    except InvalidDigestError as error:
        raise InvalidRefError(f"malformed blob URL: {error}") from error


def file_id_of(random: bytes) -> str:
    """Return the file id that `FILE_ID_BYTES` random bytes make."""
    return _FILE_ID + b32encode(random).decode("ascii").lower()


def is_file_id(text: str) -> bool:
    """Say whether an id is one of our file ids: `file-cc` and 24 of `a-z2-7`."""
    return _matches_file_id(text) is not None
