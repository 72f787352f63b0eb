"""What the store's routes say in JSON, made from what the store knows."""

from pydantic import BaseModel, ConfigDict

from coatcheck.protocol import BlobEntry, HoldEntry
from coatcheck.store import Grant, Hold


def blob_entry(grant: Grant) -> BlobEntry:
    """Describe a grant."""
    lease = grant.lease_expires_at
    return BlobEntry(
        **dict(grant.descriptor),
        created_at=int(grant.created_at),
        lease_expires_at=None if lease is None else int(lease),
        pinned=grant.pinned,
    )


def hold_entry(hold: Hold) -> HoldEntry:
    """Describe a hold."""
    expires = hold.expires_at
    return HoldEntry(
        kind=hold.kind.value,
        name=hold.name,
        purpose=hold.purpose,
        expires_at=None if expires is None else int(expires),
    )


class StatsAnswer(BaseModel):
    """The store in numbers, over all tenants. Bytes and counts."""

    model_config = ConfigDict(frozen=True)

    blobs: int
    blob_bytes: int
    condemned_blobs: int
    condemned_bytes: int
    quarantined_blobs: int
    grants: int
    prompts: int
    uploads_in_progress: int
    disk_free_bytes: int | None = None
