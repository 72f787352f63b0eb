"""One `[[upstream]]` of the settings: where it is, whose key it takes, and on which terms.

What is secret stands in the environment and is named here; no complaint shows a value.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from coatcheck.client import DEFAULT_REQUEST_BYTES, MIN_REQUEST_BYTES
from coatcheck.daemon import (
    FileAccess,
    ImagePolicy,
    Reuse,
    Timeouts,
    UpstreamConfig,
    check_extra_headers,
)
from coatcheck.protocol import DIALECTS

from .errors import SettingsError

_TIMEOUTS = Timeouts()
_UPSTREAM = UpstreamConfig(name="")
_REUSING: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "file-id": ("openai.responses", "anthropic.messages", "gemini.generate"),
        "uuid": ("openai.chat",),
        "url": tuple(DIALECTS),
        "file": ("openai.chat", "openai.responses", "anthropic.messages"),
        "ref": ("dify.llm",),
    }
)


class TimeoutSettings(BaseModel):
    """`[upstream.timeouts]`, in seconds; see `coatcheck.daemon.Timeouts`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    connect_seconds: float = Field(default=_TIMEOUTS.connect_seconds, gt=0)
    first_byte_seconds: float = Field(default=_TIMEOUTS.first_byte_seconds, gt=0)
    idle_seconds: float = Field(default=_TIMEOUTS.idle_seconds, gt=0)
    total_seconds: float = Field(default=_TIMEOUTS.total_seconds, gt=0)


class ImageSettings(BaseModel):
    """`[upstream.images]`; see `coatcheck.daemon.ImagePolicy`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fit: Literal["provider"] | Annotated[int, Field(strict=True, ge=64, le=32_767)] = "provider"
    format: Literal["keep", "jpeg", "png", "webp"] = "keep"
    max_bytes: int | None = Field(default=None, ge=16_384)


class FromEnvironment(BaseModel):
    """A value that a variable of the environment holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: str = Field(min_length=1)


def _written(value: object) -> object:
    """Refuse what is neither form, in one sentence."""
    if isinstance(value, str | FromEnvironment):
        return value
    if isinstance(value, dict) and value.keys() == {"env"}:
        return value
    raise ValueError('must be a text, or { env = "NAME" }')


def _has_host(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.port == 0:  # asking for the port checks it
        raise ValueError("must be a URL with a host")
    return url


BaseUrl: TypeAlias = Annotated[
    str, Field(pattern=r"^https?://[^\s?#]+$"), AfterValidator(_has_host)
]
HeaderValue: TypeAlias = Annotated[str | FromEnvironment, BeforeValidator(_written)]


class UpstreamSettings(BaseModel):
    """One `[[upstream]]`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    dialect: str = "openai.chat"
    base_url: BaseUrl | None = None
    base_urls: tuple[BaseUrl, ...] = Field(default=(), max_length=64)
    spill_requests: int = Field(default=_UPSTREAM.spill_requests, ge=1)
    api_key_env: str | None = None
    headers: Mapping[str, HeaderValue] = Field(default_factory=dict[str, HeaderValue], repr=False)
    models: tuple[str, ...] = ("*",)
    reuse: Reuse = "inline"
    file_seconds: int = Field(default=_UPSTREAM.file_seconds, ge=3600, le=2_592_000)
    file_root: Path | None = None
    file_access: FileAccess = "owner"
    mode: Literal["pass", "observe", "on"] = "on"
    observe: bool = False
    history: Literal["upstream", "coatcheck"] = "upstream"
    timeouts: TimeoutSettings = TimeoutSettings()
    images: ImageSettings | None = None
    max_piece_bytes: int = Field(default=DEFAULT_REQUEST_BYTES, ge=MIN_REQUEST_BYTES)

    @field_validator("dialect")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in DIALECTS:
            raise ValueError(f"no dialect {name!r}; there are: {', '.join(DIALECTS)}")
        return name

    @model_validator(mode="after")
    def _reads_what_it_scales(self) -> Self:
        if self.images is not None and self.mode != "on":
            raise ValueError(f"images: mode {self.mode!r} forwards what comes; it takes mode 'on'")
        return self

    @model_validator(mode="after")
    def _reuses_what_it_can(self) -> Self:
        if self.reuse not in _REUSING:
            return self
        if self.mode != "on":
            raise ValueError(f"reuse: mode {self.mode!r} forwards what comes; it takes mode 'on'")
        dialects = _REUSING[self.reuse]
        if self.dialect not in dialects:
            said = " or ".join(dialects)
            raise ValueError(f"reuse: {self.reuse!r} takes dialect {said}, not {self.dialect}")
        return self

    @field_validator("file_root")
    @classmethod
    def _is_absolute(cls, root: Path | None) -> Path | None:
        if root is not None and not root.is_absolute():
            raise ValueError("must be an absolute path")
        return root

    @model_validator(mode="after")
    def _leaves_reading_to_the_remote(self) -> Self:
        if self.reuse != "coatcheck":
            return self
        for name, is_set in (
            ("images", self.images is not None),
            ("observe", self.observe),
            ("history", self.history != "upstream"),
        ):
            if is_set:
                raise ValueError(f"{name}: with reuse 'coatcheck' it is the remote's to set")
        if self.base_urls:
            raise ValueError("base_urls: reuse 'coatcheck' takes one base_url, of one store")
        return self

    @model_validator(mode="after")
    def _reads_what_it_keeps(self) -> Self:
        if self.history == "coatcheck":
            if self.mode != "on":
                raise ValueError(f"history: mode {self.mode!r} keeps nothing; it takes mode 'on'")
            if self.dialect != "openai.responses":
                raise ValueError(f"history: {self.dialect} has no ids; 'openai.responses' has")
        return self

    @model_validator(mode="after")
    def _is_somewhere(self) -> Self:
        if (self.base_url is None) == (not self.base_urls):
            raise ValueError("it takes a base_url, or base_urls")
        if len({url.rstrip("/") for url in self.base_urls}) < len(self.base_urls):
            raise ValueError("base_urls: one of them is there twice")
        return self

    @property
    def urls(self) -> tuple[str, ...]:
        """Where it is, at least once."""
        return self.base_urls if self.base_url is None else (self.base_url,)

    def config(self, environment: Mapping[str, str]) -> UpstreamConfig:
        """Return what the daemon is told of it, secrets taken from the environment.

        Raises:
            SettingsError: a variable that is named is not set, or a header may not be set.
        """
        config = UpstreamConfig(
            name=self.name,
            dialect=self.dialect,
            base_url=self.urls[0],
            base_urls=self.urls if len(self.urls) > 1 else (),
            spill_requests=self.spill_requests,
            api_key=self._from(environment, self.api_key_env) if self.api_key_env else None,
            headers=tuple(
                (name, value if isinstance(value, str) else self._from(environment, value.env))
                for name, value in self.headers.items()
            ),
            models=self.models,
            reuse=self.reuse,
            file_seconds=self.file_seconds,
            file_root=self.file_root,
            file_access=self.file_access,
            mode=self.mode,
            observe=self.observe,
            history=self.history,
            timeouts=Timeouts(**self.timeouts.model_dump()),
            images=ImagePolicy(**self.images.model_dump()) if self.images else None,
            max_piece_bytes=self.max_piece_bytes,
        )
        try:
            check_extra_headers(config.headers, config.credential)
        except ValueError as error:
            raise SettingsError(f"upstream {self.name}: headers: {error}") from error
        return config

    def _from(self, environment: Mapping[str, str], name: str) -> str:
        if value := environment.get(name):
            return value
        raise SettingsError(f"upstream {self.name}: the environment has no {name}")
