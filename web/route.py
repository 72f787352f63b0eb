"""Routes as values: a face is a sequence of them, and one process joins several faces."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from aiohttp import web
from pydantic import BaseModel

from coatcheck.protocol import Problem, Scope

from .errors import refuse

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ProblemRenderer = Callable[[web.Request, Problem, Mapping[str, str]], web.Response]
"""Makes the answer for a problem; the headers are to be added to it.

The request says in whose form, where several protocols share a path.
"""

ANY_METHOD = "*"
UNMATCHED = "unmatched"
"""What measures call the requests whose path no route has."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query or header parameter; those of the path are read from the path."""

    name: str
    description: str
    place: str = "query"
    schema: Mapping[str, str | int] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: a JSON model, or a body of a media type, or no body."""

    description: str
    content: type[BaseModel] | str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What `/openapi.json` says of a route. Every operation may also answer with an error."""

    summary: str
    tag: str
    answers: Mapping[int, Answer]
    body: type[BaseModel] | Sequence[str] | None = None
    """A JSON model, or the media types a raw body may have."""
    parameters: Sequence[Parameter] = ()
    description: str = ""
    error: type[BaseModel] | None = None
    """What the route's `render_problem` writes; None: problem details."""


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path, in aiohttp's path syntax (`/v1/blobs/{digest}`).

    The handler is an `async def`, or a `partial` of one. `operation` is None for routes that the
    document leaves out. A GET answers HEAD too, where the path has no route for it: its handler
    runs, and the body stays here.
    """

    method: str
    path: str
    handler: Handler
    operation: Operation | None = None
    render_problem: ProblemRenderer | None = None
    """Shapes every error on this route, the edge's own too; without one they are problem details.

    For paths whose clients read errors only in another protocol's form.
    """
    scope: Scope | None = field(kw_only=True)
    """What a key must be for, asked before the handler runs; None: open to all, keys or not."""
    capability: str | None = field(default=None, kw_only=True)
    """A query parameter that may stand in place of a key, because nobody can guess what it names.

    The handler then knows nobody (`is_known`), and finds out by itself whose that is.
    """


def join_routes(tables: Iterable[Sequence[Route]]) -> list[Route]:
    """Return one table of several; the first table wins a method and path that two have."""
    joined: dict[tuple[str, str], Route] = {}
    for table in tables:
        for route in table:
            joined.setdefault((route.method, route.path), route)
    return list(joined.values())


def close_paths(routes: Sequence[Route]) -> list[Route]:
    """Return the routes, and for each path HEAD where it has GET, and 405 to every other method.

    GET and HEAD are what every server has to know (RFC 9110 section 9.1). Without the 405 another
    path's catch-all would take those methods. A path that takes any method stays as it is.
    """
    paths: dict[str, dict[str, Route]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method] = route
    for path, methods in paths.items():
        if ANY_METHOD not in methods:
            if "GET" in methods:
                methods.setdefault("HEAD", replace(methods["GET"], method="HEAD", operation=None))
            methods[ANY_METHOD] = _refusal(path, methods)
    return [
        route
        for methods in paths.values()
        for route in sorted(methods.values(), key=lambda route: route.method == ANY_METHOD)
    ]


def _refusal(path: str, methods: Mapping[str, Route]) -> Route:
    """Return the route that answers 405, in the shape that the path's clients know."""
    allow = ", ".join(sorted(methods))
    renderers = (route.render_problem for route in methods.values() if route.render_problem)

    async def refuse_method(request: web.Request) -> web.StreamResponse:
        error = refuse(
            405, "method_not_allowed", "Method Not Allowed", "this path does not take this method"
        )
        error.headers = {"Allow": allow}
        raise error

    return Route(ANY_METHOD, path, refuse_method, render_problem=next(renderers, None), scope=None)
