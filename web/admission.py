"""Who is let in: decided before a handler runs, by the key and the scope of the route."""

from collections.abc import Mapping

from aiohttp import web

from coatcheck.protocol import Problem, Scope

from .credential import Credential, credential_of
from .errors import ProblemError, refuse
from .keyring import PRINCIPAL, Keyring, require_scope
from .trust import (
    FOREIGN_ORIGIN,
    FOREIGN_ORIGIN_OF_BROWSER,
    LoopbackGuard,
    is_link,
    is_of_other_origin,
    is_own_origin,
)

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1


async def admit(
    request: web.Request,
    scope: Scope | None,
    keyring: Keyring,
    guard: LoopbackGuard,
    capability: str | None = None,
) -> None:
    """Find out who asks, and remember it for `tenant_of`; return when they may.

    Without a scope everybody may, and no key is looked at: health is told while keys cannot be.
    Without keys the loopback rules decide. With keys a browser's login is refused to the pages of
    others, where it could change something: browsers send it whoever asks. In both cases the pages
    of others may link to those of this server and to what is open, and to nothing else.
    Who has no key, and has the query parameter `capability`, is let in as nobody: `Route.capability`.

    Raises:
        ProblemError: 401 `key_missing`, `key_invalid`; 403 `scope_missing`, `host_foreign`,
            `origin_foreign`; what the keyring raises.
    """
    if scope is None:
        if keyring.is_open:
            _keep_out(guard.refusal(request.headers) or _embedded(request, scope, FOREIGN_ORIGIN))
        return
    credential = credential_of(request)
    principal = await keyring.identify(credential.secret if credential else None)
    if principal is None:
        if credential is None and capability is not None and capability in request.query:
            return
        raise _unauthorized(credential, scope)
    if principal.is_open:
        _keep_out(guard.refusal(request.headers) or _embedded(request, scope, FOREIGN_ORIGIN))
    elif credential is not None and credential.is_ambient:
        _keep_out(_forged(request) or _embedded(request, scope, FOREIGN_ORIGIN_OF_BROWSER))
    require_scope(principal, scope)
    request[PRINCIPAL] = principal


def _keep_out(problem: Problem | None) -> None:
    if problem is not None:
        raise ProblemError(problem)


def _forged(request: web.Request) -> Problem | None:
    """Refuse what another site's page may have made a browser change by its login."""
    if request.method in _SAFE_METHODS or is_own_origin(request.headers):
        return None
    return FOREIGN_ORIGIN_OF_BROWSER


def _embedded(request: web.Request, scope: Scope | None, refusal: Problem) -> Problem | None:
    """Refuse what a page of another origin asks for, unless it links to a page of this server."""
    if not is_of_other_origin(request.headers):
        return None
    has_pages = scope in (None, "admin")
    is_linked = request.method in ("GET", "HEAD") and is_link(request.headers)
    return None if has_pages and is_linked else refusal


def _unauthorized(credential: Credential | None, scope: Scope) -> ProblemError:
    if credential is None:
        error = refuse(
            401, "key_missing", "No key", "the request carries no key of this server (cck_..)"
        )
    else:
        error = refuse(
            401, "key_invalid", "No valid key", "the key is unknown, revoked or has expired"
        )
    error.headers = _challenge(scope)
    return error


def _challenge(scope: Scope) -> Mapping[str, str]:
    """Return what a 401 has to say (RFC 9110 section 11.6.1); browsers ask for a login on Basic."""
    scheme = "Basic" if scope == "admin" else "Bearer"
    return {"WWW-Authenticate": f'{scheme} realm="Coatcheck"'}
