"""Where a request goes: its target, as it stands behind an upstream's base URL.

Path and query go on as they were written, byte for byte; a field of the query that has a key of
ours in it is taken out, and the client's own key where the upstream's takes its place.
"""

from urllib.parse import unquote, unquote_plus

from coatcheck.protocol import Provider, holds_key

from .errors import RequestRefusedError

_KEY_PARAMETER = "key"


def upstream_target(target: str, provider: Provider, *, drops_key: bool) -> str:
    """Return path and query for an upstream; `target` is in origin form.

    With `drops_key` the query's `key` goes, whoever's it is.

    Raises:
        RequestRefusedError: the path has dot segments, which could leave the base URL, or a key of ours.
    """
    path, mark, query = target.partition("?")
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        raise RequestRefusedError("the path has dot segments", "path_invalid")
    if holds_key(path):
        raise RequestRefusedError("the path has a key in it", "path_invalid")
    if provider.base_path:
        # The base URL has it. It is one segment here, however that is spelled.
        path = "/" + path.removeprefix("/").partition("/")[2]
    return path + mark + query if not query else path + _query(query, drops_key=drops_key)


def _query(query: str, *, drops_key: bool) -> str:
    """Return what is left of a query, with its mark."""
    fields = query.split("&")
    kept = [field for field in fields if not _is_key(field, drops_key=drops_key)]
    return "?" + "&".join(kept) if kept else ""


def _is_key(field: str, *, drops_key: bool) -> bool:
    if drops_key and unquote_plus(field.partition("=")[0]) == _KEY_PARAMETER:
        return True
    return holds_key(field)
