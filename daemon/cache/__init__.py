"""The daemon's own copies of blobs: bounded in bytes, verified on every read, healed by fetching."""

from .cache import DiskCache
from .config import CacheConfig
from .counts import CacheCounts
from .errors import CacheError, CacheUnusableError
from .files import copies_folder
from .origin import Flow, Origin

__all__ = [
    "CacheConfig",
    "CacheCounts",
    "CacheError",
    "CacheUnusableError",
    "DiskCache",
    "Flow",
    "Origin",
    "copies_folder",
]
