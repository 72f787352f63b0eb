"""Names of files, as their senders call them: kept short and harmless.

A name is shown and sent back, and never a path to anything here.
"""

import re
import unicodedata

MAX_FILENAME_CHARACTERS = 255
"""Longer names are cut: what file systems take of one."""

_separators = re.compile(r"[/\\]")
# Of Unicode's general categories: controls, marks that turn the direction of text, lone surrogates,
# and the ends of lines.
_UNSHOWN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_title(text: str) -> str:
    """Return a title that is no file's name: as it is, but for what no text can hold."""
    return "".join(char for char in text if unicodedata.category(char) not in ("Cc", "Cs"))


def clean_filename(text: str) -> str | None:
    """Return a name as it is kept: the last part of a path, what can be shown of it, cut.

    None: nothing is left. Cleaning a clean name changes nothing.
    """
    last = _separators.split(text)[-1]
    shown = "".join(char for char in last if unicodedata.category(char) not in _UNSHOWN).strip()
    kept = shown[:MAX_FILENAME_CHARACTERS].strip()
    return None if kept in ("", ".", "..") else kept
