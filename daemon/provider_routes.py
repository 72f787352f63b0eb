"""The routes of providers' paths: turns, models, and everything else, which passes."""

from functools import partial

from coatcheck.protocol import DIALECTS, Call, Dialect
from coatcheck.web import ANY_METHOD, Answer, Operation, Route

from .gateway import Gateway
from .models import Models
from .passage import PASSING_PATHS, Passage, render_problem

_MODEL_LISTS = tuple(f"/{version}/models" for version in ("v1", "v1beta", "v1alpha"))
_MODELS = tuple(f"{path}/{{model:.+}}" for path in _MODEL_LISTS)


def turn_routes(gateway: Gateway) -> list[Route]:
    """Return the route of every call of every dialect."""
    return [
        _turn_route(gateway, spoken, call) for spoken in DIALECTS.values() for call in spoken.calls
    ]


def model_routes(models: Models) -> list[Route]:
    """Return the routes of models; those of turns with a model in their path go first."""
    listing = Operation(
        "List the models that can be named",
        "gateway",
        {200: Answer("a page, as the provider that is meant writes it")},
        description="Of all upstreams of that provider, merged; Coatcheck-Models-Missing names "
        "those that gave no list.",
    )
    one = Operation(
        "Describe a model", "gateway", {200: Answer("the upstream's answer, as it came")}
    )
    return [
        Route("GET", path, handler, operation, render_problem=render_problem, scope="gateway")
        for paths, handler, operation in (
            (_MODEL_LISTS, models.list, listing),
            (_MODELS, models.get, one),
        )
        for path in paths
    ]


def passing_routes(passage: Passage) -> list[Route]:
    """Return the routes for every path of a provider's; a path's own route goes first."""
    turn_paths = [call.path for spoken in DIALECTS.values() for call in spoken.calls]
    own_paths = (*turn_paths, *_MODEL_LISTS, *_MODELS)
    return [
        Route(ANY_METHOD, path, passage.serve, render_problem=render_problem, scope="gateway")
        for path in (*own_paths, *PASSING_PATHS)
    ]


def _turn_route(gateway: Gateway, spoken: Dialect, call: Call) -> Route:
    operation = Operation(
        call.summary,
        "gateway",
        {200: Answer("the upstream's answer, as it came")},
        body=["application/json"],
        error=spoken.provider.error_model,
        description=f"Dialect {spoken.name}: attachments may be refs, and the message list "
        "may be an envelope.",
    )
    return Route(
        "POST",
        call.path,
        partial(gateway.serve, spoken, call),
        operation,
        render_problem=render_problem,
        scope="gateway",
    )
