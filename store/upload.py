"""An upload in parts: what may happen to it next. Decides; `uploads.py` does.

    open      bytes are still to come; so long as `length` is None, any number
      |       append, declare_length
    whole     offset == length: no byte is written to it any more, so its file may become the blob's
      |       finish
    finished  `digest` names the blob; kept for a while, to say so

From each of them it may be terminated or expire, and then it is as if it had never been.
"""

import re
from dataclasses import dataclass
from typing import Final

from coatcheck.protocol import Digest

from .errors import (
    BlobTooLargeError,
    EmptyBlobError,
    UploadIncompleteError,
    UploadLengthError,
    UploadOffsetError,
    UploadTooLongError,
)
from .index_rows import NewGrant
from .promise import Promise

SECTION_MARK = "-"
"""Stands in the id of a section, behind the id of the upload that it belongs to."""
UPLOAD_ID_BYTES: Final = 16
_DIGITS: Final = f"[0-9a-f]{{{2 * UPLOAD_ID_BYTES}}}"
_ID: Final = re.compile(f"{_DIGITS}({SECTION_MARK}{_DIGITS})?")


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a tenant says when it begins an upload."""

    tenant: str
    length: int | None = None
    """Bytes in all; None: to be said later."""
    media_type: str | None = None
    promised: Digest | None = None
    """The digest that the whole will have; other bytes are not kept."""
    metadata: str | None = None
    """What the sender wants to have back; never looked into here."""
    end_user: str | None = None


@dataclass(frozen=True, slots=True)
class Upload:
    """One upload as it was when asked for. Times are unix seconds."""

    id: str
    """128 random bits in hexadecimal. Who is to know it is told it, and nobody else can guess it.

    That of a section (`sections.py`) begins with the id of the upload that it belongs to."""
    tenant: str
    length: int | None
    """Bytes in all; None while nobody has said."""
    offset: int
    """Bytes that are on the disk, synced: what was acknowledged."""
    media_type: str | None
    promised: Digest | None
    metadata: str | None
    end_user: str | None
    digest: Digest | None
    """The blob that it became; None until then."""
    created_at: float
    expires_at: float

    @property
    def is_section(self) -> bool:
        """Whether it is a section of another upload, which claims its bytes."""
        return SECTION_MARK in self.id

    @property
    def section_name(self) -> str:
        """What a section is called among those of its whole: 32 hexadecimal digits."""
        return self.id.partition(SECTION_MARK)[2]

    @property
    def is_whole(self) -> bool:
        """Whether every byte is here."""
        return self.offset == self.length

    @property
    def is_finished(self) -> bool:
        """Whether it has become a blob."""
        return self.digest is not None

    @property
    def promise(self) -> Promise:
        """What its bytes have to be."""
        return Promise(self.media_type, self.promised, self.length, self.end_user)

    @property
    def grant(self) -> NewGrant:
        """What it asks for."""
        return NewGrant(self.tenant, self.media_type, self.end_user)

    def check_offset(self, offset: int) -> None:
        """Return when a part may begin there.

        Raises:
            UploadOffsetError: the upload ends elsewhere.
        """
        if offset != self.offset:
            raise UploadOffsetError(self.offset)

    def check_end(self, end: int, max_blob_bytes: int) -> None:
        """Return when a part may reach so far.

        Raises:
            UploadTooLongError, BlobTooLargeError: it is beyond the length, or what is taken at all.
        """
        if self.length is not None and end > self.length:
            raise UploadTooLongError(self.length)
        if end > max_blob_bytes:
            raise BlobTooLargeError(max_blob_bytes)

    def check_length(self, length: int, max_blob_bytes: int) -> None:
        """Return when the upload may have this length. It may be told what it knows.

        Raises:
            UploadLengthError: it has another, or more bytes already.
            EmptyBlobError, BlobTooLargeError: no blob has this length.
        """
        if self.length is not None and length != self.length:
            raise UploadLengthError(f"the length was declared as {self.length}, and stays")
        if length < self.offset:
            raise UploadLengthError(f"{self.offset} bytes were received already")
        check_size(length, max_blob_bytes)

    def check_complete(self) -> None:
        """Return when nothing is missing; an upload without a length is as long as it is.

        Raises:
            UploadIncompleteError: bytes are still to come.
        """
        if self.length is not None and not self.is_whole:
            raise UploadIncompleteError(self.offset, self.length)


def is_upload_id(text: str) -> bool:
    """Say whether an upload may have this id."""
    return _ID.fullmatch(text) is not None


def check_size(size: int, max_blob_bytes: int) -> None:
    """Return when a blob may have this size.

    Raises:
        EmptyBlobError, BlobTooLargeError: it may not.
    """
    if size <= 0:
        raise EmptyBlobError
    if size > max_blob_bytes:
        raise BlobTooLargeError(max_blob_bytes)
