"""The gateway: one chat turn, from the client's bytes to the upstream's and back.

Authenticate, expand, walk, resolve, hydrate, forward, stream back. What is decided stands in
`turn.py` and `splice.py`; here is the order of the awaits. Nothing goes upstream before every
blob that the turn names is known to be held.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TypeVar

from aiohttp import web

from coatcheck.protocol import (
    KEEP,
    PROMPT_HEADER,
    Dialect,
    Digest,
    Json,
    prompt_root,
)
from coatcheck.web import ProblemError, read_body, tenant_of

from .body import Body, RawBody, SplicedBody
from .errors import (
    BlobsNotFoundError,
    BlobUnreadableError,
    DaemonError,
    EncodingRefusedError,
    PromptNotFoundError,
    TooLargeError,
)
from .headers import own_authorities, request_headers
from .keeper import Keeper
from .relay import refusal, relay
from .resolver import Resolver
from .source import PromptSource
from .splice import splice
from .turn import ParsedRequest, Turn, TurnLimits, build_turn, fill, loose_model, parse_request
from .upstream import Outgoing, Upstream, Upstreams

_T = TypeVar("_T")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
# Reading JSON costs about 1 ms a megabyte; below this a thread costs more than it spares.
_THREAD_FROM_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Limits and names. `public_urls` are further authorities under which clients know us."""

    max_request_bytes: int = 128 * 1024 * 1024  # 2.5 x the largest body a provider takes
    # A kilobyte of refs can name any number of bytes. One blob of the largest size fits in base64.
    max_upstream_bytes: int = 1024 * 1024 * 1024
    turn: TurnLimits = field(default_factory=TurnLimits)
    public_origins: frozenset[str] = field(default_factory=frozenset[str])


