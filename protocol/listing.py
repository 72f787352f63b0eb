"""What travels about many blobs: which are missing, which are there, what holds them.

Times are Unix seconds. Absent fields are left out of the JSON, but `next_cursor`. Fields that a
reader does not know are ignored in answers and refused in requests.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from .descriptor import Descriptor
from .digest import PATTERN, Digest

MAX_DIGESTS = 1000
"""The most that one request asks about: 76 kB of JSON, one query in the index."""

# Text, so that whoever answers can name the first that is wrong.
DigestText = Annotated[str, WithJsonSchema({"type": "string", "pattern": PATTERN})]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class MissingRequest(BaseModel):
    """Which of these have to be uploaded?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digests: tuple[DigestText, ...] = Field(max_length=MAX_DIGESTS)


class MissingAnswer(_Answer):
    """Those to upload, in the order asked for; the others stay at least until the given time."""

    missing: tuple[Digest, ...]
    lease_expires_at: int


class BlobEntry(Descriptor):
    """A blob in a list: its descriptor, and what the asker's grant of it says."""

    created_at: int
    lease_expires_at: int | None = None
    pinned: bool


class BlobPage(_Answer):
    """Part of a list, newest first; `next_cursor` asks for the next part, null after the last."""

    blobs: tuple[BlobEntry, ...]
    next_cursor: str | None


class HoldEntry(_Answer):
    """Something that still keeps a blob: a `file` or a `prompt`, by its name."""

    kind: str
    name: str
    purpose: str | None = None
    expires_at: int | None = None


class Released(_Answer):
    """Answer to a DELETE: while there are `holds`, the blob still resolves."""

    digest: Digest
    holds: tuple[HoldEntry, ...]
