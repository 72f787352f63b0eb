"""Reuse modes: how an upstream gets blobs at the last hop, and what it need not get again."""

from .assembly import open_modes
from .inline import Inline
from .ledger import FILE_NAME as LEDGER_FILE
from .ledger import Ledger
from .mode import Headers, Hop, Mode, Modes, Plan

__all__ = [
    "LEDGER_FILE",
    "Headers",
    "Hop",
    "Inline",
    "Ledger",
    "Mode",
    "Modes",
    "Plan",
    "open_modes",
]
