"""Upstreams: who serves a model, and on which terms."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

from multidict import CIMultiDict

from coatcheck.client import DEFAULT_REQUEST_BYTES
from coatcheck.protocol import DIALECTS, KEY_HEADER, Provider, parse_key

from .body import Body
from .errors import ModelNotFoundError, UpstreamNotFoundError
from .headers import sets_credential
from .observation import Mode
from .variants.policy import ImagePolicy

ECHO = "echo"

Reuse: TypeAlias = Literal["inline", "coatcheck", "file-id", "uuid", "url", "file", "ref"]
"""How an upstream gets blobs; see `daemon/reuse/`."""

FileAccess: TypeAlias = Literal["owner", "group", "others"]
"""Who may read the files that engines are named, beside their owner."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Patience with an upstream, in seconds."""

    connect_seconds: float = 10.0  # a host that is up answers a handshake in milliseconds
    first_byte_seconds: float = 600.0  # reasoning models think for minutes before they speak
    idle_seconds: float = 300.0  # between two pieces of a stream
    total_seconds: float = 3600.0  # from the first byte sent: bounds what a turn can hold on to


@dataclass(frozen=True, slots=True)
class UpstreamConfig:
    """One `[[upstream]]` of the settings.

    `base_url` is what the dialect's SDK takes. `models` are shell patterns. An `api_key` replaces
    the client's own; without one, the client's goes through. `headers` go with every request, in
    place of the client's of the same names; see `check_extra_headers`.
    """

    name: str
    dialect: str = "openai.chat"
    base_url: str = ""
    base_urls: tuple[str, ...] = ()
    """Where the same models are served, `base_url` first, if at several addresses."""
    spill_requests: int = 8
    """Requests that one of several replicas may run whatever the others do: engines batch some, and a
    conversation's cached beginning saves more than an idle neighbour."""
    api_key: str | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    models: tuple[str, ...] = ("*",)
    reuse: Reuse = "inline"
    """How what it has had already goes to it; `coatcheck`: it is another daemon, and this one its edge."""
    file_seconds: int = 172_800
    """How long files are to be at the provider, where `reuse` is `file-id`: two days, which is what
    Gemini gives, and longer than most conversations last."""
    file_root: Path | None = None
    """Where an engine has the folder of our files, in reuse mode `file`; None: where we have it."""
    file_access: FileAccess = "owner"
    """Who may read the files that it is named."""
    mode: Mode = "on"
    observe: bool = False
    """Whether turns in mode `on` are read for the report too, which takes some of a processor for
    each; in mode `observe` they always are."""
    history: Literal["upstream", "coatcheck"] = "upstream"
    """Who knows what `previous_response_id` names, in dialect `openai.responses` where turns are read."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    images: ImagePolicy | None = None
    """What becomes of images that are larger than it uses, in mode `on`; None: they go as they are."""
    max_piece_bytes: int = DEFAULT_REQUEST_BYTES
    """Of an edge: the most that one request takes of a blob, until less turns out to get through."""

    @property
    def has_address(self) -> bool:
        """Whether it is at an address: `echo` is not, and takes nothing but turns."""
        return bool(self.base_url)

    @property
    def provider(self) -> Provider:
        """Whose API it has."""
        return DIALECTS[self.dialect].provider

    @property
    def is_coatcheck(self) -> bool:
        """Whether it is another daemon, which knows our headers and keys."""
        return self.reuse == "coatcheck"

    @property
    def is_edge(self) -> bool:
        """Whether its turns are shortened here, and read by the daemon that it is."""
        return self.is_coatcheck and self.mode == "on"

    @property
    def reads_turns(self) -> bool:
        """Whether its turns are read here, whole: others pass, or are an edge's."""
        return self.mode == "on" and not self.is_coatcheck

    @property
    def own_key(self) -> str | None:
        """Our key for another daemon, which rides beside the provider's key that a client sends."""
        return self.api_key if self.is_coatcheck and parse_key(self.api_key or "") else None

    @property
    def credential(self) -> tuple[str, str] | None:
        """The header that carries its key; None where the client's own goes through."""
        if self.api_key is None:
            return None
        if self.own_key is not None:
            return KEY_HEADER, self.own_key
        return self.provider.credential(self.api_key)

    @property
    def replaces_key(self) -> bool:
        """Whether the provider's key that a client sends gives way to one of its own."""
        return (self.api_key is not None and self.own_key is None) or sets_credential(self.headers)

    @property
    def shares_files(self) -> bool:
        """Whether files of all tenants are at the provider, under one key."""
        return self.reuse == "file-id" and self.replaces_key

    def takes(self, model: str) -> bool:
        """Whether a model is one of its."""
        return any(fnmatchcase(model, pattern) for pattern in self.models)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request to an upstream.

    `path` goes behind its base URL as it is, with the query. Without a body there is no
    Content-Length either; an empty body has one.
    """

    method: str
    path: str
    headers: Sequence[tuple[str, str]]
    body: Body | None
    is_turn: bool = False
    """Whether any of several replicas may take it; else one of them that stays the same."""
    root: bytes | None = None
    """Of a turn's conversation, whose turns prefer one replica."""


class Answer(Protocol):
    """An upstream's answer whose headers have come."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def headers(self) -> "Mapping[str, str]":
        """Headers as they came, possibly repeated."""
        ...

    def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body as it comes, undecoded. May be iterated once.

        Raises:
            UpstreamCutError: it broke off.
            UpstreamTimeoutError: it fell silent.
        """
        ...


