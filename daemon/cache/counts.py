"""What the cache counts since its process started: the one place where it is told."""

from dataclasses import dataclass


@dataclass(slots=True)
class CacheCounts:
    """Counts and bytes. Belongs to the event loop."""

    hits: int = 0
    """Blobs that a turn or a GET found here."""
    misses: int = 0
    """Blobs that had to come from the store."""
    evicted_blobs: int = 0
    """Copies removed to make room."""
    streamed_blobs: int = 0
    """Blobs served without keeping them, because there was no room."""
    verification_failures: int = 0
    """Copies that had rotted, and answers of the store with other bytes than asked for."""
