"""What goes wrong in the hook, and what Dify is told of it."""

from __future__ import annotations

import importlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


__all__ = ["AbsentError", "AwayError", "BrokenError", "HookError"]


class HookError(Exception):
    """A request cannot be resolved. Its text begins with a code, and never has a key in it."""

    is_away = False

    def as_sdks(self) -> Exception:
        """Return the SDK's error, whose name Dify's API knows."""
        known: Any = importlib.import_module("dify_plugin.errors.model")
        kind = known.InvokeConnectionError if self.is_away else known.InvokeBadRequestError
        error: Exception = kind(f"coatcheck: {self}")
        return error


class AwayError(HookError):
    """The daemon, or the store behind it, does not answer: trying again may help."""

    is_away = True


class BrokenError(AwayError):
    """A connection broke, or brought other bytes: one more try is worth it."""


class AbsentError(HookError):
    """There is no such blob for this key."""
