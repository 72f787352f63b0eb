"""What can go wrong in the store, and whose fault it is.

Every error says through `retryable` whether the same request can succeed later without a
change on the caller's side. Errors of the operating system and of SQLite never leave this
folder: they become `StoreFullError` or `StoreUnavailableError`.
"""

import errno
from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import ClassVar

from coatcheck.protocol import Digest

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class StoreError(Exception):
    """Anything the store refuses or fails at."""

    retryable: ClassVar[bool] = False


class FolderInUseError(StoreError):
    """Another process serves this data folder; the operator started two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"the data folder {folder} is in use by another process")


class StoreClosedError(StoreError):
    """The store was closed while it was still asked; the embedding program's doing.

    To whoever asks over the network that is a server that stops: the next one can answer.
    """

    retryable = True

    def __init__(self) -> None:
        super().__init__("the store is closed")


class SchemaError(StoreError):
    """The index was written by a newer or a foreign program; the operator's fault."""


class StoreFullError(StoreError):
    """The disk is full, or so full that the reserve would be touched, or the store has reached its
    limit. Nothing was lost.

    Neither the caller's fault nor worth a retry: it lasts until somebody makes room.
    """

    def __init__(self, reason: str = "no space left for this upload") -> None:
        super().__init__(reason)


class QuotaExceededError(StoreError):
    """The tenant has as many bytes as it may; it has to let go of some, or be given more."""

    def __init__(self, used_bytes: int, quota_bytes: int) -> None:
        self.used_bytes = used_bytes
        self.quota_bytes = quota_bytes
        super().__init__(
            f"{used_bytes} of {quota_bytes} bytes are used, and this does not fit beside them: "
            "let go of blobs that are no longer needed, or ask for a larger quota"
        )


class SignatureInvalidError(StoreError):
    """A URL that this store has not signed as it came; whoever wrote or changed it is at fault."""

    def __init__(self) -> None:
        super().__init__("this URL is signed by nobody: it was cut short, or changed")


class SignatureExpiredError(StoreError):
    """A signed URL that was used after its end; its holder may ask for the next."""

    def __init__(self) -> None:
        super().__init__("this URL has expired: ask for a new one")


class StoreUnavailableError(StoreError):
    """The disk or the index failed; nobody asked for anything wrong."""

    retryable = True


class DamagedDatabaseError(StoreUnavailableError):
    """The index or the prompts are damaged; a restart puts them right."""

    retryable = False


class UploadLostError(StoreUnavailableError):
    """The disk may have dropped bytes of this upload while it synced them; the upload has ended.

    Trying again would report success without them: the sender begins a new one.
    """

    retryable = False


class ScrubRunningError(StoreError):
    """Another scrub of this store runs, perhaps the one that a server does by itself."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("another scrub runs; it can be watched, and goes on by itself")


class BlobNotFoundError(StoreError):
    """The tenant holds no live grant for this digest, whoever else may."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        super().__init__(f"no such blob: {digest}")


class StoredFileNotFoundError(StoreError):
    """The tenant has no file with this id, or it has expired."""

    def __init__(self, file_id: str) -> None:
        self.file_id = file_id
        super().__init__(f"no such file: {file_id}")


class CorruptBlobError(BlobNotFoundError):
    """The stored bytes fail their checksum, and are as good as absent from now on.

    Uploading the blob again heals it, for every tenant that holds it.
    """


class DigestMismatchError(StoreError):
    """The body is not what the caller promised; nothing of it was kept."""

    def __init__(self, expected: Digest, actual: Digest) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"promised {expected}, received {actual}")


class SizeMismatchError(StoreError):
    """The body is longer or shorter than declared; `actual` stops counting at the first byte over."""

    def __init__(self, expected: int, actual: int) -> None:
        self.expected = expected
        self.actual = actual
        super().__init__(f"declared {expected} bytes, received {actual}")


class EmptyBlobError(StoreError):
    """The body has no bytes."""

    def __init__(self) -> None:
        super().__init__("a blob has at least one byte")


