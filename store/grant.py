"""What the store answers with: grants, the holds that keep them, and lists of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from coatcheck.protocol import OCTET_STREAM, Descriptor, Digest

from .schema import HoldKind

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Grant:
    """A tenant's live right to a blob, as it was when asked for. Times are unix seconds."""

    tenant: str
    digest: Digest
    size: int
    declared_type: str | None
    """The media type this tenant gave when it uploaded, if it gave one."""
    sniffed_type: str | None
    """What the first bytes show, the same for every tenant."""
    width: int | None
    height: int | None
    frames: int | None
    created_at: float
    generation: int
    """Counts the writes of the bytes; for the store's own comparisons, not for tenants."""
    lease_expires_at: float | None
    """When the lease ends, or `None` when other holds alone keep the grant."""
    pinned: bool

    @property
    def media_type(self) -> str:
        """The declared type, else the sniffed one, else `application/octet-stream`."""
        return self.declared_type or self.sniffed_type or OCTET_STREAM

    @property
    def descriptor(self) -> Descriptor:
        """What of this travels."""
        return Descriptor.of(
            digest=self.digest,
            size=self.size,
            media_type=self.media_type,
            width=self.width,
            height=self.height,
            frames=self.frames,
        )


@dataclass(frozen=True, slots=True)
class Hold:
    """One reason why a grant lives."""

    kind: HoldKind
    name: str
    """A file's id or a prompt's digest; empty for a lease or a pin."""
    purpose: str | None
    expires_at: float | None
    """Unix seconds, or `None` when it does not expire."""


@dataclass(frozen=True, slots=True)
class HeldBlob:
    """A live grant with what reading its blob takes."""

    grant: Grant
    checksums: bytes
    """16 bytes for each piece."""
    seed_version: int
    """Which seed the checksums were made with."""
    held_until: float
    """When the last of the holds known now ends; infinite under a pin. A bound from below."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer to an upload."""

    grant: Grant
    created: bool
    """Whether this tenant had no live grant for the blob before."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer to a client that asks what it still has to upload."""

    missing: Sequence[Digest]
    """In the order asked for, each once."""
    lease_expires_at: float
    """Until when everything that is not missing stays, at least."""


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list."""

    items: Sequence[T]
    next_cursor: str | None
    """Where the next page begins; `None` on the last one."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store in numbers, over all tenants."""

    blobs: int
    """Blobs whose bytes are good, whether or not anything holds them."""
    blob_bytes: int
    condemned_blobs: int
    """Those of them that nothing holds, and that a sweep will remove."""
    condemned_bytes: int
    quarantined_blobs: int
    grants: int
    """Live ones, and those that no sweep has met yet since they ended."""
    prompts: int
    """Live messages that are written."""
    uploads_in_progress: int
    disk_free_bytes: int | None
    """What uploads may still take; `None` when the backend cannot say."""