class Gateway:
    """Serves chat turns for one dialect each. Owns nothing; the daemon closes its parts."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        resolver: Resolver,
        prompts: PromptSource,
        upstreams: Upstreams,
        keeper: Keeper,
        random: Callable[[int], bytes],
    ) -> None:
        self._config = config
        self._resolver = resolver
        self._prompts = prompts
        self._upstreams = upstreams
        self._keeper = keeper
        self._random = random

    async def serve(self, dialect: Dialect, path: str, request: web.Request) -> web.StreamResponse:
        """Serve one turn; `path` is where the dialect's SDK posts it, below the base URL.

        Raises:
            ProblemError: it cannot be served; the route gives the problem the dialect's shape.
            BrokenAnswerError: the upstream broke off its answer.
        """
        try:
            return await self._serve(dialect, path, request)
        except DaemonError as error:
            raise ProblemError(error.problem) from error

    async def _serve(self, dialect: Dialect, path: str, request: web.Request) -> web.StreamResponse:
        tenant = tenant_of(request, "gateway")
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise EncodingRefusedError("send the request uncompressed")
        raw = await read_body(request, self._config.max_request_bytes)
        parsed, upstream = await self._read(raw, dialect)
        headers = request_headers(request.headers.items(), upstream.config.api_key)
        outgoing = partial(Outgoing, "POST", path + _query(request), headers)
        if parsed is None:
            return await self._forward(dialect, request, upstream, outgoing(RawBody(raw)), None)
        turn = await self._expand(parsed, tenant, dialect, self._origins(request))
        is_kept = _is_kept(parsed, request)
        is_used_again = is_kept or turn.has_inline
        sent = await _heavy(turn.size, turn.copy_appended) if is_used_again else []
        body = await self._hydrate(turn, tenant, raw, is_whole=parsed.envelope is None)
        keeping = self._begin_keeping(turn, sent, tenant, dialect, is_kept=is_kept)
        try:
            return await self._forward(dialect, request, upstream, outgoing(body), keeping)
        except BlobUnreadableError as error:
            gone = await self._places(turn, tenant, error)
            return refusal(dialect, gone.problem, await _kept_headers(keeping))
        finally:
            if keeping:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _read(self, raw: bytes, dialect: Dialect) -> tuple[ParsedRequest | None, Upstream]:
        """Parse a request and choose its upstream; None for one that is only forwarded.

        Such a request may break every rule of ours that leaves its model readable.
        """
        try:
            parsed = await _heavy(len(raw), partial(parse_request, raw, dialect, self._config.turn))
        except DaemonError:
            if not self._upstreams.has_passing:
                raise
            model = await _heavy(len(raw), partial(loose_model, raw))
            upstream = self._upstreams.choose(dialect.name, model)
            if upstream.config.mode != "pass":
                raise
            return None, upstream
        upstream = self._upstreams.choose(dialect.name, parsed.model)
        return None if upstream.config.mode == "pass" else parsed, upstream

    def _begin_keeping(
        self, turn: Turn, sent: Sequence[Json], tenant: str, dialect: Dialect, *, is_kept: bool
    ) -> "asyncio.Task[Digest | None] | None":
        """Keep the messages beside the forward where that was asked for, else absorb images."""
        if is_kept:
            keep = self._keeper.keep(tenant, dialect, turn.parent, sent, turn.origins)
            return asyncio.create_task(keep)
        if turn.has_inline:
            self._keeper.absorb_later(tenant, dialect, sent, turn.origins)
        return None

    def _origins(self, request: web.Request) -> Collection[str]:
        """Authorities whose `/v1/blobs/` URLs are ours: the request's Host, by all its names."""
        return self._config.public_origins | own_authorities(request.host)

    async def _expand(
        self, parsed: ParsedRequest, tenant: str, dialect: Dialect, origins: Collection[str]
    ) -> Turn:
        before: list[str] = []
        parent = parsed.envelope.parent if parsed.envelope else None
        if parent and parent != prompt_root(dialect.name):
            kept = await self._prompts.expand(tenant, dialect.name, parent)
            if kept is None:
                raise PromptNotFoundError(parent)
            before = kept
        work = partial(build_turn, parsed, before, dialect, origins, self._config.turn)
        return await _heavy(parsed.size + sum(map(len, before)), work)

    async def _hydrate(self, turn: Turn, tenant: str, raw: bytes, *, is_whole: bool) -> Body:
        """Return the upstream's body: the client's own bytes where nothing is replaced."""
        resolved = await self._resolver.resolve(tenant, turn.digests)
        fillings = await _heavy(turn.size, partial(fill, turn.slots, resolved))
        if is_whole and not fillings:
            return RawBody(raw)
        segments = await _heavy(turn.size, partial(splice, turn.body, fillings, self._random(16)))
        body = SplicedBody(segments, partial(self._resolver.open, tenant))
        limit = self._config.max_upstream_bytes
        if body.size > limit:
            raise TooLargeError(
                "bytes for the upstream", "upstream_body_too_large", max_bytes=limit
            )
        return body

    async def _places(
        self, turn: Turn, tenant: str, error: BlobUnreadableError
    ) -> BlobsNotFoundError | BlobUnreadableError:
        """Say of a blob that went bad on the way where it stands, and what else is missing now."""
        resolved = await self._resolver.resolve(tenant, turn.digests)
        resolved.pop(error.digest, None)
        try:
            fill(turn.slots, resolved)
        except BlobsNotFoundError as missing:
            return missing
        return error

    async def _forward(
        self,
        dialect: Dialect,
        request: web.Request,
        upstream: Upstream,
        outgoing: Outgoing,
        keeping: "asyncio.Task[Digest | None] | None",
    ) -> web.StreamResponse:
        try:
            async with upstream.send(outgoing) as answer:
                return await relay(dialect, request, answer, await _kept_headers(keeping))
        except BlobUnreadableError:
            raise
        except DaemonError as error:
            return refusal(dialect, error.problem, await _kept_headers(keeping))


def _is_kept(parsed: ParsedRequest, request: web.Request) -> bool:
    asked = request.headers.get(PROMPT_HEADER, "").strip().lower()
    return parsed.envelope is not None or asked == KEEP


def _query(request: web.Request) -> str:
    """Return the query as it was written, with its mark."""
    _, mark, query = request.raw_path.partition("?")
    return mark + query


async def _kept_headers(keeping: "asyncio.Task[Digest | None] | None") -> Mapping[str, str]:
    digest = await keeping if keeping else None
    return {PROMPT_HEADER: digest} if digest else _NO_HEADERS


async def _heavy(size: int, work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work) if size >= _THREAD_FROM_BYTES else work()
