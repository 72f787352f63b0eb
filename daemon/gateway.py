"""The gateway: one chat turn, from the client's bytes to the upstream's and back.

Authenticate, expand, walk, resolve, hydrate, forward, stream back. What is decided stands in
`turn.py` and `splice.py`; here is the order of the awaits. Nothing goes upstream before every
blob that the turn names is known to be held.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web

from coatcheck.protocol import Call, Dialect, Digest, Json, ShortJson, Whole, prompt_root
from coatcheck.web import (
    ProblemError,
    codings_of,
    end_user_of,
    in_thread_if,
    inflate,
    provider_refusal,
    tenant_of,
)

from .account import Account
from .body import Body, OpenBlob, RawBody, SplicedBody
from .edge import Edge
from .errors import (
    BlobsNotFoundError,
    BlobUnreadableError,
    DaemonError,
    PromptNotFoundError,
    TooLargeError,
)
from .headers import own_authorities
from .incoming import Incoming
from .keeper import Keeper
from .meters import Meters
from .navigation import refuse_navigation
from .passage import Passage, headers_of, target_of
from .relay import relay
from .resolver import Resolver
from .source import PromptSource, Resolved
from .splice import splice, splice_into
from .turn import ParsedRequest, Turn, TurnLimits, build_turn, fill, loose_model, parse_request
from .upstream import Outgoing, Upstream, Upstreams
from .variants import Fitted, Fitter, Wanted
from .wish import Wish, awaited, kept_headers, wish_of


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
        passage: Passage,
        edge: Edge,
        meters: Meters,
        random: Callable[[int], bytes],
        fitter: Fitter | None = None,
    ) -> None:
        """Without a `fitter` no upstream has an image policy."""
        self._config = config
        self._resolver = resolver
        self._prompts = prompts
        self._upstreams = upstreams
        self._keeper = keeper
        self._passage = passage
        self._edge = edge
        self._meters = meters
        self._random = random
        self._fitter = fitter

    async def serve(self, dialect: Dialect, call: Call, request: web.Request) -> web.StreamResponse:
        """Serve one call, as a turn is.

        Raises:
            ProblemError: it cannot be served; the route gives the problem the provider's shape.
            BrokenAnswerError: the upstream broke off its answer.
        """
        refuse_navigation(request)
        incoming = Incoming(request)
        try:
            if upstream := await self._passing(dialect, incoming):
                return await self._pass(dialect, call, incoming, upstream)
            return await self._serve(dialect, call, incoming)
        except DaemonError as error:
            raise ProblemError(error.problem) from error
        finally:
            await incoming.close()

    async def _pass(
        self,
        dialect: Dialect,
        call: Call,
        incoming: Incoming,
        upstream: Upstream,
        raw: Whole | None = None,
    ) -> web.StreamResponse:
        """Serve a call that is not read here; `raw` is its body, where that came already."""
        if upstream.config.is_edge:
            return await self._edge.serve(dialect, call, incoming, upstream, raw)
        return await self._passage.forward(incoming, upstream, _observed(dialect, call))

    async def _passing(self, dialect: Dialect, incoming: Incoming) -> Upstream | None:
        """Return the upstream that takes the turn without its being read here.

        None when it is to be read, or when too little of it has come to know.
        """
        if not self._upstreams.has_passing(dialect.name):
            return None
        model = _path_model(dialect, incoming.request) or await incoming.model()
        found = None if model is None else self._upstreams.find(dialect.name, model)
        upstream = found or self._upstreams.blind(dialect.name)
        return upstream if upstream and not upstream.config.reads_turns else None

    async def _serve(self, dialect: Dialect, call: Call, incoming: Incoming) -> web.StreamResponse:
        request = incoming.request
        tenant = tenant_of(request)
        codings = codings_of(request)
        limit = self._config.max_request_bytes
        raw = await incoming.read(limit)
        text = await asyncio.to_thread(inflate, raw[:], codings, limit) if codings else raw
        parsed, upstream = await self._read(text, dialect, _path_model(dialect, request))
        if parsed is None:
            return await self._pass(dialect, call, incoming, upstream, raw)
        end_user = end_user_of(request) or dialect.end_user(parsed.body)
        account = self._passage.account(request, upstream, _observed(dialect, call))
        if upstream.config.observe and call.is_turn:
            sent = await in_thread_if(parsed.size, partial(account.copy_of, parsed, dialect))
            account.show(len(raw), parsed, sent)
        else:
            account.count(len(raw))
        try:
            received = Received(raw, text, parsed, tenant, end_user)
            return await self._turn(dialect, request, upstream, received, account)
        except (DaemonError, ProblemError) as error:
            account.status = error.problem.status
            raise
        finally:
            account.close()

    async def _turn(
        self,
        dialect: Dialect,
        request: web.Request,
        upstream: Upstream,
        received: "Received",
        account: Account,
    ) -> web.StreamResponse:
        parsed, tenant = received.parsed, received.tenant
        turn = await self._expand(parsed, tenant, dialect, self._origins(request))
        wish = wish_of(parsed, request)
        is_used_again = wish.is_kept or wish.is_named or turn.has_inline
        copy = partial(turn.copy_appended, puts_back=wish.is_kept)
        sent = await in_thread_if(turn.size, copy) if is_used_again else []
        fitted = await self._fit(turn, received, upstream)
        whole = None if parsed.envelope else parsed.text
        body = await self._hydrate(turn, tenant, fitted, whole)
        outgoing = _outgoing(request, upstream, received, body)
        if body is not None and body.size is not None:
            self._meters.saved(max(0, body.size - len(received.raw)))
        keeping = self._begin_keeping(turn, sent, received, dialect, wish)
        try:
            return await self._forward(request, upstream, outgoing, _told(keeping, fitted), account)
        except BlobUnreadableError as error:
            gone = await self._places(turn, tenant, error)
            account.status = gone.problem.status
            return provider_refusal(dialect.provider, gone.problem, await awaited(keeping))
        finally:
            if keeping:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def _read(
        self, text: Whole, dialect: Dialect, path_model: str | None
    ) -> tuple[ParsedRequest | None, Upstream]:
        """Parse a request and choose its upstream; None for one that is only forwarded.

        Such a request may break every rule of ours that leaves its model readable.
        """
        work = partial(parse_request, text, dialect, self._config.turn, path_model)
        try:
            parsed = await in_thread_if(len(text), work)
        except DaemonError:
            if not self._upstreams.has_passing(dialect.name):
                raise
            loose = partial(loose_model, text, dialect, path_model)
            model = await in_thread_if(len(text), loose)
            found = self._upstreams.find(dialect.name, model)
            if found is None or found.config.reads_turns:
                raise
            return None, found
        upstream = self._upstreams.choose(dialect.name, parsed.model)
        return parsed if upstream.config.reads_turns else None, upstream

    def _begin_keeping(
        self,
        turn: Turn,
        sent: Sequence[Json],
        received: "Received",
        dialect: Dialect,
        wish: Wish,
    ) -> "asyncio.Task[Mapping[str, str]] | None":
        """Keep beside the forward what was asked for, which gives headers; else absorb images."""
        tenant, end_user = received.tenant, received.end_user
        if wish.is_kept:
            keep = self._keeper.keep(tenant, dialect, turn.parent, sent, turn.origins, end_user)
            return asyncio.create_task(kept_headers(keep, wish, turn.start))
        if wish.is_named:
            absorb = self._keeper.absorb(tenant, dialect, sent, turn.origins, end_user)
            return asyncio.create_task(kept_headers(absorb, wish, turn.start))
        if turn.has_inline:
            self._keeper.absorb_later(tenant, dialect, sent, turn.origins, end_user)
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
        return await in_thread_if(parsed.size + sum(map(len, before)), work)

    async def _fit(self, turn: Turn, received: "Received", upstream: Upstream) -> Fitted:
        """Decide what goes into the turn's slots."""
        tenant, config = received.tenant, upstream.config
        resolved, files = await self._resolve(turn, tenant)
        fillings = await in_thread_if(turn.size, partial(fill, turn.slots, resolved, files))
        if config.images is None or self._fitter is None:
            return Fitted(fillings)
        wanted = Wanted(config.images, config.provider.name, received.parsed.model)
        return await self._fitter.fit(tenant, wanted, turn, fillings)

    async def _hydrate(
        self, turn: Turn, tenant: str, fitted: Fitted, whole: ShortJson | None
    ) -> Body | None:
        """Return the upstream's body; None where nothing is replaced in what the client sent.

        `whole` is what the client sent, where that is not an envelope.
        """
        if whole is not None and not fitted.fillings:
            return None
        write = splice if whole is None else partial(splice_into, whole)
        segments = await in_thread_if(
            turn.size, partial(write, turn.body, fitted.fillings, self._random(16))
        )
        open_blob: OpenBlob = partial(self._resolver.open, tenant)
        if self._fitter and fitted.variants:
            open_blob = self._fitter.opener(fitted, open_blob)
        body = SplicedBody(segments, open_blob)
        limit = self._config.max_upstream_bytes
        if body.size > limit:
            raise TooLargeError(
                "bytes for the upstream", "upstream_body_too_large", max_bytes=limit
            )
        return body

    async def _resolve(
        self, turn: Turn, tenant: str
    ) -> tuple[dict[Digest, Resolved], dict[str, Digest]]:
        """Return the blobs that the turn names and the tenant holds, and what its files name."""
        files = await self._resolver.find_files(tenant, turn.file_ids)
        return await self._resolver.resolve(tenant, turn.digests | set(files.values())), files

    async def _places(
        self, turn: Turn, tenant: str, error: BlobUnreadableError
    ) -> BlobsNotFoundError | BlobUnreadableError:
        """Say of a blob that went bad on the way where it stands, and what else is missing now."""
        resolved, files = await self._resolve(turn, tenant)
        resolved.pop(error.digest, None)
        try:
            fill(turn.slots, resolved, files)
        except BlobsNotFoundError as missing:
            return missing
        return error

    async def _forward(
        self,
        request: web.Request,
        upstream: Upstream,
        outgoing: Outgoing,
        told: Callable[[], Awaitable[Mapping[str, str]]],
        account: Account,
    ) -> web.StreamResponse:
        """Send the request; the answer's headers are joined by those that `told` returns."""
        provider = upstream.config.provider
        try:
            async with upstream.send(outgoing) as answer:
                account.status = answer.status
                return await relay(provider, request, answer, await told(), account.give)
        except BlobUnreadableError:
            raise
        except DaemonError as error:
            account.status = error.problem.status
            return provider_refusal(provider, error.problem, await told())


