"""An upload as a request brings it: a raw body, or the file of a form."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass

from aiohttp import web

from coatcheck.protocol import OCTET_STREAM, Digest, parse_digest_field, parse_media_type

from .body import body_chunks, require_identity
from .errors import ProblemError, refuse
from .form import FormFile, is_form

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
    here, before `chunks` ends. Fields of the file's own part are handed on in `digest`.

    Raises:
        ProblemError: 415, the body is compressed; 400 and 408 as in `body_chunks` and `FormFile`.
            Iterating raises the same, and 422 `digest_mismatch`.
        InvalidMediaTypeError: the declared type is none.
        InvalidFieldDigestError: a digest field cannot be read.
    """
    require_identity(request)
    promised = _promised({name: ", ".join(_lines(request, name)) for name in _DIGEST_FIELDS})
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
    return Upload(form.content(), declared, None, _promised(form.headers))


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


def _promised(headers: Mapping[str, str]) -> Digest | None:
    found: Digest | None = None
    for name in _DIGEST_FIELDS:
        value = headers.get(name)
        digest = parse_digest_field(value) if value else None
        if digest is not None and found is not None and digest != found:
            # Without a content encoding both are digests of the same bytes.
            raise digest_mismatch(found, digest)
        found = digest or found
    return found


def _lines(request: web.Request, name: str) -> list[str]:
    return request.headers.getall(name, [])


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
