"""`/openapi.json`: the route table and its pydantic models as an OpenAPI 3.1 document.

The document is made from what the routes are served with, so the two cannot disagree.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from aiohttp import web
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from coatcheck.protocol import PROBLEM_TYPE, Digest, Json, JsonObject

from .json_answer import json_response
from .route import ANY_METHOD, Answer, Operation, Route

_SCHEMA = "#/components/schemas/{model}"
_PROBLEM = "Problem"
_parameters = re.compile(r"\{(\w+)(?::[^}]*)?\}")


def openapi_document(routes: Sequence[Route], *, title: str, version: str) -> JsonObject:
    """Return the document for the routes that have an operation."""
    described = [(route, route.operation) for route in routes if route.operation is not None]
    paths: dict[str, JsonObject] = {}
    for route, operation in described:
        if route.method != ANY_METHOD:
            path = _parameters.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = _operation(route, operation)
    schemas = _schemas(operation for _, operation in described)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version},
        "paths": cast(JsonObject, paths),
        "components": {"schemas": {**schemas, _PROBLEM: _problem_schema()}},
    }


def openapi_route(routes: Sequence[Route], *, title: str, version: str) -> Route:
    """Return the route that serves the document of `routes` and of itself.

    The document is made when it is first asked for, in a thread: that takes longer than a turn.
    """
    made: list[JsonObject] = []

    async def serve(request: web.Request) -> web.StreamResponse:
        if not made:
            described = [*routes, route]
            made.append(
                await asyncio.to_thread(openapi_document, described, title=title, version=version)
            )
        return json_response(made[0])

    operation = Operation(
        "Describe the routes", "meta", {200: Answer("an OpenAPI document", "application/json")}
    )
    route = Route("GET", "/openapi.json", serve, operation, scope=None)
    return route


def _operation(route: Route, operation: Operation) -> JsonObject:
    described: JsonObject = {
        "operationId": f"{route.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', route.path)}",
        "summary": operation.summary,
        "tags": [operation.tag],
        "responses": {
            **{str(status): _answer(answer) for status, answer in operation.answers.items()},
            "default": _error(operation.error),
        },
    }
    if operation.description:
        described["description"] = operation.description
    if parameters := [*_path_parameters(route.path), *_other_parameters(operation)]:
        described["parameters"] = parameters
    if operation.body is not None:
        described["requestBody"] = {"required": True, "content": _body(operation.body)}
    return described


def _path_parameters(path: str) -> Iterator[JsonObject]:
    for name in _parameters.findall(path):
        kind = Digest if name == "digest" else str
        schema = TypeAdapter(kind).json_schema()
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _other_parameters(operation: Operation) -> Iterator[JsonObject]:
    for parameter in operation.parameters:
        yield {
            "name": parameter.name,
            "in": parameter.place,
            "description": parameter.description,
            "schema": dict(parameter.schema),
        }


def _answer(answer: Answer) -> JsonObject:
    described: JsonObject = {"description": answer.description}
    if answer.content is not None:
        content = answer.content
        described["content"] = _body([content] if isinstance(content, str) else content)
    return described


def _error(model: type[BaseModel] | None) -> JsonObject:
    if model is not None:
        return {"description": "An error", "content": _body(model)}
    schema: JsonObject = {"$ref": _SCHEMA.format(model=_PROBLEM)}
    return {"description": "A problem", "content": {PROBLEM_TYPE: {"schema": schema}}}


def _problem_schema() -> JsonObject:
    return {
        "type": "object",
        "description": "Problem details (RFC 9457). `code` is stable; other members depend on it.",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string"},
            "detail": {"type": "string"},
        },
    }


def _body(body: type[BaseModel] | Sequence[str]) -> JsonObject:
    if isinstance(body, type):
        return {"application/json": {"schema": {"$ref": _SCHEMA.format(model=body.__name__)}}}
    return {media_type: {} for media_type in body}


def _schemas(operations: Iterable[Operation]) -> JsonObject:
    models: dict[type[BaseModel], None] = {}
    for operation in operations:
        contents = [answer.content for answer in operation.answers.values()]
        for content in (operation.body, operation.error, *contents):
            if isinstance(content, type):
                models[content] = None
    _, schema = models_json_schema(
        [(model, "serialization") for model in models], ref_template=_SCHEMA
    )
    return cast(dict[str, Json], schema.get("$defs", {}))
