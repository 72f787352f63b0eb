"""An upload as a request brings it: a raw body, or the file of a form."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from aiohttp import web

from coatcheck.protocol import (
    OCTET_STREAM,
    SHA_256,
    Digest,
    digest_algorithms,
    parse_digest_field,
    parse_media_type,
)

from .body import body_chunks, require_identity
from .conditions import field_value
from .errors import ProblemError, refuse
from .form import OVERHEAD_BYTES, FormFile, is_form

_THREAD_FROM_BYTES = 64 * 1024  # hashing less takes under 0.1 ms; a thread hop costs as much
_DIGEST_FIELDS = ("repr-digest", "content-digest")
# What clients send when nobody chose a type: curl's --data-binary, and most HTTP libraries.
_NO_DECLARATION = frozenset({OCTET_STREAM, "application/x-www-form-urlencoded"})


@dataclass(frozen=True, slots=True)
class Upload:
    """A stream to store, and what its sender says of it.

    Iterate `chunks` once, and close them; whoever stores them bounds them.
    """

    chunks: AsyncGenerator[bytes, None]
    media_type: str | None
    """The declared type; None where the sender said nothing of use."""
    size: int | None
    """Bytes, where the request says them beforehand."""
    digest: Digest | None
    """What Repr-Digest or Content-Digest promises; whoever stores the bytes compares."""


async def open_upload(request: web.Request) -> Upload:
    """Begin to read an upload.

    The digest fields of a form cover the form, not its file (RFC 9530 section 2): they are compared
    here, before `chunks` ends. Fields of the file's own part are handed on in `digest`. A raw body is
    not asked for before `chunks` is iterated; a form's beginning is.

    Raises:
        ProblemError: 415, the body is compressed; 400 `digest_algorithm_unsupported`, there are
            digests and none is a SHA-256; 422 `digest_mismatch`, they contradict each other; 400 and
            408 as in `body_chunks` and `FormFile`. Iterating raises these too, and 422
            `digest_mismatch`.
        InvalidMediaTypeError: the declared type is none.
        InvalidFieldDigestError: a digest field cannot be read.
    """
    require_identity(request)
    promised = promised_digest(_digest_fields(request))
    content_type = request.headers.get("Content-Type", OCTET_STREAM)
    if not is_form(content_type):
        body = body_chunks(request, max_bytes=None)
        return Upload(body, declared_type(content_type), request.content_length, promised)
    body = body_chunks(request, max_bytes=None)
    if promised is not None:
        body = _compared(body, promised)
    form = FormFile(body, content_type)
    await form.open()
    declared = declared_type(form.headers.get("content-type", OCTET_STREAM))
    return Upload(form.content(), declared, None, promised_digest(form.headers))


def least_upload_bytes(request: web.Request) -> int:
    """Return what an upload has at least, by its head alone; 0 where that says nothing."""
    size = request.content_length or 0
    if is_form(request.headers.get("Content-Type", OCTET_STREAM)):
        return max(0, size - OVERHEAD_BYTES)
    return size


def digest_mismatch(expected: Digest, actual: Digest) -> ProblemError:
    """Return the error for bytes that are not what was promised."""
    return refuse(
        422,
        "digest_mismatch",
        "Digest mismatch",
        "the bytes are not the ones that were promised; nothing was kept",
        expected=expected,
        actual=actual,
    )


def declared_type(content_type: str) -> str | None:
    """Return the media type that a sender declares; None where it is what is sent by default.

    Raises:
        InvalidMediaTypeError: it is none.
    """
    media_type = parse_media_type(content_type)
    return None if media_type in _NO_DECLARATION else media_type


def promised_digest(headers: Mapping[str, str]) -> Digest | None:
    """Return the digest that Repr-Digest and Content-Digest name; `headers` have lower-case names.

    Raises:
        ProblemError: 400 `digest_algorithm_unsupported`, there are digests and none is a SHA-256; 422
            `digest_mismatch`, they contradict each other.
        InvalidFieldDigestError: a field cannot be read.
    """
    found: Digest | None = None
    fields = {name: headers[name] for name in _DIGEST_FIELDS if name in headers}
    for value in fields.values():
        digest = parse_digest_field(value)
        if digest is not None and found is not None and digest != found:
            # Without a content encoding both are digests of the same bytes.
            raise digest_mismatch(found, digest)
        found = digest or found
    if found is None:
        _require_comparable(fields)
    return found


def _require_comparable(fields: Mapping[str, str]) -> None:
    """Refuse a promise that cannot be compared: its sender counts on its being kept."""
    named = [(name, item) for name, value in fields.items() for item in digest_algorithms(value)]
    if named:
        error = refuse(
            400,
            "digest_algorithm_unsupported",
            "Unsupported digest algorithm",
            f"the bytes can be compared with a {SHA_256} only",
            unsupported_algorithms=[
                {"algorithm": item, "header": name.title()} for name, item in named
            ],
        )
        error.headers = {f"Want-{name.title()}": f"{SHA_256}=10" for name in fields}
        raise error


def _digest_fields(request: web.Request) -> dict[str, str]:
    values = {name: field_value(request.headers, name) for name in _DIGEST_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


async def _compared(
    body: AsyncGenerator[bytes, None], expected: Digest
) -> AsyncGenerator[bytes, None]:
    hasher = hashlib.sha256()
    async for chunk in body:
        if len(chunk) < _THREAD_FROM_BYTES:
            hasher.update(chunk)
        else:
            await asyncio.to_thread(hasher.update, chunk)
        yield chunk
    if (actual := Digest.from_raw(hasher.digest())) != expected:
        raise digest_mismatch(expected, actual)
