"""What OpenAI's Files API says in JSON. Times are Unix seconds, sizes bytes.

Source: the `openai` package, version 3: types/file_object.py, file_deleted.py,
upload.py, upload_create_params.py, upload_complete_params.py, uploads/upload_part.py.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from coatcheck.protocol import KEPT_PURPOSES, clean_filename
from coatcheck.store import MAX_SECTIONS, StoredFile

from .file_terms import MAX_LIFETIME_SECONDS, MIN_LIFETIME_SECONDS

_UNNAMED = "file"


class FileObject(BaseModel):
    """A file."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"

    @classmethod
    def of(cls, file: StoredFile) -> "FileObject":
        """Describe a file; one that came by another provider's API has no purpose of its own."""
        expires = file.expires_at
        return cls(
            id=file.id,
            bytes=file.grant.size,
            created_at=int(file.created_at),
            expires_at=None if expires is None else int(expires),
            filename=clean_filename(file.filename or "") or _UNNAMED,
            purpose=file.purpose or KEPT_PURPOSES[0],
        )


class FilePage(BaseModel):
    """A page of files; the next one begins behind `last_id`."""

    model_config = ConfigDict(frozen=True)

    object: Literal["list"] = "list"
    data: tuple[FileObject, ...]
    has_more: bool
    first_id: str | None = None
    last_id: str | None = None


class DeletedFile(BaseModel):
    """A file that is gone."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class UploadExpiry(BaseModel):
    """How long the file of an upload is kept."""

    model_config = ConfigDict(frozen=True)

    anchor: Literal["created_at"]
    seconds: int = Field(strict=True, ge=MIN_LIFETIME_SECONDS, le=MAX_LIFETIME_SECONDS)


class UploadRequest(BaseModel):
    """The beginning of an upload. The purpose was looked at before."""

    model_config = ConfigDict(frozen=True)

    bytes: int = Field(strict=True, ge=1)
    filename: str = Field(strict=True)
    mime_type: str = Field(strict=True)
    purpose: str = Field(strict=True)
    expires_after: UploadExpiry | None = None


class UploadCompletion(BaseModel):
    """The end of an upload: its parts in order, and perhaps what all of it hashes to."""

    model_config = ConfigDict(frozen=True)

    part_ids: tuple[str, ...] = Field(max_length=MAX_SECTIONS)
    md5: str | None = None


class UploadObject(BaseModel):
    """An upload."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled"]
    file: FileObject | None = None


class UploadPart(BaseModel):
    """A part of an upload."""

    model_config = ConfigDict(frozen=True)

    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str
