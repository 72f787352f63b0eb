"""The gateway: one chat turn, from the client's bytes to the upstream's and back.

Authenticate, expand, walk, resolve, hydrate, forward, stream back; the last three are those of
`last_hop.py`. What is decided stands in `turn.py`; here is the order of the awaits. Nothing goes upstream before every
blob that the turn names is known to be held.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from aiohttp import web

from coatcheck.protocol import (
    PROMPT_HEADER,
    Call,
    Dialect,
    Digest,
    Envelope,
    Whole,
    prompt_root,
)
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
from .answers import AnsweredTurn, AnswerLimits, Answers, Named
from .edge import Edge
from .errors import (
    BlobsNotFoundError,
    BlobUnreadableError,
    DaemonError,
    PromptNotFoundError,
)
from .fields import Fields
from .guardian import Guardian
from .headers import own_authorities
from .history import Continued, History, NamedTurn
from .incoming import Incoming
from .keeper import Keeper
from .last_hop import LastHop
from .meters import Meters
from .navigation import refuse_navigation
from .passage import Passage
from .received import Received
from .relay import Tap
from .resolver import Resolver
from .reuse import Modes
from .root import conversation_root
from .sent import Sent, sent_of
from .source import PromptSource, Resolved
from .turn import (
    ParsedRequest,
    Recalled,
    Turn,
    TurnLimits,
    build_turn,
    fill,
    loose_model,
    parse_request,
)
from .upstream import Upstream, Upstreams
from .variants import Fitted, Fitter, Wanted
from .wish import Wish, awaited, kept_headers, wish_of


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Limits and names. `public_urls` are further authorities under which clients know us."""

    max_request_bytes: int = 128 * 1024 * 1024  # 2.5 x the largest body a provider takes
    # A kilobyte of refs can name any number of bytes. One blob of the largest size fits in base64.
    max_upstream_bytes: int = 1024 * 1024 * 1024
    turn: TurnLimits = field(default_factory=TurnLimits)
    answers: AnswerLimits = field(default_factory=AnswerLimits)
    public_origins: frozenset[str] = field(default_factory=frozenset[str])


