"""Google's Gemini API.

Errors are those of Google APIs: an HTTP status, the name of a canonical code, and details.
Source: the `google-genai` package, version 3, and google.rpc.Code.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from .json_value import JsonObject
from .model_list import GeminiModelList
from .problem import Problem
from .provider import ToldBy

_call = re.compile(r"/v1(?:alpha|beta)?/models/([^/]+?)(?::([A-Za-z]+))?").fullmatch
_STATUS: Mapping[int, str] = MappingProxyType(
    {
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "NOT_FOUND",
        405: "UNIMPLEMENTED",
        408: "DEADLINE_EXCEEDED",
        409: "ABORTED",
        412: "FAILED_PRECONDITION",
        423: "ABORTED",
        429: "RESOURCE_EXHAUSTED",
        501: "UNIMPLEMENTED",
        502: "UNAVAILABLE",
        503: "UNAVAILABLE",
        504: "DEADLINE_EXCEEDED",
        507: "RESOURCE_EXHAUSTED",
    }
)


class GeminiErrorDetail(BaseModel):
    """The stable code, and what a program needs to mend its request."""

    model_config = ConfigDict(frozen=True, extra="allow")

    code: str
    missing: list[dict[str, str]] | None = None


class GeminiErrorObject(BaseModel):
    """What went wrong; `code` is the HTTP status."""

    model_config = ConfigDict(frozen=True)

    code: int
    message: str
    status: str
    details: list[GeminiErrorDetail]


class GeminiError(BaseModel):
    """An error answer of the Gemini API."""

    model_config = ConfigDict(frozen=True)

    error: GeminiErrorObject


class Gemini:
    """The provider `gemini`."""

    name = "gemini"
    base_path = ""
    frame = None
    private_keys = frozenset[str]()
    error_model = GeminiError
    error_event_type = None
    models = GeminiModelList()

    def told_by(self, path: str) -> ToldBy:
        """Return that the status tells."""
        return "status"

    def model_of(self, path: str) -> str | None:
        """Return what stands between `/models/` and the method."""
        match = _call(path)
        return match[1] if match else None

    def credential(self, api_key: str) -> tuple[str, str]:
        """Return the key in Google's header."""
        return "x-goog-api-key", api_key

    def error(self, problem: Problem) -> JsonObject:
        """Return `{"error": {...}}`; its SDKs read `code`, `message`, `status` and `details`."""
        broad = "INVALID_ARGUMENT" if problem.status < 500 else "INTERNAL"
        return {
            "error": {
                "code": problem.status,
                "message": problem.detail or problem.title,
                "status": _STATUS.get(problem.status, broad),
                "details": [{"code": problem.code, **problem.extensions}],
            }
        }