class BlobTooLargeError(StoreError):
    """The body is, or is declared to be, larger than the store takes."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(f"a blob has at most {limit_bytes} bytes")


class InvalidCursorError(StoreError):
    """The cursor is not one that a list of this store gave out."""

    def __init__(self) -> None:
        super().__init__("not a cursor of this list")


class PromptTooLargeError(StoreError):
    """The prompt with these messages appended is larger than the store keeps."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(
            f"a prompt has at most {limit_bytes} bytes, some for each message beside its text"
        )


class KeyNotFoundError(StoreError):
    """No key of this store has this id."""

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id
        super().__init__(f"no such key: {key_id}")


class PromptNotFoundError(StoreError):
    """The tenant has no such prompt in this dialect, or it has expired."""

    def __init__(self, digest: Digest) -> None:
        self.digest = digest
        super().__init__(f"no such prompt: {digest}")


class ImageRefusal(StrEnum):
    """Why an image is not decoded."""

    NO_IMAGE = "no_image"
    TOO_LARGE = "too_large"
    BROKEN = "broken"


class ImageRefusedError(StoreError):
    """The image is not decoded, for what it is; its bytes are kept all the same."""

    def __init__(self, refusal: ImageRefusal, message: str) -> None:
        self.refusal = refusal
        super().__init__(message)


class ImageWorkerCrashedError(StoreError):
    """The image ended the process that decoded it, or would not let it end; it would again."""


class ImageWorkerLostError(StoreError):
    """The process that was to decode the image is gone, or too slow: not the image's doing."""

    retryable = True


class ImageWorkersBusyError(StoreError):
    """More images wait to be decoded than may."""

    retryable = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} images wait to be decoded already")


class UploadNotFoundError(StoreError):
    """The tenant has no such upload: it never had, or it was ended, or has expired, or was lost.

    What is to be uploaded has to begin anew.
    """

    def __init__(self) -> None:
        super().__init__("no such upload: it was ended, has expired or never was; begin a new one")


class UploadOffsetError(StoreError):
    """The part does not begin where the upload ends; whoever sends it has to ask where that is."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        super().__init__(f"the upload goes on at byte {offset}")


class UploadLockedError(StoreError):
    """Another request is writing to this upload; it ends by itself, or when its connection does."""

    retryable = True

    def __init__(self) -> None:
        super().__init__("another request is writing to this upload; try again when it has ended")


class UploadTooLongError(StoreError):
    """The part goes beyond the length that was declared for the upload."""

    def __init__(self, length: int) -> None:
        self.length = length
        super().__init__(f"the upload has {length} bytes in all, and this goes beyond them")


class UploadLengthError(StoreError):
    """The length is declared as another one than before, or as less than was received."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class UploadIncompleteError(StoreError):
    """The upload cannot be finished: bytes are still to come."""

    def __init__(self, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        super().__init__(f"{offset} of {length} bytes were received")


class UploadFinishedError(StoreError):
    """The upload has become a blob; nothing is added to it, and it cannot be called off."""

    def __init__(self) -> None:
        super().__init__("the upload is finished")


class SectionNotFoundError(StoreError):
    """The upload has no section of this id, or not all of its bytes came."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"the upload has no part {name!r}, or not all of it came")


class TooManySectionsError(StoreError):
    """The upload has as many sections as it may, or as many bytes in them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class TooManyUploadsError(StoreError):
    """The tenant has as many unfinished uploads as it may; it has to finish or end some."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"at most {limit} uploads may be unfinished at once: finish or terminate some, "
            "or wait until they expire"
        )


@contextmanager
def disk_errors() -> Generator[None]:
    """Name errors of the operating system in the store's terms, here and in functions decorated by it."""
    try:
        yield
    except OSError as error:
        raise disk_error(error) from error


def disk_error(error: OSError) -> StoreFullError | StoreUnavailableError:
    """Name an error of the operating system in the store's terms."""
    if error.errno in _FULL:
        return StoreFullError()
    return StoreUnavailableError(f"the disk failed: {error.strerror or error}")
