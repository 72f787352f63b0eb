"""One application from a route table."""

from collections.abc import Sequence

from aiohttp import web

from .edge import Gate, make_edge
from .keyring import Keyring, OpenKeyring
from .passed_answer import keep_untyped
from .route import UNMATCHED, Route, close_paths
from .server_name import name_server

KEYRING: web.AppKey[Keyring] = web.AppKey("keyring")
_NO_BOUND = 0
_ANY_PATH = "/{path:(?s:.*)}"


def build_app(
    routes: Sequence[Route], *, keyring: Keyring | None = None, gate: Gate | None = None
) -> web.Application:
    """Return the application that serves a table; a `Server` runs it.

    Without a keyring everybody is the tenant `default`, and the loopback rules of `trust` hold, as
    they do for every keyring that has no keys. The `gate` is asked before the keyring. Bodies are
    bounded by `body`, not by aiohttp.
    """
    keyring = keyring or OpenKeyring()
    table: dict[web.AbstractRoute, Route] = {}
    edge = make_edge(keyring, table, gate)
    app = web.Application(middlewares=[edge], client_max_size=_NO_BOUND)
    app[KEYRING] = keyring
    app.on_response_prepare.extend((name_server, keep_untyped))
    for route in close_paths(routes):
        resource = app.router.add_resource(route.path)
        added = resource.add_route(route.method, route.handler, expect_handler=_continue_later)
        table[added] = route
    # aiohttp's own route for paths that nobody has would say 100 Continue at once.
    unmatched = app.router.add_resource(_ANY_PATH, name=UNMATCHED)
    unmatched.add_route("*", _refuse_path, expect_handler=_continue_later)
    return app


async def _refuse_path(request: web.Request) -> web.StreamResponse:
    raise web.HTTPNotFound


async def _continue_later(request: web.Request) -> None:
    """`body_chunks` says 100 Continue, when the body is wanted."""
