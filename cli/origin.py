"""Where a server that listens on this host is asked from here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from coatcheck.web import BoundAddress

from .errors import CheckFailedError

__all__ = ["origin_to_ask", "reachable"]

_ASKED_INSTEAD: Final[Mapping[str, str]] = MappingProxyType({"0.0.0.0": "127.0.0.1", "::": "::1"})


def origin_to_ask(host: str, port: int) -> str:
    """Return where a server with these settings is reached from here.

    One that listens on every address is asked on loopback.

    Raises:
        CheckFailedError: the port is picked at the start, so only that server knows it.
    """
    if port == 0:
        raise CheckFailedError("port 0 is any: pass as --port the one that the server printed")
    return BoundAddress(_ASKED_INSTEAD.get(host, host), port).url


def reachable(url: str) -> str:
    """Return the origin by which an address that a server printed is reached from here."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return BoundAddress(_ASKED_INSTEAD.get(host, host), parts.port or 80).url
