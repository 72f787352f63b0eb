"""The key by which a daemon speaks to its store. It is a secret: no message repeats it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from coatcheck.protocol import parse_key

from .errors import SettingsError

__all__ = ["KEY_VARIABLE", "daemon_key"]

KEY_VARIABLE: Final = "COATCHECK_KEY"
_MAX_BYTES: Final = 4096


def daemon_key(path: Path | None, environment: Mapping[str, str]) -> str | None:
    """Return the key in a file, else the environment's; None where there is neither.

    Raises:
        SettingsError: the file cannot be read, or what was found is no key.
    """
    if path is None:
        source, text = f"{KEY_VARIABLE} of the environment", environment.get(KEY_VARIABLE, "")
        if not text:
            return None
    else:
        source, text = f"key_file {path}", _read(path)
    key = text.strip()
    if parse_key(key) is None:
        raise SettingsError(f"{source}: no key, which is cck_ and 49 more characters")
    return key


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"key_file {path} cannot be read: {error}") from error