@dataclass(frozen=True, slots=True)
class Received:
    """A turn as it came: its body as sent (`raw`) and decoded (`text`), read, and whose it is."""

    raw: Whole
    text: Whole
    parsed: ParsedRequest
    tenant: str
    end_user: str | None
    """Whom it is for, as the request says."""


def _told(
    keeping: "asyncio.Task[Mapping[str, str]] | None", fitted: Fitted
) -> Callable[[], Awaitable[Mapping[str, str]]]:
    """Return what gives the headers that the client is told: what is kept, and what is smaller."""

    async def headers() -> Mapping[str, str]:
        return {**await awaited(keeping), **fitted.headers}

    return headers


def _outgoing(
    request: web.Request, upstream: Upstream, received: Received, body: Body | None
) -> Outgoing:
    """Return the request for the upstream; without a `body` what came goes out, coding and all."""
    is_recoded = body is not None or not upstream.config.is_remote
    return Outgoing(
        "POST",
        target_of(request, upstream),
        headers_of(request, upstream, is_recoded=is_recoded),
        body or RawBody(received.text if is_recoded else received.raw),
    )


def _path_model(dialect: Dialect, request: web.Request) -> str | None:
    """Return the model that the path names, where the dialect names it there."""
    return dialect.provider.model_of(request.path) if dialect.model_key is None else None


def _observed(dialect: Dialect, call: Call) -> str | None:
    """Return the dialect that a call is read in for the report; None: it is only counted."""
    return dialect.name if call.is_turn else None
