"""What a store counts since it was opened, by this process alone."""

from dataclasses import dataclass


@dataclass(slots=True)
class StoreCounts:
    """Counts and bytes. Belongs to the event loop."""

    received_blobs: int = 0
    """Uploads that were received, known bytes too."""
    received_bytes: int = 0
    opened_blobs: int = 0
    """Blobs opened to be read, for a client or for a turn."""
    mismatched_uploads: int = 0
    """Uploads that were not the bytes that had been promised."""
    removed_blobs: int = 0
    """Blobs that sweeps and erasures removed."""
    removed_bytes: int = 0
    damaged_blobs: int = 0
    """Times that bytes on the disk were not what was stored."""
