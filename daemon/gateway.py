"""The gateway: one chat turn, from the client's bytes to the upstream's and back.

Authenticate, expand, walk, resolve, hydrate, forward, stream back: here is the order of the awaits. What is
decided stands in `turn.py`; what is awaited in modules of their own: the envelope is recalled (`recall.py`),
slots are filled (`filler.py`), the turn is written and sent (`last_hop.py`), its messages are kept beside
that (`beside.py`), and its answer is tapped (`taps.py`). Nothing goes upstream before every blob that the
turn names is known to be held.
"""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from aiohttp import web

from coatcheck.protocol import (
    EDGES_HEADER,
    Call,
    Dialect,
    Whole,
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
from .answers import AnswerLimits, Answers
from .beside import Besides
from .edge import Edge
from .errors import (
    BlobUnreadableError,
    DaemonError,
)
from .fields import Fields
from .filler import Filler
from .guardian import Guardian
from .headers import own_authorities
from .history import History
from .incoming import Incoming
from .keeper import Keeper
from .last_hop import LastHop
from .meters import Meters
from .navigation import refuse_navigation
from .parsed_request import ParsedRequest, TurnLimits, loose_model, parse_request
from .passage import Passage
from .recall import Recall
from .received import Received
from .resolver import Resolver
from .reuse import Modes
from .root import conversation_root
from .sent import sent_of
from .source import PromptSource
from .taps import Taps
from .turn import Turn, build_turn
from .upstream import Upstream, Upstreams
from .variants import Fitter
from .wish import wish_of


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
        history: History,
        modes: Modes,
        fitter: Fitter | None = None,
    ) -> None:
        """Without a `fitter` no upstream has an image policy."""
        self._config = config
        self._own_authorities = lru_cache(maxsize=64)(own_authorities)
        self._upstreams = upstreams
        self._passage = passage
        self._edge = edge
        self._history = history
        self._guardian = guardian
        self._recall = Recall(prompts, fields)
        self._filler = Filler(resolver, fitter)
        self._besides = Besides(keeper, guardian)
        self._taps = Taps(answers, history)
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
        model = _path_model(dialect, incoming.request) or await incoming.model(
            dialect.provider.frame
        )
        found = None if model is None else self._upstreams.find(dialect.name, model)
        upstream = found or self._upstreams.blind(dialect.name)
        return upstream if upstream and not _is_read(upstream, incoming.request) else None

    async def _serve(self, dialect: Dialect, call: Call, incoming: Incoming) -> web.StreamResponse:
        request = incoming.request
        tenant = tenant_of(request)
        codings = codings_of(request)
        limit = self._config.max_request_bytes
        raw = await incoming.read(limit)
        text = await asyncio.to_thread(inflate, raw[:], codings, limit) if codings else raw
        parsed, upstream = await self._read(text, dialect, _path_model(dialect, request))
        if parsed is None or not _is_read(upstream, request):
            parsed = None  # not held while it passes
            return await self._pass(dialect, call, incoming, upstream, raw)
        account = self._passage.account(request, upstream, _observed(dialect, call))
        if (upstream.config.observe or upstream.config.mode == "observe") and call.is_turn:
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
        continued = await self._history.continued(parsed, tenant, dialect, upstream.config)
        with continued.naming():
            turn = await self._expand(continued.request, tenant, dialect, self._origins(request))
        # Whoever takes bytes in does so for the same one: the last hop, the keeper, and the answer's tap.
        if received.end_user is None and (end_user := dialect.end_user(turn.body)):
            received = replace(received, end_user=end_user)
        wish = wish_of(parsed, request)
        if received.call.is_turn and self._history.keeps(parsed, dialect, upstream.config):
            wish = replace(wish, is_kept=True)
        is_used_again = wish.is_kept or wish.is_named or turn.has_inline
        copy = partial(sent_of, turn, received, dialect, is_kept=wish.is_kept)
        sent = await in_thread_if(turn.size, copy) if is_used_again else None
        outline = await self._guardian.outline(turn, received, dialect) if wish.is_guarded else None
        fitted = await self._filler.fit(turn, received, upstream)
        root = await _root(dialect, turn, upstream)
        is_continued = continued.request is not parsed
        served = replace(received, parsed=continued.request) if is_continued else received
        leaving = await self._last_hop.prepare(request, upstream, served, turn, fitted, root)
        beside = self._besides.begin(tenant, dialect, upstream, wish, sent, outline, fitted.headers)
        tap = partial(self._taps.tap, dialect, upstream, received, wish)
        try:
            return await self._last_hop.forward(leaving, beside.headers, account, tap)
        except BlobUnreadableError as error:
            gone = await self._filler.places(turn, tenant, error)
            account.status = gone.problem.status
            return provider_refusal(request, dialect.provider, gone.problem, await beside.kept())
        finally:
            await beside.close()

    async def _read(
        self, text: Whole, dialect: Dialect, path_model: str | None
    ) -> tuple[ParsedRequest | None, Upstream]:
        """Parse a request and choose its upstream; None for one that can only be forwarded.

        Where turns just pass, one may break every rule of ours that leaves its model readable.
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
        return parsed, self._upstreams.choose(dialect.name, parsed.model)

    def _origins(self, request: web.Request) -> Collection[str]:
        """Authorities whose `/v1/blobs/` URLs are ours: the request's Host, by all its names."""
        return self._config.public_origins | self._own_authorities(request.host)

    async def _expand(
        self, parsed: ParsedRequest, tenant: str, dialect: Dialect, origins: Collection[str]
    ) -> Turn:
        recalled = await self._recall.of(parsed.envelope, tenant, dialect)
        work = partial(build_turn, parsed, recalled, dialect, origins, self._config.turn)
        return await in_thread_if(parsed.size + sum(map(len, recalled.texts())), work)


def _is_read(upstream: Upstream, request: web.Request) -> bool:
    """Say whether a turn is read here. An edge's is, in every mode: it has words of ours, and refs."""
    config = upstream.config
    return config.reads_turns or (EDGES_HEADER in request.headers and not config.is_coatcheck)


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
