"""The store's settings: each limit with its unit, its default and the reason for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many logical bytes each tenant may hold."""

    default_bytes: int | None = None
    """Of a tenant that is not named; None: any number."""
    by_tenant: Mapping[str, int] = field(default_factory=dict[str, int])

    def of(self, tenant: str) -> int | None:
        """Return the tenant's quota in bytes."""
        return self.by_tenant.get(tenant, self.default_bytes)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """How one store is opened.

    Raises:
        ValueError: a limit is not positive (`min_free_bytes`, `review_seconds` and `quarantine_seconds`
            may be zero).
    """

    data_folder: Path | None
    """Where everything lives. `None` keeps all of it in memory until `close`."""

    lease_seconds: int = 24 * 3600
    """How long an upload, a `missing` or a use keeps a grant: a working day and its night."""

    prompt_seconds: int = 24 * 3600
    """How long a prompt is kept after its last append or expand."""

    max_blob_bytes: int = 512 * _MIB
    """The largest blob taken. Providers take files up to this size (OpenAI Files, 512 MB)."""

    min_free_bytes: int = 64 * _MIB
    """What uploads leave free on the disk, so that the index can still be written."""

    max_store_bytes: int | None = None
    """What all blobs may take together, those that await their end included; None: the disk decides.
    For a folder that shares its disk with others."""

    quotas: Quotas = field(default_factory=Quotas)
    """How many logical bytes each tenant may hold; without, any number."""

    review_seconds: int = 3600
    """How long bytes that nobody holds any more stay, and are revived by an upload: as long as a
    daemon believes an old answer while it cannot ask, and an hour to notice a mistake."""

    quarantine_seconds: int = 7 * 24 * 3600
    """How long damaged bytes are kept to be looked at: a week, so that a weekend is not too long."""

    upload_seconds: int = 24 * 3600
    """How long an upload in parts is kept after its last byte: until the next working day. A finished
    one answers for as long where its blob is."""

    max_uploads_per_tenant: int = 100
    """Uploads in parts that one tenant may have unfinished at once: each is a file, and what it declares
    is set aside for it. Browsers send some at a time, batch jobs some dozen."""

    signed_url_seconds: int = 3600
    """The window of signed URLs: within one, a blob's URL stays the same text, and lasts as long
    again. Longer than providers keep a prompt cached, and short for a URL that was written down."""

    max_prompt_bytes: int = 64 * _MIB
    """The most that one prompt may take in all, because an expand holds all of it in memory: text,
    about a kilobyte for each message, and 200 bytes for each blob that is named."""

    hot_entries: int = 16_384
    """Grants remembered in memory, about 1 KB each."""

    hot_seconds: float = 30.0
    """How long a remembered grant is believed without asking the index again."""

    count_seconds: float = 5.0
    """How long the counts of `Store.stats` are believed: counting keeps other questions waiting."""

    pending_prompt_bytes: int = 16 * _MIB
    """Messages that may wait to be written before an append has to wait; counted as in a prompt."""

    read_threads: int = 8
    """Threads that read and check pieces; apart from uploads, so that no fsync delays a read."""

    write_threads: int = 8
    """Threads that spool, hash and commit uploads."""

    def __post_init__(self) -> None:
        limits = {
            "lease_seconds": self.lease_seconds,
            "prompt_seconds": self.prompt_seconds,
            "max_blob_bytes": self.max_blob_bytes,
            "max_store_bytes": 1 if self.max_store_bytes is None else self.max_store_bytes,
            "upload_seconds": self.upload_seconds,
            "max_uploads_per_tenant": self.max_uploads_per_tenant,
            "signed_url_seconds": self.signed_url_seconds,
            "max_prompt_bytes": self.max_prompt_bytes,
            "hot_entries": self.hot_entries,
            "hot_seconds": self.hot_seconds,
            "count_seconds": self.count_seconds,
            "pending_prompt_bytes": self.pending_prompt_bytes,
            "read_threads": self.read_threads,
            "write_threads": self.write_threads,
        }
        for name, value in limits.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
        for name, value in {
            "min_free_bytes": self.min_free_bytes,
            "review_seconds": self.review_seconds,
            "quarantine_seconds": self.quarantine_seconds,
        }.items():
            if value < 0:
                raise ValueError(f"{name} must not be negative, not {value}")
