"""What Dify's plugin daemon keeps of a request and of a chunk: the fields of its Go structs.

dify-plugin-daemon bdb5642a: pkg/entities/model_entities/llm.go, pkg/entities/requests/model.go,
pkg/entities/response.go, internal/types/exception. A field that is not named here is dropped, null is
the type's zero value, and `omitempty` leaves out; the keys stand in the structs' order.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, Field, JsonValue, model_validator
from pydantic_core import to_json


def _is_none(value: object) -> bool:
    return value is None


Omitted = Annotated[JsonValue | None, Field(exclude_if=_is_none)]
"""A field with `omitempty`."""


class _Struct(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _take_null_for_zero(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}  # pyright: ignore[reportUnknownVariableType]
        return data


class Content(_Struct):
    """One item of a message's content."""

    type: Literal["text", "image", "audio", "video", "document"]
    base64_data: str = ""
    url: str = ""
    data: str = ""
    encode_format: str = ""
    format: str = ""
    mime_type: str = ""
    detail: str = ""
    filename: str = ""
    opaque_body: Omitted = None


class _Function(_Struct):
    name: str = ""
    arguments: str = ""


class _ToolCall(_Struct):
    id: str = ""
    type: str = ""
    function: _Function = Field(default_factory=_Function)


class Message(_Struct):
    """A prompt message. A nil list of tool calls is written as null."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[Content]
    name: str = ""
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str = ""
    opaque_body: Omitted = None


class NumTokensData(_Struct):
    """What `get_llm_num_tokens` takes."""

    provider: str = Field(min_length=1)
    model: str = Field(min_length=1)
    credentials: dict[str, JsonValue] | None = None
    credential_type: Omitted = None
    prompt_messages: list[Message] | None = None
    tools: list[JsonValue] | None = None
    model_type: Literal["llm"]


class InvokeData(NumTokensData):
    """What `invoke_llm` takes."""

    model_parameters: dict[str, JsonValue] | None = None
    tool_choice: Omitted = None
    stop: list[str] | None = None
    json_schema: dict[str, JsonValue] | None = None
    stream: bool = False


_Data = TypeVar("_Data", bound=NumTokensData)


class Invocation(_Struct, Generic[_Data]):
    """The body of a request to a plugin."""

    user_id: str = ""
    conversation_id: str | None = None
    message_id: str | None = None
    app_id: str | None = None
    endpoint_id: str | None = None
    context: dict[str, JsonValue] | None = None
    data: _Data


class _Usage(_Struct):
    prompt_tokens: int
    prompt_unit_price: str
    prompt_price_unit: str
    prompt_price: str
    completion_tokens: int
    completion_unit_price: str
    completion_price_unit: str
    completion_price: str
    total_tokens: int
    total_price: str
    currency: str
    latency: float


class _Delta(_Struct):
    index: int
    message: Message
    usage: _Usage | None = None
    finish_reason: str | None = None


class Chunk(_Struct):
    """A piece of a model's answer. `prompt_messages` is dropped, and written as an empty list."""

    model: str
    system_fingerprint: str = ""
    delta: _Delta
    prompt_messages: list[None] = Field(default_factory=list[None])

    @model_validator(mode="before")
    @classmethod
    def _drop_prompt(cls, data: Mapping[str, Any]) -> Mapping[str, Any]:
        return {**data, "prompt_messages": []}


class NumTokens(_Struct):
    """The answer of `get_llm_num_tokens`."""

    num_tokens: int = 0


def marshal(value: object) -> bytes:
    """Return a value as Go's encoding/json writes it: also `<`, `>` and `&` are escaped."""
    text = to_json(value)
    return text.replace(b"<", b"\\u003c").replace(b">", b"\\u003e").replace(b"&", b"\\u0026")


def fault(error_type: str, message: str, code: int) -> dict[str, JsonValue]:
    """Return the daemon's response for an error: its message is JSON in a string."""
    said = marshal({"message": message, "error_type": error_type, "args": None}).decode()
    return {"code": code, "message": said, "data": None}


def success(data: object) -> dict[str, object]:
    """Return the daemon's response for a piece of an answer."""
    return {"code": 0, "message": "success", "data": data}


def frame(response: object) -> bytes:
    """Return a response as one server-sent event."""
    return b"data: " + marshal(response) + b"\n\n"
