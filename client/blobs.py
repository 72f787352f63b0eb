"""Asking about blobs, and the holds on them."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

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
from .refusal import descriptor_of, digest_of, json_object, list_of, refusal

MAX_DIGESTS = 1000
"""The most that one `missing` request takes."""

JSON_HEADERS = {"Content-Type": "application/json"}

BlobName = Digest | Ref | Descriptor | str


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing; `cursor` asks for the next part, None after the last."""

    descriptors: tuple[Descriptor, ...]
    cursor: str | None


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
        absent.update(digest_of(item) for item in list_of(json_object(reply), "missing"))
    return [digest for digest in wanted if digest in absent]


def delete(digest: Digest) -> Exchange[None]:
    """Drop the lease and the pin. While a file or prompt holds the blob, it still resolves.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    yield from _done(Request("DELETE", path_of(digest)))


def pin(digest: Digest) -> Exchange[None]:
    """Keep the blob until it is unpinned or deleted. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    yield from _done(Request("PUT", f"{path_of(digest)}/pin"))


def unpin(digest: Digest) -> Exchange[None]:
    """Let the blob's lease decide again. May be done twice.

    Raises:
        BlobNotFoundError: this key holds no grant of it.
    """
    yield from _done(Request("DELETE", f"{path_of(digest)}/pin"))


def page(cursor: str | None) -> Exchange[Page]:
    """Return one part of the listing of this key's blobs."""
    query = f"?{urlencode({'cursor': cursor})}" if cursor is not None else ""
    answer = json_object((yield from Request("GET", BLOB_PATH.rstrip("/") + query)))
    following = answer.get("next_cursor")
    return Page(
        tuple(descriptor_of(item) for item in list_of(answer, "blobs")),
        following if isinstance(following, str) else None,
    )


def _done(request: Request) -> Exchange[None]:
    reply = yield from request
    if not reply.is_success:
        raise refusal(reply)


def _described(digest: Digest, reply: Reply) -> Descriptor:
    """HEAD says what GET would: size and type, and for images the pixels."""
    headers = reply.headers
    size = _number(headers.get("content-length"))
    if size is None:
        raise InvalidAnswerError("the answer does not say the blob's size")
    return Descriptor.of(
        digest=digest,
        size=size,
        media_type=headers.get("content-type", OCTET_STREAM),
        width=_number(headers.get("coatcheck-width")),
        height=_number(headers.get("coatcheck-height")),
        frames=_number(headers.get("coatcheck-frames")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() else None
