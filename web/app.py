"""One application from a route table."""

from collections.abc import Sequence

from aiohttp import web

from .edge import make_edge
from .keyring import Keyring, OpenKeyring
from .route import ProblemRenderer, Route, close_paths
from .server_name import name_server
from .trust import LoopbackGuard

NEEDS_LOOPBACK: web.AppKey[bool] = web.AppKey("needs_loopback", bool)
_NO_BOUND = 0


def build_app(routes: Sequence[Route], *, keyring: Keyring | None = None) -> web.Application:
    """Return the application that serves a table; a `Server` runs it.

    Without a keyring everybody is the tenant `default`, and the loopback rules of `trust` hold.
    Bodies are bounded by `body`, not by aiohttp.
    """
    guard = LoopbackGuard() if keyring is None else None
    renderers: dict[web.AbstractRoute, ProblemRenderer] = {}
    edge = make_edge(keyring or OpenKeyring(), guard, renderers)
    app = web.Application(middlewares=[edge], client_max_size=_NO_BOUND)
    app[NEEDS_LOOPBACK] = keyring is None
    app.on_response_prepare.append(name_server)
    for route in close_paths(routes):
        resource = app.router.add_resource(route.path)
        added = resource.add_route(route.method, route.handler, expect_handler=_continue_later)
        if route.render_problem is not None:
            renderers[added] = route.render_problem
    return app


async def _continue_later(request: web.Request) -> None:
    """`body_chunks` says 100 Continue, when the body is wanted."""
