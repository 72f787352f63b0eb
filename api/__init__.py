"""The HTTP face of the store: blobs, their holds, and the admin pages about them."""

from .config import ApiConfig
from .erase import ERASE, EraseRequest
from .errors import store_problem
from .keyring import StoreKeyring
from .maintenance import SWEEP, SweepRequest, Work
from .table import face, readiness, routes

__all__ = [
    "ERASE",
    "SWEEP",
    "ApiConfig",
    "EraseRequest",
    "StoreKeyring",
    "SweepRequest",
    "Work",
    "face",
    "readiness",
    "routes",
    "store_problem",
]
