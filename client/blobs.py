"""Asking about blobs, and the holds on them."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from urllib.parse import urlencode

from pydantic import ValidationError

from coatcheck.protocol import (
    BLOB_PATH,
    MAX_DIGESTS,
    MAX_SIGNED_URL_SECONDS,
    OCTET_STREAM,
    USER_HEADER,
    BlobEntry,
    BlobPage,
    Descriptor,
    Digest,
    InvalidMediaTypeError,
    MissingAnswer,
    MissingRequest,
    Ref,
    Released,
    SignedUrl,
    SignedUrlRequest,
    parse_end_user,
    parse_media_type,
    parse_ref,
    signed_path,
)

from .errors import InvalidAnswerError, InvalidArgumentError
from .exchange import Exchange, Reply, Request
from .refusal import read, refusal

JSON_HEADERS = {"Content-Type": "application/json"}
NO_HEADERS: Mapping[str, str] = MappingProxyType({})

BlobName = Digest | Ref | Descriptor | str


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


def headers_for(end_user: str | None) -> Mapping[str, str]:
    """Return the headers that name an end user.

    Raises:
        InvalidEndUserError: nobody can have this name.
    """
    return NO_HEADERS if end_user is None else {USER_HEADER: parse_end_user(end_user)}


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


def missing(
    digests: Iterable[Digest], headers: Mapping[str, str] = NO_HEADERS
) -> Exchange[list[Digest]]:
    """Return those that have to be uploaded, each once, in the order given.

    Renews the leases of the others. Asks in portions of `MAX_DIGESTS`; `headers` say for whom.
    """
    wanted = list(dict.fromkeys(digests))
    absent: set[Digest] = set()
    for start in range(0, len(wanted), MAX_DIGESTS):
        asked = MissingRequest(digests=tuple(wanted[start : start + MAX_DIGESTS]))
        body = asked.model_dump_json().encode()
        reply = yield from Request("POST", f"{BLOB_PATH}missing", {**JSON_HEADERS, **headers}, body)
        absent.update(read(MissingAnswer, reply).missing)
    return [digest for digest in wanted if digest in absent]


def delete(digest: Digest) -> Exchange[Released]:
    """Drop the lease and the pin.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(Released, (yield from Request("DELETE", path_of(digest))))


def pin(digest: Digest) -> Exchange[BlobEntry]:
    """Keep the blob until it is unpinned or deleted. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(BlobEntry, (yield from Request("PUT", f"{path_of(digest)}/pin")))


def unpin(digest: Digest) -> Exchange[BlobEntry]:
    """Let the blob's lease decide again. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    return read(BlobEntry, (yield from Request("DELETE", f"{path_of(digest)}/pin")))


def signed_url(
    digest: Digest, seconds: int | None, headers: Mapping[str, str] = NO_HEADERS
) -> Exchange[SignedUrl]:
    """Ask for a URL that opens the blob without a key; `headers` say for whom.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
        InvalidArgumentError: nobody may ask for so long.
    """
    try:
        asked = SignedUrlRequest(expires_seconds=seconds)
    except ValidationError as error:
        raise InvalidArgumentError(
            f"a signed URL lasts 1 to {MAX_SIGNED_URL_SECONDS} seconds, not {seconds!r}"
        ) from error
    body = asked.model_dump_json(exclude_none=True).encode()
    reply = yield from Request("POST", signed_path(digest), {**JSON_HEADERS, **headers}, body)
    return read(SignedUrl, reply)


def page(cursor: str | None) -> Exchange[BlobPage]:
    """Return one part of the listing of this key's blobs."""
    query = f"?{urlencode({'cursor': cursor})}" if cursor is not None else ""
    return read(BlobPage, (yield from Request("GET", BLOB_PATH.rstrip("/") + query)))


def _described(digest: Digest, reply: Reply) -> Descriptor:
    """Read the headers that carry a descriptor."""
    size = reply.number("content-length")
    if size is None:
        raise InvalidAnswerError("the answer does not say the blob's size")
    return Descriptor.of(
        digest=digest,
        size=size,
        # Content-Type is what a browser may show the blob as; this one is the grant's.
        media_type=_media_type(reply.headers.get("coatcheck-media-type", OCTET_STREAM)),
        width=reply.number("coatcheck-width"),
        height=reply.number("coatcheck-height"),
        frames=reply.number("coatcheck-frames"),
    )


def _media_type(text: str) -> str:
    try:
        return parse_media_type(text)
    except InvalidMediaTypeError as error:
        raise InvalidAnswerError(f"the answer has a malformed media type: {error}") from error
