"""Who asks: from a request's headers to a tenant.

`web` knows only the interface. Without keys there is one tenant, and `trust` keeps strangers out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from aiohttp import web

from .errors import refuse

DEFAULT_TENANT = "default"
Scope = Literal["read", "write", "gateway", "admin"]
ALL_SCOPES: frozenset[Scope] = frozenset({"read", "write", "gateway", "admin"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A tenant, and what its key may be used for."""

    tenant: str
    scopes: frozenset[Scope] = ALL_SCOPES


class Keyring(Protocol):
    """Knows the keys."""

    async def identify(self, headers: Mapping[str, str]) -> Principal | None:
        """Return whose key the headers carry; None when they carry none that is valid."""
        ...


class OpenKeyring:
    """No keys: everybody who gets past the loopback rules is the one tenant."""

    def __init__(self, tenant: str = DEFAULT_TENANT) -> None:
        self._principal = Principal(tenant)

    async def identify(self, headers: Mapping[str, str]) -> Principal | None:
        """Return the one tenant, whatever the headers say."""
        return self._principal


PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)


def principal_of(request: web.BaseRequest) -> Principal:
    """Return who asks.

    Raises:
        ProblemError: 401 `key_invalid`, the request carries no valid key.
    """
    if PRINCIPAL not in request:
        raise refuse(401, "key_invalid", "No valid key", "the request carries no key we know")
    return request[PRINCIPAL]


def tenant_of(request: web.BaseRequest, scope: Scope | None = None) -> str:
    """Return the tenant that asks, when its key has the scope.

    Raises:
        ProblemError: 401 `key_invalid`; 403 `scope_missing`.
    """
    principal = principal_of(request)
    if scope is not None and scope not in principal.scopes:
        raise refuse(403, "scope_missing", "Scope missing", f"the key has no scope {scope!r}")
    return principal.tenant