class Upstream(Protocol):
    """A model provider, or something that speaks like one."""

    @property
    def config(self) -> UpstreamConfig:
        """Its settings."""
        ...

    def send(self, outgoing: Outgoing) -> AbstractAsyncContextManager[Answer]:
        """Send a request; entering returns the answer's headers, leaving lets go of it.

        Raises:
            UpstreamError: there is no answer.
            BlobUnreadableError: a blob of the body turned out bad.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. May be called twice."""
        ...


class Upstreams:
    """All upstreams, in the order of the settings; owns and closes them.

    A dialect's turns go to the upstreams of that dialect. Where there is none, those of its
    provider's other dialects take them: its API has one address.
    """

    def __init__(self, upstreams: Sequence[Upstream]) -> None:
        self._upstreams = tuple(upstreams)
        self._serving: Mapping[str, Sequence[Upstream]] = {
            name: self._find_serving(name) for name in DIALECTS
        }
        self._having_passing = frozenset(
            name
            for name, serving in self._serving.items()
            if any(not upstream.config.reads_turns for upstream in serving)
        )

    def has_passing(self, dialect: str) -> bool:
        """Whether any upstream takes turns of a dialect without their being read here."""
        return dialect in self._having_passing

    def find(self, dialect: str, model: str) -> Upstream | None:
        """Return the first upstream of the dialect whose patterns match the model."""
        fitting = (up for up in self._serving[dialect] if up.config.takes(model))
        return next(fitting, None)

    def choose(self, dialect: str, model: str) -> Upstream:
        """Return the first upstream of the dialect whose patterns match the model.

        Raises:
            ModelNotFoundError: none does.
            UpstreamNotFoundError: none of its provider's is configured.
        """
        serving = self._serving[dialect]
        if upstream := next((up for up in serving if up.config.takes(model)), None):
            return upstream
        if not any(upstream.config.has_address for upstream in serving):
            raise UpstreamNotFoundError(f"no upstream of dialect {dialect} is configured")
        raise ModelNotFoundError(f"no upstream of dialect {dialect} serves {model[:120]!r}")

    def blind(self, dialect: str) -> Upstream | None:
        """Return who takes turns of a dialect that fit nobody, or whose model cannot be read.

        The first remote upstream; None where a model could belong to one whose turns are read here.
        Those behind one that takes every model are never reached.
        """
        first: Upstream | None = None
        for upstream in self._serving[dialect]:
            config = upstream.config
            if not config.has_address:
                continue
            if config.reads_turns:
                return None
            first = first or upstream
            if "*" in config.models:
                break
        return first

    def of_dialect(self, dialect: str) -> Sequence[Upstream]:
        """Return the remote upstreams that take turns of a dialect, in order."""
        return [upstream for upstream in self._serving[dialect] if upstream.config.has_address]

    def remote(self, provider: Provider) -> Sequence[Upstream]:
        """Return the remote upstreams of a provider, in order."""
        return [
            upstream
            for upstream in self._upstreams
            if upstream.config.has_address and upstream.config.provider.name == provider.name
        ]

    def of_provider(self, provider: Provider, dialect: str | None) -> Sequence[Upstream]:
        """Return the remote upstreams of a provider, in order, those of the dialect first.

        Raises:
            UpstreamNotFoundError: there is none.
        """
        found = self.remote(provider)
        if not found:
            raise UpstreamNotFoundError(f"no upstream of {provider.name} is configured")
        return sorted(found, key=lambda upstream: upstream.config.dialect != dialect)

    def having(self, reuse: Reuse) -> Sequence[Upstream]:
        """Return the upstreams that get blobs in one way."""
        return [upstream for upstream in self._upstreams if upstream.config.reuse == reuse]

    def reuses(self) -> Sequence[str]:
        """Return the ways in which any upstream gets blobs; what is another daemon gets refs."""
        configs = [upstream.config for upstream in self._upstreams]
        return list(dict.fromkeys(each.reuse for each in configs if not each.is_coatcheck))

    def of_model(self, provider: Provider, model: str) -> Upstream | None:
        """Return who takes turns of a model, in the first of a provider's dialects that has one."""
        found = (self.find(dialect, model) for dialect in _dialects_of(provider))
        return next((upstream for upstream in found if upstream), None)

    def reaches(self, provider: Provider, model: str, upstream: Upstream) -> bool:
        """Whether turns of a model go to this upstream, in any of its provider's dialects."""
        return any(self.find(dialect, model) is upstream for dialect in _dialects_of(provider))

    def _find_serving(self, name: str) -> Sequence[Upstream]:
        """Return who takes turns of a dialect, in order."""
        own = [upstream for upstream in self._upstreams if upstream.config.dialect == name]
        if any(upstream.config.has_address for upstream in own):
            return own
        provider = DIALECTS[name].provider.name
        return own + [
            upstream
            for upstream in self._upstreams
            if upstream.config.has_address and upstream.config.provider.name == provider
        ]

    async def close(self) -> None:
        """Close every upstream. May be called twice."""
        for upstream in self._upstreams:
            await upstream.close()


def _dialects_of(provider: Provider) -> Sequence[str]:
    return [name for name, spoken in DIALECTS.items() if spoken.provider.name == provider.name]


Headers = CIMultiDict[str]
