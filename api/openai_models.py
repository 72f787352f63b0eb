"""What OpenAI's Files API says in JSON. Times are Unix seconds, sizes bytes.

Source: the `openai` package, version 3: types/file_object.py, file_deleted.py.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import KEPT_PURPOSES, clean_filename
from coatcheck.store import StoredFile

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
