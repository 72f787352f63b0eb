"""Where bytes come from, as the configuration says."""

from __future__ import annotations

import json
import os
import re

from .errors import HookError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


__all__ = ["Config", "read_config"]

_LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"  # as DNS takes them
_ORIGIN = re.compile(rf"http://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]+\])(?::(\d{{1,5}}))?/?")


class Config:
    """Where bytes come from."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Check what was given.

        Raises:
            ValueError: it is not as the module says; no value is repeated.
        """
        self.socket = _taken(given, "socket", str, "", os.path.isabs)
        self.daemon = _taken(given, "daemon", str, "", _is_origin)
        self.cache = _taken(given, "cache", str, "", os.path.isabs)
        self.key = _taken(given, "key", str, "", _is_key)
        self.connect_seconds = float(_taken(given, "connect_seconds", (int, float), 5, _is_more))
        self.total_seconds = float(_taken(given, "total_seconds", (int, float), 60, _is_more))
        self.max_blob_bytes = int(_taken(given, "max_blob_bytes", int, 1 << 29, _is_more))
        self.splice = _is_on(given, "splice")
        if given:
            raise ValueError(f"{min(given)!r} is no name of the configuration")
        if self.socket and self.daemon:
            raise ValueError("either socket or daemon, not both")
        if not (self.socket or self.daemon or self.cache):
            raise ValueError("one of socket, daemon and cache has to be there")


def _taken(
    given: dict[str, Any], name: str, kind: Any, default: Any, is_right: Callable[[Any], bool]
) -> Any:
    value = given.pop(name, None)
    if value is None:
        return default
    if not isinstance(value, kind) or isinstance(value, bool) or not is_right(value):
        raise ValueError(f"{name} is not what it has to be")
    return value


def _is_on(given: dict[str, Any], name: str) -> bool:
    value = given.pop(name, None)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"{name} is not what it has to be")
    return value is not False


def _is_more(value: float) -> bool:
    return value > 0


def _is_key(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _is_origin(text: str) -> bool:
    found = _ORIGIN.fullmatch(text)
    return found is not None and (found[1] is None or 0 < int(found[1]) < 65536)


def read_config(path: str) -> Config:
    try:
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        if not isinstance(given, dict):
            raise HookError(f"hook_config_invalid: {path}: it is no JSON object")
        return Config(given)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise HookError(f"hook_config_invalid: {path}: {reason}") from None
