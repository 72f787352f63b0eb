"""Reuse modes: how an upstream gets blobs at the last hop, and what it need not get again."""

from .inline import Inline
from .mode import Headers, Hop, Mode, Modes, Plan, Refusal

__all__ = ["Headers", "Hop", "Inline", "Mode", "Modes", "Plan", "Refusal"]
