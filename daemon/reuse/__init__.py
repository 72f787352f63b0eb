"""Reuse modes: how an upstream gets blobs at the last hop, and what it need not get again."""

from ..peeked import Refusal
from .assembly import Means, open_modes
from .file import LocalFiles
from .inline import Inline
from .ledger import FILE_NAME as LEDGER_FILE
from .ledger import Ledger
from .mode import Headers, Hop, Mode, Modes, Plan
from .url import Urls

__all__ = [
    "LEDGER_FILE",
    "Headers",
    "Hop",
    "Inline",
    "Ledger",
    "LocalFiles",
    "Means",
    "Mode",
    "Modes",
    "Plan",
    "Refusal",
    "Urls",
    "open_modes",
]
