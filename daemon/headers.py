"""Which headers cross the gateway.

To the upstream everything passes except what belongs to one connection, names this host, or is
ours; back to the client everything except what belongs to one connection, and cookies.
"""

import re
from base64 import b64decode
from collections.abc import Iterable, Sequence

from coatcheck.protocol import DAEMON_HEADER, EDGES_HEADER, KEY_HEADER, TENANT_HEADER, holds_key
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
# What a client of an edge does not say to the daemon behind it: whose it is, that key says.
_NOT_ONWARD = frozenset({KEY_HEADER.lower(), TENANT_HEADER.lower(), DAEMON_HEADER.lower()})
# What an upstream's settings may not set: how the body is framed and coded is decided here.
_NOT_EXTRA = _NOT_UPSTREAM | {"content-encoding", "accept-encoding"}
_is_token = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch  # RFC 9110 section 5.6.2
# RFC 9110 section 5.5, without obsolete text: no control characters, no space around it.
_is_field_value = re.compile(r"[!-~](?:[ \t!-~]*[!-~])?").fullmatch
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Where providers look for a key; an upstream's own takes the place of all of them.
CREDENTIALS = frozenset({"authorization", "x-api-key", "x-goog-api-key", "api-key"})


def check_extra_headers(
    headers: Sequence[tuple[str, str]], credential: tuple[str, str] | None
) -> None:
    """Look for headers that an upstream's settings may not set; see `request_headers`.

    Raises:
        ValueError: one is no header, says where a message ends or how it is coded, belongs to one
            connection, is ours, or carries the key that is set already. It is named, its value is
            not.
    """
    seen = {credential[0].lower()} if credential else set[str]()
    for name, value in headers:
        lower = name.lower()
        if not _is_token(name):
            raise ValueError(f"{name!r} is no name of a header")
        if lower in _NOT_EXTRA or lower.startswith(_OURS):
            raise ValueError(f"{name} is not an upstream's to set")
        if holds_key(name) or _holds_our_key(value):
            raise ValueError(f"{name} holds a key of ours")
        if not _is_field_value(value):
            raise ValueError(f"{name} has a value that no header may have")
        if lower in seen:
            raise ValueError(f"{name} is set twice, or by api_key_env")
        seen.add(lower)


def sets_credential(headers: Iterable[tuple[str, str]]) -> bool:
    """Whether one of these headers is where providers look for a key."""
    return any(name.lower() in CREDENTIALS for name, _ in headers)


def request_headers(
    headers: Iterable[tuple[str, str]],
    credential: tuple[str, str] | None,
    extra: Sequence[tuple[str, str]] = (),
    *,
    is_recoded: bool = False,
    keeps_ours: bool = False,
) -> list[tuple[str, str]]:
    """Return the headers for an upstream; `credential` replaces whatever key the client sent.

    One in `Coatcheck-Key` replaces no other. `extra` are the upstream's own, in place of the client's
    of the same names; a key among them counts as the credential. `is_recoded` drops Content-Encoding:
    the body is another one, and as it is. `keeps_ours` is for an upstream that is another daemon.
    """
    received = list(headers)
    dropped = _NOT_UPSTREAM | _named_by_connection(received) | {name.lower() for name, _ in extra}
    if sets_credential(extra) or (credential is not None and sets_credential([credential])):
        dropped |= CREDENTIALS
    if is_recoded:
        dropped |= {"content-encoding"}
    if keeps_ours:
        dropped |= _NOT_ONWARD
    passed = [
        (name, value)
        for name, value in received
        if name.lower() not in dropped
        and (keeps_ours or not name.lower().startswith(_OURS))
        and not (holds_key(name) or _holds_our_key(value))
    ]
    return [*passed, *([] if credential is None else [credential]), *extra]


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


def own_answer_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return what another daemon says in headers of ours."""
    return {name: value for name, value in headers if name.lower().startswith(_OURS)}


def store_request_headers(
    headers: Iterable[tuple[str, str]], *, keeps_tenant: bool
) -> list[tuple[str, str]]:
    """Return the headers for the store behind a daemon: our key goes on, an upstream's does not.

    `Origin` names a page of this host's, which has been judged here; the store would take it for a
    stranger's.
    """
    received = list(headers)
    dropped = _NOT_UPSTREAM | _named_by_connection(received) | {"origin", EDGES_HEADER.lower()}
    if not keeps_tenant:
        dropped |= {TENANT_HEADER.lower()}
    return [
        (name, value)
        for name, value in received
        if name.lower() not in dropped
        and (name.lower() not in CREDENTIALS or _holds_our_key(value))
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
