"""What the store's errors are called on the wire: the one table.

A corrupt blob is answered as not found, because that is what the client must do about it: upload
the bytes again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from aiohttp import web

from coatcheck.protocol import JsonObject, Problem
from coatcheck.store import (
    BlobNotFoundError,
    BlobTooLargeError,
    DigestMismatchError,
    EmptyBlobError,
    InvalidCursorError,
    PromptNotFoundError,
    PromptTooLargeError,
    QuotaExceededError,
    ScrubRunningError,
    SectionNotFoundError,
    SignatureExpiredError,
    SignatureInvalidError,
    SizeMismatchError,
    StoreClosedError,
    StoredFileNotFoundError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
    TooManySectionsError,
    TooManyUploadsError,
    UploadFinishedError,
    UploadIncompleteError,
    UploadLengthError,
    UploadLockedError,
    UploadLostError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLongError,
)
from coatcheck.web import Handler, ProblemError


@dataclass(frozen=True, slots=True)
class _Row:
    error: type[StoreError]
    status: int
    code: str
    title: str


# Looked through from the top; the first class that fits wins.
_TABLE = (
    _Row(BlobNotFoundError, 404, "blob_not_found", "Blob not found"),
    _Row(StoredFileNotFoundError, 404, "file_not_found", "File not found"),
    _Row(PromptNotFoundError, 404, "prompt_not_found", "The prompt is not kept"),
    _Row(PromptTooLargeError, 413, "prompt_too_large", "Prompt too large"),
    _Row(DigestMismatchError, 422, "digest_mismatch", "Digest mismatch"),
    _Row(SizeMismatchError, 400, "size_mismatch", "Size mismatch"),
    _Row(EmptyBlobError, 400, "body_empty", "Empty body"),
    _Row(BlobTooLargeError, 413, "blob_too_large", "Blob too large"),
    _Row(InvalidCursorError, 400, "cursor_invalid", "Invalid cursor"),
    _Row(QuotaExceededError, 429, "quota_exceeded", "Quota exceeded"),
    _Row(SignatureInvalidError, 403, "signature_invalid", "Invalid signature"),
    _Row(SignatureExpiredError, 403, "signature_expired", "Signed URL expired"),
    _Row(UploadNotFoundError, 404, "upload_not_found", "No such upload"),
    _Row(UploadOffsetError, 409, "upload_offset_mismatch", "Offset mismatch"),
    _Row(UploadLengthError, 409, "upload_length_mismatch", "Length mismatch"),
    _Row(UploadIncompleteError, 409, "upload_incomplete", "Upload incomplete"),
    _Row(UploadTooLongError, 413, "upload_too_long", "Upload too long"),
    _Row(UploadFinishedError, 400, "upload_finished", "Upload finished"),
    _Row(SectionNotFoundError, 400, "upload_part_unknown", "No such part"),
    _Row(TooManySectionsError, 413, "too_many_parts", "Too many parts"),
    _Row(UploadLockedError, 423, "upload_locked", "Upload in use"),
    _Row(TooManyUploadsError, 429, "too_many_uploads", "Too many uploads"),
    _Row(UploadLostError, 503, "upload_lost", "Upload lost"),
    _Row(StoreFullError, 507, "store_full", "Store full"),
    _Row(ScrubRunningError, 503, "scrub_running", "Another scrub runs"),
    _Row(StoreUnavailableError, 503, "store_unavailable", "Store unavailable"),
    _Row(StoreClosedError, 503, "store_closed", "Store closed"),
)


def store_problem(error: StoreError) -> Problem | None:
    """Return the problem for a store's error; None for one that no request can cause."""
    for row in _TABLE:
        if isinstance(error, row.error):
            return Problem(
                row.status, row.code, row.title, str(error), _extensions(error), error.retryable
            )
    return None


def translating(handler: Handler) -> Handler:
    """Return a handler whose store errors are problems."""
    return partial(_translated, handler)


async def _translated(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]], request: web.Request
) -> web.StreamResponse:
    try:
        return await handler(request)
    except StoreError as error:
        problem = store_problem(error)
        if problem is None:
            raise
        raise ProblemError(problem) from error


def _extensions(error: StoreError) -> JsonObject:
    match error:
        case BlobNotFoundError() | PromptNotFoundError():
            return {"missing": [{"digest": error.digest}]}
        case StoredFileNotFoundError():
            return {"missing": [{"file_id": error.file_id}]}
        case DigestMismatchError():
            return {"expected": error.expected, "actual": error.actual}
        case SizeMismatchError():
            return {"expected": error.expected, "actual": error.actual}
        case BlobTooLargeError() | PromptTooLargeError():
            return {"max_bytes": error.limit_bytes}
        case QuotaExceededError():
            return {"used_bytes": error.used_bytes, "quota_bytes": error.quota_bytes}
        case UploadOffsetError():
            return {"offset": error.offset}
        case UploadTooLongError():
            return {"length": error.length}
        case UploadIncompleteError():
            return {"offset": error.offset, "length": error.length}
        case TooManyUploadsError():
            return {"max_uploads": error.limit}
        case _:
            return {}
