"""A blob's URL that opens without a key, for a while: what is asked for, and what it consists of.

What the signature is made of is the store's own business; whoever has such a URL uses it as it is.
"""

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from .digest import Digest
from .ref import BLOB_PATH

MAX_SIGNED_URL_SECONDS: Final = 7 * 24 * 3600
"""The longest that a URL may be asked for: a batch waits a day, and what waits longer asks again."""

EXPIRES_PARAMETER: Final = "expires"
SIGNATURE_PARAMETER: Final = "signature"


class SignedUrlRequest(BaseModel):
    """How long must the URL last, at least? Without a number: one window of the store's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    expires_seconds: int | None = Field(default=None, ge=1, le=MAX_SIGNED_URL_SECONDS, strict=True)


class SignedUrl(BaseModel):
    """A URL and its end, in Unix seconds; until `same_until` the same question has the same answer."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    url: str
    expires_at: int
    same_until: int


def signed_url(origin: str, digest: Digest, expires_at: int, signature: str) -> str:
    """Return a signed URL; `origin` is `scheme://host[:port]`."""
    query = f"{EXPIRES_PARAMETER}={expires_at}&{SIGNATURE_PARAMETER}={signature}"
    return f"{origin}{BLOB_PATH}{digest}?{query}"


def signed_path(digest: Digest) -> str:
    """Return where a signed URL of a blob is asked for."""
    return f"{BLOB_PATH}{digest}/signed-url"
