"""OpenAI's API, and that of its many compatible speakers.

Source: the `openai` package, version 3.
"""

from pydantic import BaseModel, ConfigDict

from .json_value import JsonObject
from .model_list import OpenAIModelList
from .problem import Problem
from .provider import ToldBy, listed_model

# The second is what the first was called before.
END_USER_KEYS = ("safety_identifier", "user")


class OpenAIErrorObject(BaseModel):
    """What went wrong; `missing` lists what to upload."""

    model_config = ConfigDict(frozen=True, extra="allow")

    message: str
    type: str
    param: str | None = None
    code: str | None = None
    missing: list[dict[str, str]] | None = None


class OpenAIError(BaseModel):
    """An error answer of OpenAI's API."""

    model_config = ConfigDict(frozen=True)

    error: OpenAIErrorObject


class OpenAI:
    """The provider `openai`."""

    name = "openai"
    base_path = "/v1"
    frame = None
    private_keys = frozenset[str]()
    error_model = OpenAIError
    error_event_type = None
    models = OpenAIModelList()

    def told_by(self, path: str) -> ToldBy:
        """Return that the status tells."""
        return "status"

    def model_of(self, path: str) -> str | None:
        """Return what follows `/v1/models/`; a model's name may have slashes."""
        return listed_model(path)

    def credential(self, api_key: str) -> tuple[str, str]:
        """Return the key as a bearer token."""
        return "Authorization", f"Bearer {api_key}"

    def error(self, problem: Problem) -> JsonObject:
        """Return `{"error": {...}}`; clients read `message`, `type`, `param` and `code`."""
        extensions = dict(problem.extensions)
        return {
            "error": {
                "message": problem.detail or problem.title,
                "type": "invalid_request_error" if problem.status < 500 else "server_error",
                "param": extensions.pop("path", None),
                "code": problem.code,
                **extensions,
            }
        }
