"""Anthropic's API.

Source: the `anthropic` package, version 2: types/shared/error_type.py, error_details.py.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from pydantic import BaseModel, ConfigDict

from .json_value import JsonObject
from .model_list import AnthropicModelList
from .problem import Problem
from .provider import ToldBy, listed_model

_TYPES: Mapping[int, str] = MappingProxyType(
    {
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        504: "timeout_error",
    }
)


class AnthropicErrorDetails(BaseModel):
    """The stable code, and what a program needs to mend its request."""

    model_config = ConfigDict(frozen=True, extra="allow")

    error_code: str
    missing: list[dict[str, str]] | None = None


class AnthropicErrorObject(BaseModel):
    """What went wrong."""

    model_config = ConfigDict(frozen=True)

    type: str
    message: str
    details: AnthropicErrorDetails


class AnthropicError(BaseModel):
    """An error answer of Anthropic's API."""

    model_config = ConfigDict(frozen=True)

    type: Literal["error"] = "error"
    error: AnthropicErrorObject


class Anthropic:
    """The provider `anthropic`."""

    name = "anthropic"
    base_path = ""
    frame = None
    private_keys = frozenset[str]()
    error_model = AnthropicError
    error_event_type = "error"
    models = AnthropicModelList()

    def told_by(self, path: str) -> ToldBy:
        """Return that the status tells."""
        return "status"

    def model_of(self, path: str) -> str | None:
        """Return what follows `/v1/models/`."""
        return listed_model(path)

    def credential(self, api_key: str) -> tuple[str, str]:
        """Return the key in the header that every version of the API takes."""
        return "x-api-key", api_key

    def error(self, problem: Problem) -> JsonObject:
        """Return the error; its SDKs read `type`, `message` and `details.error_code`."""
        broad = "invalid_request_error" if problem.status < 500 else "api_error"
        return {
            "type": "error",
            "error": {
                "type": _TYPES.get(problem.status, broad),
                "message": problem.detail or problem.title,
                "details": {"error_code": problem.code, **problem.extensions},
            },
        }
