"""Paths that a client writes itself: an engine that reads files would open them for whoever asks.

The files of all tenants' blobs are below one folder, under names that anybody can compute. So a turn for
such an engine may name no file but by a ref: what a client may have is decided by what its tenant holds.
"""

from collections.abc import Collection

from coatcheck.protocol import Json, JsonObject, dotted

from ..errors import FileUrlRefusedError

_ADDRESSES = frozenset(
    {"url", "uri", "path", "image", "audio", "video", "data", "file_data", "fileUri", "file_uri"}
)
# What a model's tools are called with, and how: no engine opens what stands there.
_SAYINGS = frozenset({"arguments", "parameters", "function", "metadata"})
_MAX_HEAD = 64  # characters looked at
_SPACES = "".join(map(chr, range(0x21)))  # before a URL, which readers drop (WHATWG URL 4.4)
_DROPPED = str.maketrans("", "", "\t\n\r")  # anywhere in one, likewise


def refuse_files(body: JsonObject) -> None:
    """Look for files that a body names where an engine looks for addresses.

    Raises:
        FileUrlRefusedError: it names one.
    """
    level: list[tuple[tuple[str | int, ...], Json]] = [((), body)]
    while level:
        path, value = level.pop()
        if isinstance(value, str):
            if _is_address(path[-1:]) and _is_file(value):
                raise FileUrlRefusedError(dotted(path))
        elif isinstance(value, dict):
            level += [((*path, key), item) for key, item in value.items() if not _says(key, item)]
        elif isinstance(value, list):
            level += [((*path, index), item) for index, item in enumerate(value)]


def _is_address(last: Collection[str | int]) -> bool:
    return any(isinstance(key, str) and (key in _ADDRESSES or key.endswith("_url")) for key in last)


def _is_file(text: str) -> bool:
    head = text[:4096].lstrip(_SPACES)[:_MAX_HEAD].translate(_DROPPED)
    return head.lower().startswith("file:")


def _says(key: str, value: Json) -> bool:
    return key in _SAYINGS or (key == "input" and isinstance(value, dict))
