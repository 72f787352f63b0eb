"""Asking about blobs, and the holds on them."""

from collections.abc import Iterable
from urllib.parse import urlencode

from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import (
    BLOB_PATH,
    OCTET_STREAM,
    Descriptor,
    Digest,
    Ref,
    encode_json,
    parse_ref,
)

from .errors import InvalidAnswerError
from .exchange import Exchange, Reply, Request
from .refusal import read, refusal

MAX_DIGESTS = 1000
"""The most that one `missing` request takes."""

JSON_HEADERS = {"Content-Type": "application/json"}

BlobName = Digest | Ref | Descriptor | str


class MissingAnswer(BaseModel):
    """Which of the digests have to be uploaded."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    missing: tuple[Digest, ...]


class Entry(Descriptor):
    """A blob in a listing, and what this key's grant of it says; times in Unix seconds."""

    created_at: int
    lease_expires_at: int | None = None
    pinned: bool = False


class Hold(BaseModel):
    """Something that still keeps a blob: a `file` or a `prompt`, by its name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    name: str
    purpose: str | None = None
    expires_at: int | None = None


class Released(BaseModel):
    """What a delete leaves: while there are `holds`, the blob still resolves."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: Digest
    holds: tuple[Hold, ...]


class Page(BaseModel):
    """Part of a listing; `next_cursor` asks for the next part, None after the last."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    blobs: tuple[Entry, ...]
    next_cursor: str | None


def named(blob: BlobName) -> Digest:
    """Return the digest of whatever names a blob: a digest, ref or descriptor, or their text.

    Raises:
        InvalidDigestError: a text is neither.
        InvalidRefError: a text begins like a ref and is none.
    """
    if isinstance(blob, Digest):
        return blob
    if isinstance(blob, Ref | Descriptor):
        return blob.digest
    return parse_ref(blob).digest if blob.startswith("blob:") else Digest(blob)


def path_of(digest: Digest) -> str:
    """Return a blob's path on the server."""
    return f"{BLOB_PATH}{digest}"


def stat(digest: Digest) -> Exchange[Descriptor | None]:
    """Describe a blob; None when this key holds no grant of it."""
    reply = yield from Request("HEAD", path_of(digest))
    if reply.status == 404:
        return None
    if not reply.is_success:
        raise refusal(reply)
    return _described(digest, reply)


def missing(digests: Iterable[Digest]) -> Exchange[list[Digest]]:
    """Return those that have to be uploaded, each once, in the order given.

    Renews the leases of the others. Asks in portions of `MAX_DIGESTS`.
    """
    wanted = list(dict.fromkeys(digests))
    absent: set[Digest] = set()
    for start in range(0, len(wanted), MAX_DIGESTS):
        portion = wanted[start : start + MAX_DIGESTS]
        body = encode_json({"digests": portion})
        reply = yield from Request("POST", f"{BLOB_PATH}missing", JSON_HEADERS, body)
        absent.update(read(MissingAnswer, reply).missing)
    return [digest for digest in wanted if digest in absent]


def delete(digest: Digest) -> Exchange[Released]:
    """Drop the lease and the pin.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(Released, (yield from Request("DELETE", path_of(digest))))


def pin(digest: Digest) -> Exchange[Entry]:
    """Keep the blob until it is unpinned or deleted. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(Entry, (yield from Request("PUT", f"{path_of(digest)}/pin")))


def unpin(digest: Digest) -> Exchange[Entry]:
    """Let the blob's lease decide again. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(Entry, (yield from Request("DELETE", f"{path_of(digest)}/pin")))


def page(cursor: str | None) -> Exchange[Page]:
    """Return one part of the listing of this key's blobs."""
    query = f"?{urlencode({'cursor': cursor})}" if cursor is not None else ""
    return read(Page, (yield from Request("GET", BLOB_PATH.rstrip("/") + query)))


def _described(digest: Digest, reply: Reply) -> Descriptor:
    """Read the headers that carry a descriptor."""
    size = reply.number("content-length")
    if size is None:
        raise InvalidAnswerError("the answer does not say the blob's size")
    return Descriptor.of(
        digest=digest,
        size=size,
        # Content-Type is what a browser may show the blob as; this one is the grant's.
        media_type=reply.headers.get("coatcheck-media-type", OCTET_STREAM),
        width=reply.number("coatcheck-width"),
        height=reply.number("coatcheck-height"),
        frames=reply.number("coatcheck-frames"),
    )
