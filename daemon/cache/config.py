"""The cache's limits: each with its unit, its default and its reason."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How one cache folder is used. Every process that shares it is told the same.

    Raises:
        ValueError: a limit is not positive (`min_free_bytes` may be zero).
    """

    folder: Path
    """Where copies and their index live. All of it may be deleted while no daemon runs."""

    max_bytes: int = 10 * 1024**3
    """What copies, unfinished ones and the index may take, as the file system counts it."""

    min_free_bytes: int = 64 * 1024**2
    """What copies leave free on the disk, for whoever else writes there."""

    threads: int = 8
    """Threads that open, read and check copies."""

    fetches_at_once: int = 8
    """Blobs of one turn that are fetched at the same time."""

    max_fetches: int = 32
    """Blobs that one process fetches at the same time, for all turns: each is a connection to the
    store, and more would not make the line between them faster."""

    hot_entries: int = 16_384
    """Rows of the index remembered in memory, some 400 bytes each."""

    def __post_init__(self) -> None:
        limits = {
            "max_bytes": self.max_bytes,
            "threads": self.threads,
            "fetches_at_once": self.fetches_at_once,
            "max_fetches": self.max_fetches,
            "hot_entries": self.hot_entries,
        }
        for name, value in limits.items():
            if value <= 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if self.min_free_bytes < 0:
            raise ValueError(f"min_free_bytes must not be negative, not {self.min_free_bytes}")
