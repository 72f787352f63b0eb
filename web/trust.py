"""The loopback rules: what a server without keys lets in.

Such a server listens on loopback, which keeps other hosts out but not the pages that a browser on
this host shows. A page can reach loopback by a name of its own that resolves there (DNS
rebinding: its Host gives it away) and can send forms and fetches across origins (its Origin gives
it away). Both are refused. Links and images carry no Origin; there `Sec-Fetch-Site` says whose page
asks, which no page can write itself.
"""

import ipaddress
import re
from collections.abc import Mapping
from functools import lru_cache

from coatcheck.protocol import Problem

# RFC 3986 section 3.2.2, without user information.
_authority = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:/@?#\s]+)(?::[0-9]{0,5})?", re.ASCII).fullmatch
_origin = re.compile(r"https?://([^/?#@]+)", re.ASCII).fullmatch
_localhost = re.compile(r"(?:[a-z0-9-]+\.)*localhost\.?", re.ASCII | re.IGNORECASE).fullmatch

FOREIGN_HOST = Problem(
    403,
    "host_foreign",
    "Foreign host",
    "without keys the Host header must be a loopback name, such as localhost or 127.0.0.1",
)
FOREIGN_ORIGIN = Problem(
    403,
    "origin_foreign",
    "Foreign origin",
    "without keys only pages of this server itself may send requests to it",
)
FOREIGN_ORIGIN_OF_BROWSER = Problem(
    403,
    "origin_foreign",
    "Foreign origin",
    "a browser's login serves only pages of this server itself",
)

_OTHER_SITES = frozenset({"cross-site", "same-site"})


def is_loopback_host(host: str) -> bool:
    """True for `localhost`, names under it (RFC 6761 section 6.3), 127.0.0.0/8 and ::1."""
    if _localhost(host):
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def is_loopback_authority(authority: str) -> bool:
    """True when `host[:port]` names loopback; any port, because tunnels and maps change it."""
    match = _authority(authority)
    return match is not None and is_loopback_host(match[1])


class LoopbackGuard:
    """Decides from the headers alone."""

    def __init__(self) -> None:
        self._is_loopback = lru_cache(maxsize=64)(is_loopback_authority)

    def refusal(self, headers: Mapping[str, str]) -> Problem | None:
        """Return why a request is refused; None lets it pass."""
        host = headers.get("Host", "")
        if not self._is_loopback(host):
            return FOREIGN_HOST
        return None if is_own_origin(headers) else FOREIGN_ORIGIN


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """True when no page asks, or one of ours: its Origin names the same host and port as Host.

    `null` is nobody's.
    """
    origin = headers.get("Origin")
    if origin is None:
        return True
    match = _origin(origin)
    return match is not None and match[1].lower() == headers.get("Host", "").lower()


def is_of_other_origin(headers: Mapping[str, str]) -> bool:
    """True when a browser says that a page of another origin asks, on the same host or not.

    Browsers say so where TLS or loopback keeps the request from others (W3C Fetch Metadata).
    """
    return headers.get("Sec-Fetch-Site", "").lower() in _OTHER_SITES


def is_link(headers: Mapping[str, str]) -> bool:
    """True when a browser shows the answer as a page of its own, in no frame of another page."""
    return (
        headers.get("Sec-Fetch-Mode", "").lower() == "navigate"
        and headers.get("Sec-Fetch-Dest", "").lower() == "document"
    )
