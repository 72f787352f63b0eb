"""Which headers cross the gateway.

To the upstream everything passes except what belongs to one connection, names this host, or is
ours; back to the client everything except what belongs to one connection, and cookies.
"""

from base64 import b64decode
from collections.abc import Iterable

from coatcheck.protocol import TENANT_HEADER, holds_key
from coatcheck.web import is_loopback_authority

# RFC 9110 section 7.6.1, with Connection's historic companions.
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_UPSTREAM = _HOP_BY_HOP | {"host", "cookie", "content-length", "expect"}
_NOT_BACK = _HOP_BY_HOP | {"set-cookie"}
_OURS = "coatcheck-"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Where providers look for a key; an upstream's own takes the place of all of them.
_CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})


def request_headers(
    headers: Iterable[tuple[str, str]],
    credential: tuple[str, str] | None,
    *,
    is_recoded: bool = False,
) -> list[tuple[str, str]]:
    """Return the headers for an upstream; `credential` replaces whatever key the client sent.

    `is_recoded` drops Content-Encoding: the body is another one, and as it is.
    """
    received = list(headers)
    dropped = _NOT_UPSTREAM | _named_by_connection(received)
    if credential is not None:
        dropped |= _CREDENTIALS
    if is_recoded:
        dropped |= {"content-encoding"}
    passed = [
        (name, value)
        for name, value in received
        if name.lower() not in dropped
        and not name.lower().startswith(_OURS)
        and not (holds_key(name) or _holds_our_key(value))
    ]
    return passed if credential is None else [*passed, credential]


def own_authorities(host: str) -> frozenset[str]:
    """Return the authorities that name the same server as a Host field, lower case.

    Loopback has several names, and a client may write a URL with another than it connects by.
    """
    host = host.lower()
    if not is_loopback_authority(host):
        return frozenset({host})
    name, _, port = host.rpartition(":")
    suffix = f":{port}" if name and port.isdecimal() else ""
    return frozenset({host, *(alias + suffix for alias in _LOOPBACK_NAMES)})


def answer_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers for the client. Only this server says `Coatcheck-*` here."""
    received = list(headers)
    dropped = _NOT_BACK | _named_by_connection(received)
    return [
        (name, value)
        for name, value in received
        if name.lower() not in dropped and not name.lower().startswith(_OURS)
    ]


def store_request_headers(
    headers: Iterable[tuple[str, str]], *, keeps_tenant: bool
) -> list[tuple[str, str]]:
    """Return the headers for the store behind a daemon: our key goes on, an upstream's does not.

    `Origin` names a page of this host's, which has been judged here; the store would take it for a
    stranger's.
    """
    received = list(headers)
    dropped = _NOT_UPSTREAM | _named_by_connection(received) | {"origin"}
    if not keeps_tenant:
        dropped |= {TENANT_HEADER.lower()}
    return [
        (name, value)
        for name, value in received
        if name.lower() not in dropped
        and (name.lower() not in _CREDENTIALS or _holds_our_key(value))
    ]


def store_answer_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers of the store's answer for the client, which are of one program."""
    received = list(headers)
    dropped = _NOT_BACK | _named_by_connection(received)
    return [(name, value) for name, value in received if name.lower() not in dropped]


def _holds_our_key(value: str) -> bool:
    """Whether a key of ours stands in a header: alone, in a URL's query, in a Basic credential."""
    scheme, *words = value.split() or [""]
    return holds_key(value) or (scheme.lower() == "basic" and holds_key(_decoded("".join(words))))


def _decoded(token: str) -> str:
    """Decode base64 of either alphabet, padded or not; spare padding is ignored."""
    try:
        plain = token.replace("-", "+").replace("_", "/")
        return b64decode(plain + "==").decode("utf-8", "replace")
    except ValueError:
        return ""


def _named_by_connection(headers: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Return what a Connection field declares to be for this hop (RFC 9110 section 7.6.1)."""
    return frozenset(
        token.strip().lower()
        for name, value in headers
        if name.lower() == "connection"
        for token in value.split(",")
    )
