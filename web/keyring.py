"""Who asks: from a key to a tenant.

`web` knows only the interface. Without keys there is one tenant, and `trust` keeps strangers out.
"""

from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from coatcheck.protocol import ALL_SCOPES, DEFAULT_TENANT, TENANT_HEADER, Scope, is_tenant

from .errors import refuse


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose key a request carries, and what it may be used for."""

    tenant: str | None
    """None: a daemon's key, which speaks for whatever tenant each request names."""
    scopes: frozenset[Scope] = ALL_SCOPES
    is_open: bool = False
    """True for everybody while there are no keys: the loopback rules hold."""


class Keyring(Protocol):
    """Knows the keys."""

    @property
    def is_open(self) -> bool:
        """True when no key existed the last time that this was found out; nothing is awaited.

        Known from the start: an open server binds loopback only.
        """
        ...

    async def identify(self, secret: str | None) -> Principal | None:
        """Return whose key `secret` is; None when it is none that is valid.

        `secret` is what the request carries as a key, None where it carries none. As long as no
        key exists everybody is the open principal, whatever they carry.

        Raises:
            ProblemError: it cannot be found out now.
        """
        ...


class OpenKeyring:
    """No keys: everybody who gets past the loopback rules is the one tenant."""

    def __init__(self, tenant: str = DEFAULT_TENANT) -> None:
        self._principal = Principal(tenant, is_open=True)

    @property
    def is_open(self) -> bool:
        """True: there never are keys."""
        return True

    async def identify(self, secret: str | None) -> Principal | None:
        """Return the one tenant, whatever the request carries."""
        return self._principal


PRINCIPAL: web.RequestKey[Principal] = web.RequestKey("principal", Principal)


def is_known(request: web.BaseRequest) -> bool:
    """Say whether the edge knows who asks; see `Route.capability`."""
    return PRINCIPAL in request


def principal_of(request: web.BaseRequest) -> Principal:
    """Return who asks; the edge has let them in by the route's scope.

    Raises:
        ProblemError: 401 `key_missing`, the route is open and asks nobody.
    """
    if PRINCIPAL not in request:
        raise refuse(401, "key_missing", "No key", "this route knows nobody")
    return request[PRINCIPAL]


def tenant_of(request: web.BaseRequest) -> str:
    """Return the tenant that a request speaks for; the edge has asked for the route's scope.

    A daemon's key names it in `Coatcheck-Tenant`; any other key is bound to one, which the header
    may repeat.

    Raises:
        ProblemError: 403 `tenant_foreign`; 400 `tenant_missing`, `tenant_invalid`; 401 as `principal_of`.
    """
    principal = principal_of(request)
    named = request.headers.get(TENANT_HEADER)
    if principal.tenant is None:
        return _named_tenant(named)
    if named not in (None, principal.tenant):
        raise refuse(
            403, "tenant_foreign", "Foreign tenant", f"{TENANT_HEADER} is not the key's tenant"
        )
    return principal.tenant


def require_scope(principal: Principal, scope: Scope) -> None:
    """Return when the key may be used for `scope`.

    Raises:
        ProblemError: 403 `scope_missing`.
    """
    if scope not in principal.scopes:
        raise refuse(403, "scope_missing", "Scope missing", f"the key has no scope {scope!r}")


def _named_tenant(named: str | None) -> str:
    if named is None:
        raise refuse(
            400,
            "tenant_missing",
            "No tenant",
            f"a daemon's key says in {TENANT_HEADER} for whom it asks",
        )
    if not is_tenant(named):
        raise refuse(400, "tenant_invalid", "Invalid tenant", f"{TENANT_HEADER} names no tenant")
    return named
