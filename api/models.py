"""What the store's routes say in JSON. Fields that are absent are left out, but `next_cursor`."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from coatcheck.protocol import Descriptor, Digest
from coatcheck.store import Grant, Hold

MAX_DIGESTS = 1000

# Checked one by one by the handler, which names the first that is wrong.
DigestText = Annotated[str, WithJsonSchema({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"})]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


class BlobEntry(Descriptor):
    """A blob in a list: its descriptor, and what this tenant's grant says. Unix seconds."""

    created_at: int
    lease_expires_at: int | None = None
    pinned: bool

    @classmethod
    def from_grant(cls, grant: Grant) -> "BlobEntry":
        """Describe a grant."""
        lease = grant.lease_expires_at
        return cls(
            **dict(grant.descriptor),
            created_at=int(grant.created_at),
            lease_expires_at=None if lease is None else int(lease),
            pinned=grant.pinned,
        )


class BlobPage(_Answer):
    """Part of a list, newest first; `next_cursor` is null after the last part."""

    blobs: list[BlobEntry]
    next_cursor: str | None


class MissingRequest(BaseModel):
    """Which of these does the tenant have to upload?"""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digests: list[DigestText] = Field(max_length=MAX_DIGESTS)


class MissingAnswer(_Answer):
    """Those to upload, in the order asked for; the others stay at least until the given time."""

    missing: list[Digest]
    lease_expires_at: int


class HoldEntry(_Answer):
    """Something that still keeps a blob."""

    kind: str
    name: str
    purpose: str | None = None
    expires_at: int | None = None

    @classmethod
    def from_hold(cls, hold: Hold) -> "HoldEntry":
        """Describe a hold."""
        expires = hold.expires_at
        return cls(
            kind=hold.kind.value,
            name=hold.name,
            purpose=hold.purpose,
            expires_at=None if expires is None else int(expires),
        )


class Released(_Answer):
    """Answer to a DELETE: while `holds` is not empty, the blob still resolves."""

    digest: Digest
    holds: list[HoldEntry]


class StatsAnswer(_Answer):
    """The store in numbers, over all tenants. Bytes and counts."""

    blobs: int
    blob_bytes: int
    quarantined_blobs: int
    grants: int
    prompts: int
    uploads_in_progress: int
    disk_free_bytes: int | None = None
