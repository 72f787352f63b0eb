"""Dify's plugin daemon: what invokes the models that Dify's plugins bring.

An error at a path that dispatches to a plugin is one event of a stream of status 200, with JSON within
JSON: what the plugin raised, in what the daemon says of it. Any other path is told by its status.
Source: langgenius/dify, api/core/plugin/impl/base.py; langgenius/dify-plugin-daemon,
internal/core/plugin_daemon and pkg/entities/response.go.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict

from .errors import JsonError, SseError
from .json_value import Json, JsonObject, decode_json, encode_json
from .model_list import NoModelList
from .problem import Problem
from .provider import ToldBy
from .sse import SseReader

_POLLING = "/polling/"
_dispatches = re.compile(r"(/plugin/[^/]+|/v2/invoke)/dispatch/").match
_FAILED = -500
_INVOKE_ERROR = "PluginInvokeError"

# What Dify's API raises, and shows, by the HTTP status that other providers answer with.
_RAISED: Mapping[int, str] = MappingProxyType(
    {
        401: "InvokeAuthorizationError",
        403: "InvokeAuthorizationError",
        408: "InvokeConnectionError",
        429: "InvokeRateLimitError",
        502: "InvokeConnectionError",
        504: "InvokeConnectionError",
    }
)


class DifyError(BaseModel):
    """An error: `message` has JSON of `message`, `error_type` and `args`, and its `message` so again."""

    model_config = ConfigDict(frozen=True)

    code: int
    message: str
    data: None = None


class Dify:
    """The provider `dify`."""

    name = "dify"
    base_path = ""
    frame = "data"
    private_keys = frozenset({"credentials"})
    error_model = DifyError
    error_event_type = None
    models = NoModelList()

    def told_by(self, path: str) -> ToldBy:
        """Return that a stream tells of what is dispatched to a plugin, and JSON where that is polled."""
        if not _dispatches(path):
            return "status"
        return "body" if _POLLING in path else "stream"

    def model_of(self, path: str) -> str | None:
        """Return None: no path names a model."""
        return None

    def credential(self, api_key: str) -> tuple[str, str]:
        """Return the key in the daemon's header."""
        return "X-Api-Key", api_key

    def error(self, problem: Problem) -> JsonObject:
        """Return what Dify's API raises as the error of a model; `args` have the code and what is missing."""
        broad = "InvokeBadRequestError" if problem.status < 500 else "InvokeServerUnavailableError"
        raised: JsonObject = {
            "args": {"code": problem.code, **problem.extensions},
            "error_type": _RAISED.get(problem.status, broad),
            "message": problem.detail or problem.title,
        }
        said: JsonObject = {
            "message": _text(raised),
            "error_type": _INVOKE_ERROR,
            "args": None,
        }
        return {"code": _FAILED, "message": _text(said), "data": None}


DIFY = Dify()


def told_in_stream(body: bytes) -> JsonObject:
    """Return the `args` of the error that a stream begins with, and its `message`; {} where there is none."""
    try:
        events = SseReader().feed(body)
    except SseError:
        return {}
    frame = _object(events[0].data) if events else {}
    said = _object(frame.get("message"))
    raised = _object(said.get("message"))
    args = raised.get("args")
    return {**args, "message": raised.get("message")} if isinstance(args, dict) else {}


def _text(value: Json) -> str:
    return encode_json(value).decode()


def _object(text: Json) -> JsonObject:
    try:
        value = decode_json(text) if isinstance(text, str) else None
    except JsonError:
        return {}
    return value if isinstance(value, dict) else {}
