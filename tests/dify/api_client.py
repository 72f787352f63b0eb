"""How Dify's API talks to its plugin daemon, without Dify: what its client sends, reads and raises.

dify 01254dcd, api/core/plugin/impl/base.py and impl/model.py: one pooled httpx client, `iter_lines`, the
prefix `data:` taken off, each line one response with a code; only a frame of code -500 names an error by
its type, and that of a plugin names another inside. What Dify raises is here `DaemonError.kind`.
"""

import json
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError

from coatcheck.protocol import Json, JsonObject

from .stand import TENANT

_INVOKE_ERRORS = frozenset(
    {
        "InvokeRateLimitError",
        "InvokeAuthorizationError",
        "InvokeBadRequestError",
        "InvokeConnectionError",
        "InvokeServerUnavailableError",
        "CredentialsValidateFailedError",
    }
)
_DAEMON_ERRORS = frozenset(
    {
        "PluginDaemonInnerError",
        "PluginDaemonInternalServerError",
        "PluginDaemonBadRequestError",
        "PluginDaemonNotFoundError",
        "PluginUniqueIdentifierError",
        "PluginNotFoundError",
        "PluginDaemonUnauthorizedError",
        "PluginPermissionDeniedError",
    }
)


class DaemonError(Exception):
    """What the API would raise: `kind` is the name of its exception, `message` what it holds.

    `details` are the plugin's own arguments, which the API does not look at.
    """

    def __init__(self, kind: str, message: str, details: JsonObject | None = None) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.details: JsonObject = details or {}


class _Response(BaseModel):
    code: int
    message: str
    data: dict[str, Any] | None = None


class _Named(BaseModel):
    model_config = ConfigDict(extra="ignore")
    error_type: str
    message: str
    args: dict[str, Any] | None = None


class _AssistantMessage(BaseModel):
    role: str
    content: str | list[object] | None = ""
    tool_calls: list[object]


class _Delta(BaseModel):
    index: int
    message: _AssistantMessage
    usage: dict[str, Any] | None = None
    finish_reason: str | None = None


class Chunk(BaseModel):
    """A piece of an answer, with the fields that the API asks for: daemon 0.0.8 lacked the second."""

    model: str
    prompt_messages: list[object]
    system_fingerprint: str | None = None
    delta: _Delta


@dataclass(slots=True)
class Answer:
    """What one invocation gave: its chunks, its bytes up and down, how long it took."""

    chunks: list[Chunk] = field(default_factory=list[Chunk])
    request_bytes: int = 0
    response_bytes: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """The pieces together."""
        contents = [chunk.delta.message.content for chunk in self.chunks]
        return "".join(content for content in contents if isinstance(content, str))

    @property
    def total_tokens(self) -> Json:
        """What the last chunk says of use."""
        usage = self.chunks[-1].delta.usage
        return usage and usage["total_tokens"]


class ApiClient:
    """One API process's client. May be used by many threads; its owner closes it."""

    def __init__(
        self, url: str, key: str, plugin_id: str, tenant: str = TENANT, timeout: float = 600.0
    ) -> None:
        self._http = httpx.Client(
            base_url=url,
            limits=httpx.Limits(max_keepalive_connections=50, max_connections=100),
            timeout=timeout,
            trust_env=False,
        )
        self.tenant = tenant
        self.headers = {
            "X-Api-Key": key,
            "X-Plugin-ID": plugin_id,
            "Content-Type": "application/json",
            "Accept-Encoding": "gzip, deflate, br",
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def invoke(self, data: JsonObject, user: str = "u") -> Answer:
        """Invoke a model, and read its answer to the end.

        Raises:
            DaemonError: what the API would raise.
        """
        answer = Answer()
        for _ in self.stream(data, answer, user):
            pass
        return answer

    def stream(self, data: JsonObject, answer: Answer, user: str = "u") -> Generator[Chunk]:
        """Invoke a model; yield each chunk as it comes, while `answer` gathers.

        Raises:
            DaemonError: what the API would raise.
        """
        begun = time.monotonic()
        for said in self._pieces("llm/invoke", data, answer, user):
            chunk = Chunk.model_validate(said)
            answer.chunks.append(chunk)
            answer.seconds = time.monotonic() - begun
            yield chunk

    def count_tokens(self, data: JsonObject, user: str = "u", answer: Answer | None = None) -> int:
        """Ask the plugin for the tokens of a prompt. `data` is as for `invoke`; less of it is sent.

        `answer` gathers the bytes.

        Raises:
            DaemonError: what the API would raise.
        """
        kept = ("provider", "model_type", "model", "credentials", "prompt_messages", "tools")
        asked: JsonObject = {key: data[key] for key in kept if key in data}
        (said,) = self._pieces("llm/num_tokens", asked, answer or Answer(), user)
        tokens = said["num_tokens"]
        assert isinstance(tokens, int)
        return tokens

    def get(self, path: str) -> httpx.Response:
        """Ask the daemon for something else: a path below the tenant's."""
        return self._http.get(f"/plugin/{self.tenant}/{path}", headers=self.headers)

    def send(self, method: str, path: str, body: bytes) -> httpx.Response:
        """Send any request, and read its answer."""
        return self._http.request(method, path, headers=self.headers, content=body)

    def _pieces(
        self, path: str, data: JsonObject, answer: Answer, user: str
    ) -> Generator[JsonObject]:
        body = json.dumps({"user_id": user, "data": data}).encode()
        answer.request_bytes = len(body)
        url = f"/plugin/{self.tenant}/dispatch/{path}"
        try:
            with self._http.stream("POST", url, headers=self.headers, content=body) as response:
                for line in response.iter_lines():
                    answer.response_bytes = response.num_bytes_downloaded
                    if text := line.strip().removeprefix("data:").strip():
                        yield _read(text)
                answer.response_bytes = response.num_bytes_downloaded
        except httpx.RequestError as fault:
            said = "Request to Plugin Daemon Service failed"
            raise DaemonError("PluginDaemonInnerError", said) from fault


def _read(text: str) -> JsonObject:
    """Return a line's data, or raise what it says."""
    try:
        response = _Response.model_validate_json(text)
    except ValidationError as fault:
        raise DaemonError("ValueError", text) from fault
    if response.code == -500:
        try:
            named = _Named.model_validate_json(response.message)
        except ValidationError as fault:
            raise DaemonError("PluginDaemonInnerError", response.message) from fault
        raise _named(named)
    if response.code:
        raise DaemonError("ValueError", f"plugin daemon: {response.message}, code: {response.code}")
    if response.data is None:
        raise DaemonError("ValueError", "got empty data from plugin daemon")
    return response.data


def _named(said: _Named) -> DaemonError:
    if said.error_type != "PluginInvokeError":
        kind = said.error_type if said.error_type in _DAEMON_ERRORS else "Exception"
        return DaemonError(kind, said.message)
    inner = _Named.model_validate_json(said.message)
    if inner.error_type in _INVOKE_ERRORS:
        return DaemonError(inner.error_type, inner.message, inner.args)
    return DaemonError("PluginInvokeError", said.message, inner.args)
