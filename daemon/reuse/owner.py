"""Whose files at a provider a turn's are: its upstream's address, and the credential that it goes with.

A provider's file is good for the key, project or workspace that uploaded it. Such an owner is known
here by a keyed hash; the credential itself is in memory only, as long as its request.
"""

import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import parse_qsl, urlencode

from ..headers import CREDENTIALS
from ..passage import headers_of, target_of
from ..target import KEY_PARAMETER
from ..upstream import Upstream, UpstreamConfig
from .mode import Headers, Hop

# What decides beside the key whose files are meant.
_SCOPES = frozenset(
    {"openai-organization", "openai-project", "anthropic-workspace-id", "x-goog-user-project"}
)
_KEPT = CREDENTIALS | _SCOPES | {"anthropic-version", "user-agent"}


@dataclass(frozen=True, slots=True)
class Owner:
    """Where files go, and with which headers. `query` is empty, or has the key, with its mark."""

    upstream: Upstream
    name: str
    """The keyed hash."""
    headers: Headers
    query: str
    path: str
    """Of the turn, which says which version of an API its client speaks."""


def owner_of(secret: bytes, hop: Hop) -> Owner:
    """Return the owner that a turn is of."""
    config = hop.upstream.config
    headers = headers_of(hop.request, hop.upstream, is_recoded=True)
    path, _, query = target_of(hop.request, hop.upstream).partition("?")
    keys = [value for name, value in parse_qsl(query) if name == KEY_PARAMETER]
    return _owner(secret, hop.upstream, _kept(headers, config), keys, path)


def settled_owner(secret: bytes, upstream: Upstream) -> Owner | None:
    """Return the owner of an upstream whose settings have the key; None where clients bring it."""
    config = upstream.config
    extra = {name.lower() for name, _ in config.headers}
    if config.credential is None and not extra & CREDENTIALS:
        return None
    own = [] if config.credential is None else [config.credential]
    return _owner(secret, upstream, [*own, *config.headers], [], "")


def keyed_hash(secret: bytes, *parts: str) -> str:
    """Return a hash that says nothing to those without the secret, 64 hexadecimal digits."""
    return hmac.new(secret, json.dumps(parts).encode(), sha256).hexdigest()


def _owner(
    secret: bytes, upstream: Upstream, headers: Headers, keys: Sequence[str], path: str
) -> Owner:
    sent = [_bare(value) for name, value in headers if name.lower() in CREDENTIALS]
    scopes = sorted(
        f"{name.lower()}: {value}" for name, value in headers if name.lower() in _SCOPES
    )
    credentials = sorted({*sent, *keys})
    name = keyed_hash(secret, "owner", upstream.config.base_url, *credentials, "", *scopes)
    query = "?" + urlencode([(KEY_PARAMETER, key) for key in keys]) if keys else ""
    return Owner(upstream, name, headers, query, path)


def _kept(headers: Headers, config: UpstreamConfig) -> Headers:
    """Return what a request for a file has of a turn's headers: all that the settings add, too."""
    kept = _KEPT | {name.lower() for name, _ in config.headers}
    return [(name, value) for name, value in headers if name.lower() in kept]


def _bare(credential: str) -> str:
    """Return a key without its scheme: SDKs of several ages send one in several headers."""
    scheme, _, key = credential.partition(" ")
    return key.strip() if scheme.lower() == "bearer" else credential
