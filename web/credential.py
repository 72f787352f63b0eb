"""Where a request carries one of our keys.

`Coatcheck-Key` is ours alone and decides by itself. The other places belong to the SDKs, and may
hold an upstream's key: there only what begins with `cck_` is one of ours.
"""

from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web
from multidict import CIMultiDictProxy

from coatcheck.protocol import KEY_HEADER, KEY_PREFIX

_PLAIN_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
_QUERY = "key"


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as a request carries it, valid or not."""

    secret: str = field(repr=False)
    is_ambient: bool = False
    """True when a browser adds it to every request by itself, whichever page asks."""


def credential_of(request: web.BaseRequest) -> Credential | None:
    """Return the key that a request carries; None when it carries none of ours.

    Looked for in `Coatcheck-Key`, `Authorization: Bearer`, `x-api-key`, `x-goog-api-key`,
    `api-key`, the password of `Authorization: Basic`, and `?key=`; the first wins.
    """
    headers = request.headers
    if (own := headers.get(KEY_HEADER)) is not None:
        return Credential(own.strip())
    return next(_elsewhere(headers, request), None)


def _elsewhere(headers: CIMultiDictProxy[str], request: web.BaseRequest) -> Iterator[Credential]:
    authorizations = [_split(value) for value in headers.getall("Authorization", ())]
    plain = [value.strip() for name in _PLAIN_HEADERS for value in headers.getall(name, ())]
    bearers = [value for scheme, value in authorizations if scheme == "bearer"]
    yield from (Credential(text) for text in (*bearers, *plain) if text.startswith(KEY_PREFIX))
    for scheme, value in authorizations:
        if scheme == "basic" and (password := _password(value)).startswith(KEY_PREFIX):
            yield Credential(password, is_ambient=True)
    if f"{_QUERY}=" in request.query_string:
        for value in request.query.getall(_QUERY, ()):
            if value.startswith(KEY_PREFIX):
                yield Credential(value)


def _split(authorization: str) -> tuple[str, str]:
    scheme, _, value = authorization.strip().partition(" ")
    return scheme.lower(), value.strip()


def _password(token: str) -> str:
    """Return the password of a Basic credential (RFC 7617); empty where there is none."""
    try:
        return b64decode(token, validate=True).decode("utf-8").partition(":")[2]
    except ValueError:  # no ASCII, no base64, no UTF-8
        return ""
