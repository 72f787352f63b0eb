"""Where a request goes: its target, as it stands behind an upstream's base URL.

Path and query go on as they were written, byte for byte; only keys of ours are taken out, and the
client's own where the upstream's takes its place.
"""

from urllib.parse import unquote, unquote_plus

from coatcheck.protocol import KEY_PREFIX, Provider

from .errors import RequestRefusedError

_KEY_PARAMETER = "key"


def upstream_target(target: str, provider: Provider, *, drops_key: bool) -> str:
    """Return path and query for an upstream; `target` is in origin form.

    With `drops_key` the query's `key` goes, whoever's it is.

    Raises:
        RequestRefusedError: the path has dot segments, which could leave the base URL.
    """
    path, mark, query = target.partition("?")
    if any(unquote(segment) in (".", "..") for segment in path.split("/")):
        raise RequestRefusedError("the path has dot segments", "path_invalid")
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
    name, _, value = field.partition("=")
    if drops_key and unquote_plus(name) == _KEY_PARAMETER:
        return True
    return unquote_plus(value).lstrip().startswith(KEY_PREFIX)
