"""What Anthropic's Files API says in JSON.

Source: the `anthropic` package, version 2: types/file_metadata.py, deleted_file.py, pagination.py; and
version 0.75, whose lists have the other keys.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import clean_filename
from coatcheck.store import StoredFile
from coatcheck.web import name_suffix

from .timestamp import timestamp

_UNNAMED = "unnamed"


class FileMetadata(BaseModel):
    """A file."""

    model_config = ConfigDict(frozen=True)

    id: str
    type: Literal["file"] = "file"
    filename: str
    mime_type: str
    size_bytes: int
    created_at: str
    downloadable: Literal[True] = True
    expires_at: str | None
    """None: it does not expire."""

    @classmethod
    def of(cls, file: StoredFile) -> "FileMetadata":
        """Describe a file."""
        media_type = file.grant.media_type
        return cls(
            id=file.id,
            filename=clean_filename(file.filename or "") or _unnamed(media_type),
            mime_type=media_type,
            size_bytes=file.grant.size,
            created_at=timestamp(file.created_at),
            expires_at=None if file.expires_at is None else timestamp(file.expires_at),
        )


class FileMetadataPage(BaseModel):
    """A page of files, with the keys of both ways to ask for the next one."""

    model_config = ConfigDict(frozen=True)

    data: tuple[FileMetadata, ...]
    has_more: bool
    first_id: str | None
    last_id: str | None
    next_page: str | None


class FileDeleted(BaseModel):
    """A file that is gone."""

    model_config = ConfigDict(frozen=True)

    id: str
    type: Literal["file_deleted"] = "file_deleted"


def _unnamed(media_type: str) -> str:
    return _UNNAMED + name_suffix(media_type)
