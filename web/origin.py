"""Where the client has its server: the scheme and authority by which it came.

For what an answer names by a URL that the client is to follow. It names them to nobody but who asked,
so what a proxy or a daemon in front says of the first hop is believed.
"""

import re
from typing import Final

from aiohttp import web

from .errors import refuse

FORWARDED_HOST: Final = "X-Forwarded-Host"
FORWARDED_PROTO: Final = "X-Forwarded-Proto"
# RFC 3986 section 3.2, without user information.
_authority = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._~-]+)(?::[0-9]{1,5})?", re.ASCII)
_SCHEMES = frozenset({"http", "https"})


def client_origin(request: web.Request) -> str:
    """Return `scheme://host[:port]` as the client wrote it.

    Raises:
        ProblemError: 400 `host_invalid`, it named no host (RFC 9112 section 3.2).
    """
    host = request.headers.get(FORWARDED_HOST) or request.headers.get("Host") or ""
    if not _authority.fullmatch(host):
        raise refuse(400, "host_invalid", "Invalid host", "the Host header names no host")
    scheme = request.headers.get(FORWARDED_PROTO, "").lower()
    return f"{scheme if scheme in _SCHEMES else request.scheme}://{host}"
