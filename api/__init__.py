"""The HTTP face of the store: blobs, their holds, and the admin pages about them."""

from .config import ApiConfig
from .elsewhere import Elsewhere
from .erase import ERASE, EraseRequest
from .errors import store_problem
from .files import FilesFront
from .keyring import StoreKeyring
from .maintenance import (
    CHECK,
    MIN_SCRUB_RATE,
    SCRUB,
    SWEEP,
    CheckRequest,
    ScrubRequest,
    SweepRequest,
)
from .table import face, readiness, routes
from .work import Work

__all__ = [
    "CHECK",
    "ERASE",
    "MIN_SCRUB_RATE",
    "SCRUB",
    "SWEEP",
    "ApiConfig",
    "CheckRequest",
    "Elsewhere",
    "EraseRequest",
    "FilesFront",
    "ScrubRequest",
    "StoreKeyring",
    "SweepRequest",
    "Work",
    "face",
    "readiness",
    "routes",
    "store_problem",
]
