"""JSON in and out of native routes, by frozen pydantic models."""

from collections.abc import Mapping
from functools import partial
from typing import TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from coatcheck.protocol import Json, MalformedRequestError, decode_json, encode_json

from .body import read_body, require_identity
from .heavy import in_thread_if

Model = TypeVar("Model", bound=BaseModel)


def json_response(
    value: Json | BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Return a JSON response; a model's fields that are None are left out."""
    body = (
        value.model_dump_json(exclude_none=True).encode()
        if isinstance(value, BaseModel)
        else encode_json(value)
    )
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


async def read_model(request: web.Request, model: type[Model], max_bytes: int) -> Model:
    """Read a JSON body of at most `max_bytes` as a model.

    Raises:
        JsonError: it is not JSON.
        MalformedRequestError: it is not what the model asks for; `path` names where.
        ProblemError: 415, the body is compressed; see `body_chunks` for the rest.
    """
    require_identity(request)
    body = await read_body(request, max_bytes)
    return await in_thread_if(len(body), partial(_read, body, model))


def _read(body: bytes, model: type[Model]) -> Model:
    return as_model(decode_json(body), model)


def as_model(value: Json, model: type[Model]) -> Model:
    """Return a JSON value as a model.

    Raises:
        MalformedRequestError: it is not what the model asks for; `path` names where.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        path = ".".join(str(step) for step in first["loc"])
        raise MalformedRequestError(first["msg"], path) from error
