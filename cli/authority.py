"""The authority of an origin, spelled as clients spell it in the Host header."""

import ipaddress
import re
from typing import Final
from urllib.parse import SplitResult, urlsplit

__all__ = ["authority"]

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_is_visible = re.compile(r"[\x21-\x7e]+").fullmatch  # urlsplit drops some of what is not
_is_name = re.compile(r"[a-z0-9._-]+").fullmatch


def authority(url: str) -> str:
    """Return `host[:port]` of `http(s)://host[:port][/]`, the port only where it is not the default.

    Host names are in ASCII and become lower case (RFC 9110 section 4.2.3). Raises ValueError when
    `url` is anything else, which is what settings' models turn into an error that names the field.
    """
    try:
        parts = urlsplit(url)
        host, port = _host(parts), parts.port
    except ValueError as error:
        raise ValueError(f"no origin: {error}") from error
    is_bare = parts.path in ("", "/") and "@" not in parts.netloc and not set("?#") & set(url)
    if not (_is_visible(url) and parts.scheme in _DEFAULT_PORTS and host and is_bare and port != 0):
        raise ValueError("must be an http(s) origin, such as https://coat.example:8420")
    return host if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}"


def _host(parts: SplitResult) -> str:
    """Return the host in lower case, an IPv6 address in brackets; empty where it is no host."""
    name = parts.hostname or ""
    if ":" in name:
        return f"[{ipaddress.IPv6Address(name).compressed}]"
    return name if _is_name(name) else ""
