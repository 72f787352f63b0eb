"""Keys: how a client says who it is, and for which tenant.

A key is `cck_<id>_<secret>`, both parts in `[a-z2-7]`. The id names the key in lists and logs; the
secret never appears in either. What begins with `cck_` is ours wherever it stands, and no business
of an upstream's.
"""

import re
from base64 import b32encode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Self
from urllib.parse import unquote

Scope = Literal["read", "write", "gateway", "admin"]
"""What a key may be used for."""
ALL_SCOPES: frozenset[Scope] = frozenset({"read", "write", "gateway", "admin"})

KEY_PREFIX = "cck_"
KEY_HEADER = "Coatcheck-Key"
"""Carries a key where the SDK's usual place carries the upstream's."""
TENANT_HEADER = "Coatcheck-Tenant"
"""Names the tenant that a daemon asks for; its own key is bound to none."""
DAEMON_HEADER = "Coatcheck-Daemon"
"""Names the daemon that asks its store, so that a daemon which is asked instead knows a loop."""
EDGES_HEADER = "Coatcheck-Edges"
"""Through how many edges a request came."""
DEFAULT_TENANT = "default"
"""The tenant of keys that name none, and of everybody where there are no keys."""

_ID_BYTES = 5  # 40 bits, 8 characters: a name, not a secret
_SECRET_BYTES = 25  # 200 bits, 40 characters
_key = re.compile(r"cck_([a-z2-7]{8})_([a-z2-7]{40})", re.ASCII).fullmatch
# Where a word begins, or anything that has a key's id: base64 has `cck_` in it now and then.
_held_key = re.compile(r"(?<![A-Za-z0-9_-])cck_|cck_[a-z2-7]{8}_", re.ASCII).search
_MAX_QUOTED = 3  # times: a URL in the query of a URL in the query of a URL
_tenant = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,127}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class Key:
    """A key, whole. Its text is the secret; only whoever made it sees it, once."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls, random: Callable[[int], bytes]) -> Self:
        """Make a key from random bytes."""
        return cls(_text(random(_ID_BYTES)), _text(random(_SECRET_BYTES)))

    @property
    def text(self) -> str:
        """The key as clients send it."""
        return f"{KEY_PREFIX}{self.id}_{self.secret}"


def parse_key(text: str) -> Key | None:
    """Read a key; None for anything that cannot be one."""
    match = _key(text)
    return Key(match[1], match[2]) if match else None


def holds_key(text: str) -> bool:
    """True where a key of ours may stand anywhere in a text, percent-encoded too; valid or not."""
    for _ in range(_MAX_QUOTED):
        if _held_key(text):
            return True
        if "%" not in text:
            return False
        text = unquote(text)
    return _held_key(text) is not None


def is_tenant(name: str) -> bool:
    """True for a name that a tenant may have: 1 to 128 of `[A-Za-z0-9._:@-]`, the first no sign."""
    return _tenant(name) is not None


def _text(random: bytes) -> str:
    return b32encode(random).decode("ascii").lower()
