"""Where a request goes: its target, as it stands behind an upstream's base URL.

Path and query go on as they were written, byte for byte; a field of the query that has a key of
ours in it is taken out, and the client's own key where the upstream's takes its place.
"""

import re
from urllib.parse import unquote, unquote_plus

from coatcheck.protocol import Provider, holds_key

from .errors import RequestRefusedError

KEY_PARAMETER = "key"
# Some servers split at a backslash too, or leave out what follows a semicolon.
_dot_segment = re.compile(r"(?:^|[/\\])\.\.?(?:[/\\;?#]|\Z)").search
_MAX_DECODED = 2  # times: by a proxy before an upstream, and by the upstream


def upstream_target(target: str, provider: Provider, *, drops_key: bool) -> str:
    """Return path and query for an upstream; `target` is in origin form.

    With `drops_key` the query's `key` goes, whoever's it is.

    Raises:
        RequestRefusedError: the path has dot segments, which could leave the base URL, or a key of ours.
    """
    path, mark, query = target.partition("?")
    check_segments(path)
    if holds_key(path):
        raise RequestRefusedError("the path has a key in it", "path_invalid")
    if provider.base_path:
        # The base URL has it. It is one segment here, however that is spelled.
        path = "/" + path.removeprefix("/").partition("/")[2]
    return path + mark + query if not query else path + _query(query, drops_key=drops_key)


def store_target(target: str) -> str:
    """Return path and query for the store: as they were written, but for a provider's key in the query.

    Raises:
        RequestRefusedError: the path has dot segments.
    """
    path, mark, query = target.partition("?")
    check_segments(path)
    fields = query.split("&")
    kept = [field for field in fields if holds_key(field) or not _is_key(field, drops_key=True)]
    return path + mark + query if kept == fields else path + ("?" + "&".join(kept) if kept else "")


def check_segments(path: str) -> None:
    """Look for dot segments in a path, which whoever serves it may resolve.

    Raises:
        RequestRefusedError: it has some.
    """
    if _has_dots(path):
        raise RequestRefusedError("the path has dot segments", "path_invalid")


def _has_dots(path: str) -> bool:
    """Whether any server may find `.` or `..` in a path: some decode before they split, some twice."""
    for _ in range(_MAX_DECODED):
        if _dot_segment(path):
            return True
        path = unquote(path)
    return _dot_segment(path) is not None


def _query(query: str, *, drops_key: bool) -> str:
    """Return what is left of a query, with its mark."""
    fields = query.split("&")
    kept = [field for field in fields if not _is_key(field, drops_key=drops_key)]
    return "?" + "&".join(kept) if kept else ""


def _is_key(field: str, *, drops_key: bool) -> bool:
    if drops_key and unquote_plus(field.partition("=")[0]) == KEY_PARAMETER:
        return True
    return holds_key(field)
