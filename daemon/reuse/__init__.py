"""Reuse modes: how an upstream gets blobs at the last hop, and what it need not get again."""

from .file import LocalFiles
from .inline import Inline
from .mode import Headers, Hop, Mode, Modes, Plan, Refusal
from .url import Urls

__all__ = [
    "Headers",
    "Hop",
    "Inline",
    "LocalFiles",
    "Mode",
    "Modes",
    "Plan",
    "Refusal",
    "Urls",
]
