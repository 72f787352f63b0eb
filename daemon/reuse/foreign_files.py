"""Paths that a client writes itself: an engine that reads files would open them for whoever asks.

The files of all tenants' blobs are below one folder, under names that anybody can compute. So a turn for
such an engine may name no file but by a ref: what a client may have is decided by what its tenant holds.
"""

from collections.abc import Sequence

from coatcheck.protocol import Json, JsonObject, Path, dotted

from ..errors import FileUrlRefusedError

_ADDRESSES = frozenset(
    {"url", "uri", "path", "image", "audio", "video", "data", "file_data", "fileUri", "file_uri"}
)
# What a model's tools are called with, and how: no engine opens what stands there.
_SAYINGS = frozenset({"arguments", "parameters", "function", "metadata"})
_MAX_SCHEME = len("file:")
_SPACES = "".join(map(chr, range(0x21)))  # before a URL, which readers drop (WHATWG URL 4.4)
_DROPPED = frozenset("\t\n\r")  # anywhere in one, likewise


def refuse_files(body: JsonObject) -> None:
    """Look for files that a body names where an engine looks for addresses; some 2 us a message.

    Raises:
        FileUrlRefusedError: it names one.
    """
    if (found := _find(body)) is not None:
        raise FileUrlRefusedError(dotted(found))


def _find(value: JsonObject | Sequence[Json]) -> Path | None:
    """Return the path of the first file below a value. As deep as JSON that is read here may be."""
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in entries:
        if isinstance(item, str):
            if isinstance(key, str) and _is_address(key) and _is_file(item):
                return (key,)
        elif isinstance(item, dict | list) and not _says(key, item):
            below = _find(item)
            if below is not None:
                return (key, *below)
    return None


def _is_address(key: str) -> bool:
    return key in _ADDRESSES or key.endswith("_url")


def _is_file(text: str) -> bool:
    """Whether any reader may take a text for a file's URL; what no URL has costs a long one a copy."""
    text = text.lstrip(_SPACES)
    if not _DROPPED.isdisjoint(text[:_MAX_SCHEME]):
        text = text.translate(dict.fromkeys(map(ord, _DROPPED)))
    return text[:_MAX_SCHEME].lower().startswith("file:")


def _says(key: str | int, value: Json) -> bool:
    return key in _SAYINGS or (key == "input" and isinstance(value, dict))
