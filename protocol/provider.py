"""Providers: who is behind a path, how it is asked, and how its errors look.

A dialect is one format of messages; a provider is the API around it, whose every other path passes
through us unread. Adding one adds a module, and a line in `providers.py`.
"""

from typing import Literal, Protocol, TypeAlias

from pydantic import BaseModel

from .json_value import JsonObject, encode_json
from .model_list import ModelList
from .problem import Problem
from .sse import write_event

_MODELS = "/v1/models/"

ToldBy: TypeAlias = Literal["status", "body", "stream"]
"""What tells of an error: the HTTP status; or JSON, or the one event of a stream, of status 200."""


class Provider(Protocol):
    """One provider's API. It keeps no state."""

    @property
    def name(self) -> str:
        """The name, such as `openai`."""
        ...

    @property
    def base_path(self) -> str:
        """What the base URL that its SDK takes has already: the path `/v1` for one, or nothing."""
        ...

    @property
    def frame(self) -> str | None:
        """The top-level key of the object that has what is asked; None where the body itself has it."""
        ...

    @property
    def private_keys(self) -> frozenset[str]:
        """The keys beside a message list whose values are never kept, lower case; see `is_private`."""
        ...

    @property
    def error_model(self) -> type[BaseModel]:
        """The model of an error answer's body, for the description of routes."""
        ...

    @property
    def error_event_type(self) -> str | None:
        """The `event` field of an error in a stream; None for an event of `data` alone."""
        ...

    @property
    def models(self) -> ModelList:
        """How it lists its models."""
        ...

    def told_by(self, path: str) -> ToldBy:
        """Return where its clients read that a request for a path failed."""
        ...

    def model_of(self, path: str) -> str | None:
        """Return the model that a path names."""
        ...

    def credential(self, api_key: str) -> tuple[str, str]:
        """Return the header that carries a key of this provider's."""
        ...

    def error(self, problem: Problem) -> JsonObject:
        """Return the body of an error answer, all of it inside what the SDKs keep."""
        ...


def is_private(key: str, provider: Provider) -> bool:
    """Whether a key's value, such as credentials, is never kept.

    In any case of its letters: Go, which Dify's plugin daemon is written in, reads keys so (encoding/json,
    Unmarshal).
    """
    return bool(provider.private_keys) and key.casefold() in provider.private_keys


def error_event(provider: Provider, problem: Problem) -> bytes:
    """Return the event that ends a stream which cannot go on; the provider's SDKs raise it."""
    return write_event(encode_json(provider.error(problem)).decode(), provider.error_event_type)


def listed_model(path: str) -> str | None:
    """Return what follows `/v1/models/`; a model's name may have slashes."""
    return path.removeprefix(_MODELS) if path.startswith(_MODELS) else None