class Gateway:
    """Serves chat turns for one dialect each. Owns nothing; the daemon closes its parts."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        resolver: Resolver,
        prompts: PromptSource,
        fields: Fields,
        upstreams: Upstreams,
        keeper: Keeper,
        answers: Answers,
        passage: Passage,
        edge: Edge,
        meters: Meters,
        random: Callable[[int], bytes],
        guardian: Guardian,
        modes: Modes,
        fitter: Fitter | None = None,
        history: History | None = None,
    ) -> None:
        """Without a `fitter` no upstream has an image policy; without `history` none leaves that to us."""
        self._config = config
        self._resolver = resolver
        self._prompts = prompts
        self._fields = fields
        self._upstreams = upstreams
        self._keeper = keeper
        self._answers = answers
        self._passage = passage
        self._edge = edge
        self._fitter = fitter
        self._history = history
        self._guardian = guardian
        limit = config.max_upstream_bytes
        self._last_hop = LastHop(modes, resolver, fitter, meters, random, limit)

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
        account = self._passage.account(request, upstream, _observed(dialect, call))
        if upstream.config.observe and call.is_turn:
            sent = await in_thread_if(parsed.size, partial(account.copy_of, parsed, dialect))
            account.show(len(raw), parsed, sent)
        else:
            account.count(len(raw))
        try:
            received = Received(raw, text, parsed, tenant, end_user_of(request), call)
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
        received: Received,
        account: Account,
    ) -> web.StreamResponse:
        parsed, tenant = received.parsed, received.tenant
        continued = await self._continued(parsed, tenant, dialect, upstream)
        with continued.naming():
            turn = await self._expand(continued.request, tenant, dialect, self._origins(request))
        # Whoever takes bytes in does so for the same one: the last hop, the keeper, and the answer's tap.
        end_user = received.end_user or dialect.end_user(turn.body)
        received = replace(received, end_user=end_user)
        wish = wish_of(parsed, request)
        if received.call.is_turn and self._keeps(parsed, dialect, upstream):
            wish = replace(wish, is_kept=True)
        is_used_again = wish.is_kept or wish.is_named or turn.has_inline
        copy = partial(sent_of, turn, received, dialect, is_kept=wish.is_kept)
        sent = await in_thread_if(turn.size, copy) if is_used_again else None
        outline = await self._guardian.outline(turn, received, dialect) if wish.is_guarded else None
        fitted = await self._fit(turn, received, upstream)
        root = await _root(dialect, turn, upstream)
        served = replace(received, parsed=continued.request)
        leaving = await self._last_hop.prepare(request, upstream, served, turn, fitted, root)
        keeping = self._begin_keeping(sent, tenant, dialect, wish) if sent else None
        guarding = (
            asyncio.create_task(self._guardian.headers(outline, upstream)) if outline else None
        )
        tap = partial(self._tap, dialect, upstream, received, wish)
        told = _told(keeping, guarding, fitted)
        try:
            return await self._last_hop.forward(leaving, told, account, tap)
        except BlobUnreadableError as error:
            gone = await self._places(turn, tenant, error)
            account.status = gone.problem.status
            return provider_refusal(dialect.provider, gone.problem, await awaited(keeping))
        finally:
            beside = [task for task in (keeping, guarding) if task]
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)

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
        self, sent: Sent, tenant: str, dialect: Dialect, wish: Wish
    ) -> "asyncio.Task[Mapping[str, str]] | None":
        """Keep beside the forward what was asked for, which gives headers; else absorb images."""
        messages, origins, end_user = sent.messages, sent.origins, sent.end_user
        if wish.is_kept:
            keep = self._keeper.keep(
                tenant, dialect, sent.parent, messages, origins, end_user, sent.beside
            )
            return asyncio.create_task(kept_headers(keep, wish, sent.start))
        if wish.is_named:
            absorb = self._keeper.absorb(tenant, dialect, messages, origins, end_user)
            return asyncio.create_task(kept_headers(absorb, wish, sent.start))
        self._keeper.absorb_later(tenant, dialect, messages, origins, end_user)
        return None

    def _tap(
        self,
        dialect: Dialect,
        upstream: Upstream,
        received: Received,
        wish: Wish,
        told: Mapping[str, str],
    ) -> Tap | None:
        """Return what taps the answer to a turn, given what the client is told of it."""
        call, prompt = received.call, told.get(PROMPT_HEADER)
        if not call.is_turn:
            return None
        tenant = received.tenant
        end_user = received.end_user
        named: Named | None = None
        if self._history and self._keeps(received.parsed, dialect, upstream):
            named = partial(self._history.name, NamedTurn(tenant, upstream.config.name, end_user))
        return self._answers.tap(
            AnsweredTurn(
                tenant,
                dialect,
                end_user,
                Digest(prompt) if prompt else None,
                is_streamed=call.is_streamed,
                takes_comments=received.parsed.envelope is not None,
                wants_refs=wish.wants_refs,
                named=named,
            )
        )

    def _origins(self, request: web.Request) -> Collection[str]:
        """Authorities whose `/v1/blobs/` URLs are ours: the request's Host, by all its names."""
        return self._config.public_origins | own_authorities(request.host)

    def _keeps(self, parsed: ParsedRequest, dialect: Dialect, upstream: Upstream) -> bool:
        """Whether a later request may continue the answer to this one by its id."""
        return self._history is not None and History.keeps(parsed, dialect, upstream.config)

    async def _continued(
        self, parsed: ParsedRequest, tenant: str, dialect: Dialect, upstream: Upstream
    ) -> Continued:
        """Join a request to the response that it names, where such ids are ours to know."""
        if self._history is None or not History.serves(dialect, upstream.config):
            return Continued(parsed)
        return await self._history.continued(parsed, tenant, dialect)

    async def _expand(
        self, parsed: ParsedRequest, tenant: str, dialect: Dialect, origins: Collection[str]
    ) -> Turn:
        recalled = await self._recall(parsed.envelope, tenant, dialect)
        work = partial(build_turn, parsed, recalled, dialect, origins, self._config.turn)
        return await in_thread_if(parsed.size + sum(map(len, recalled.texts())), work)

    async def _recall(self, envelope: Envelope | None, tenant: str, dialect: Dialect) -> Recalled:
        """Return what is kept of what the envelope names, without the fields that are not.

        Raises:
            PromptNotFoundError: the parent is not kept.
        """
        parent = envelope.parent if envelope else None
        if parent == prompt_root(dialect.name):
            parent = None
        if envelope is None or (parent is None and not envelope.fields):
            return Recalled()
        finding = asyncio.create_task(self._fields.find(tenant, envelope.fields))
        try:
            kept = await self._prompts.expand(tenant, dialect.name, parent) if parent else []
            fields = await finding
        finally:
            finding.cancel()
            await asyncio.gather(finding, return_exceptions=True)
        if kept is None:
            assert parent is not None
            absent = {key: item for key, item in envelope.fields.items() if key not in fields}
            raise PromptNotFoundError(parent, absent)
        return Recalled(kept, fields)

    async def _fit(self, turn: Turn, received: Received, upstream: Upstream) -> Fitted:
        """Decide what goes into the turn's slots."""
        tenant, config = received.tenant, upstream.config
        resolved, files = await self._resolve(turn, tenant)
        fillings = await in_thread_if(turn.size, partial(fill, turn, resolved, files))
        if config.images is None or self._fitter is None:
            return Fitted(fillings)
        wanted = Wanted(config.images, config.provider.name, received.parsed.model)
        return await self._fitter.fit(tenant, wanted, turn, fillings)

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
            fill(turn, resolved, files)
        except BlobsNotFoundError as missing:
            return missing
        return error


def _told(
    keeping: "asyncio.Task[Mapping[str, str]] | None",
    guarding: "asyncio.Task[Mapping[str, str]] | None",
    fitted: Fitted,
) -> Callable[[], Awaitable[Mapping[str, str]]]:
    """Return what gives the headers that the client is told: what is kept, broken, and smaller."""

    async def headers() -> Mapping[str, str]:
        return {**await awaited(keeping), **await awaited(guarding), **fitted.headers}

    return headers


async def _root(dialect: Dialect, turn: Turn, upstream: Upstream) -> bytes | None:
    """Return the root of a turn's conversation, where it says who takes the turn."""
    if not upstream.config.base_urls:
        return None
    return await in_thread_if(turn.size, partial(conversation_root, dialect, turn))


def _path_model(dialect: Dialect, request: web.Request) -> str | None:
    """Return the model that the path names, where the dialect names it there."""
    return dialect.provider.model_of(request.path) if dialect.model_key is None else None


def _observed(dialect: Dialect, call: Call) -> str | None:
    """Return the dialect that a call is read in for the report; None: it is only counted."""
    return dialect.name if call.is_turn else None
