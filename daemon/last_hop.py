"""The last hop: a turn is written as its upstream takes it, sent, and its answer streamed back.

What goes into the slots is the upstream's reuse mode's to say. A refusal that proves that no model ran,
of an answer of which the client has not seen a byte, may make the mode write the turn anew; that is the
only reason to send a turn again, and it is bounded.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from aiohttp import web

from coatcheck.protocol import ShortJson
from coatcheck.web import in_thread_if, provider_refusal

from .account import Account
from .body import Body, OpenBlob, RawBody, SplicedBody, encoded_size
from .errors import BlobUnreadableError, DaemonError, TooLargeError
from .meters import Meters
from .part_snapshot import PartSnapshot
from .passage import headers_of, target_of
from .peeked import peek
from .received import Received
from .relay import Tap, relay
from .resolver import Resolver
from .reuse import Hop, Modes, Plan
from .splice import splice, splice_into
from .turn import Turn
from .upstream import Answer, Outgoing, Upstream
from .variants import Fitted, Fitter

Told: TypeAlias = Callable[[], Awaitable[Mapping[str, str]]]
"""Returns the headers that join an answer's."""
Tapping: TypeAlias = Callable[[Mapping[str, str]], Tap | None]
"""Returns what taps an answer, given those headers."""

_MAX_SENDS = 16
"""Of one turn; plans end before that by themselves."""


@dataclass(slots=True)
class Leaving:
    """A turn that is written and not yet sent."""

    hop: Hop
    received: Received
    plan: Plan
    outgoing: Outgoing
    before: PartSnapshot | None
    """What the slots were, where the turn may have to be written again."""


class LastHop:
    """Writes and sends turns. Owns nothing."""

    def __init__(
        self,
        modes: Modes,
        resolver: Resolver,
        fitter: Fitter | None,
        meters: Meters,
        random: Callable[[int], bytes],
        max_upstream_bytes: int,
    ) -> None:
        """A body longer than `max_upstream_bytes` is refused."""
        self._modes = modes
        self._resolver = resolver
        self._fitter = fitter
        self._meters = meters
        self._random = random
        self._max_bytes = max_upstream_bytes

    async def prepare(
        self,
        request: web.Request,
        upstream: Upstream,
        received: Received,
        turn: Turn,
        fitted: Fitted,
        root: bytes | None,
    ) -> Leaving:
        """Write a turn for its upstream, which changes its messages; `root` is its conversation's.

        Raises:
            TooLargeError: its body would be too long.
        """
        open_blob: OpenBlob = partial(self._resolver.open, received.tenant)
        if self._fitter and fitted.variants:
            open_blob = self._fitter.opener(fitted, open_blob)
        hop = Hop(
            received.tenant,
            request,
            upstream,
            turn,
            fitted.fillings,
            open_blob,
            root,
            received.end_user,
        )
        plan = await self._modes.of(upstream).plan(hop)
        try:
            before = PartSnapshot(turn.body, plan.fillings) if plan.watched else None
            outgoing = await self._write(hop, received, plan)
            self._note_saved(plan, outgoing, received)
            return Leaving(hop, received, plan, outgoing, before)
        except BaseException:
            plan.close()
            raise

    async def forward(
        self, leaving: Leaving, told: Told, account: Account, tapping: Tapping
    ) -> web.StreamResponse:
        """Send it; the answer's headers are joined by those that `told` returns.

        Raises:
            BlobUnreadableError: a blob turned out bad before the answer began.
            BrokenAnswerError: the upstream broke off its answer.
        """
        request, upstream = leaving.hop.request, leaving.hop.upstream
        provider = upstream.config.provider
        try:
            for _ in range(_MAX_SENDS):
                async with upstream.send(leaving.outgoing) as answer:
                    account.status = answer.status
                    instead: Plan | None = None
                    if answer.status in leaving.plan.watched:
                        answer, instead = await self._judge(answer, leaving)
                    if instead is None:
                        leaving.plan.answered(answer.status)
                        extra = await told()
                        tap = tapping(extra)
                        return await relay(provider, request, answer, extra, account.give, tap)
                await self._write_again(leaving, instead)
            raise AssertionError("plans come to an end")
        except BlobUnreadableError:
            raise
        except DaemonError as error:
            account.status = error.problem.status
            return provider_refusal(request, provider, error.problem, await told())
        finally:
            leaving.plan.close()

    async def _judge(self, answer: Answer, leaving: Leaving) -> tuple[Answer, Plan | None]:
        """Return the answer whole again, and what the plan wants to be sent in its place."""
        peeked = await peek(answer)
        assert leaving.before is not None
        leaving.before.restore()  # whoever plans anew looks at what the client sent
        instead = await leaving.plan.refused(peeked.refusal)
        if instead:
            await peeked.close()
        return peeked, instead

    async def _write_again(self, leaving: Leaving, plan: Plan) -> None:
        leaving.plan.close()
        leaving.plan = plan
        leaving.before = PartSnapshot(leaving.hop.turn.body, plan.fillings)
        leaving.outgoing = await self._write(leaving.hop, leaving.received, plan)

    def _note_saved(self, plan: Plan, outgoing: Outgoing, received: Received) -> None:
        """Count what the client would have sent, with every blob inline."""
        size = outgoing.body.size if outgoing.body else None
        is_as_it_came = received.parsed.envelope is None and not plan.fillings
        if size is None or is_as_it_came:
            return
        left_out = sum(
            encoded_size(filling.blob.size)
            for filling in plan.fillings
            if filling.form and not filling.form.has_bytes
        )
        self._meters.saved(max(0, size + left_out - len(received.raw)))

    async def _write(self, hop: Hop, received: Received, plan: Plan) -> Outgoing:
        """Return the request. Where nothing is replaced what came goes out, coding and all."""
        body = await self._hydrate(hop, received, plan)
        config = hop.upstream.config
        is_recoded = body is not None or not config.has_address
        headers = headers_of(hop.request, hop.upstream, is_recoded=is_recoded)
        return Outgoing(
            "POST",
            target_of(hop.request, hop.upstream),
            plan.headers(headers),
            plan.body(body or RawBody(received.text if is_recoded else received.raw)),
            is_turn=True,
            root=hop.root,
        )

    async def _hydrate(self, hop: Hop, received: Received, plan: Plan) -> Body | None:
        """Return the upstream's body; None where nothing is replaced in what the client sent."""
        turn, parsed = hop.turn, received.parsed
        whole: ShortJson | None = None if parsed.envelope else parsed.text
        if whole is not None and not plan.fillings:
            return None
        write = splice if whole is None else partial(splice_into, whole)
        segments = await in_thread_if(
            turn.size, partial(write, turn.body, plan.fillings, self._random(16))
        )
        body = SplicedBody(segments, hop.open_blob)
        if body.size > self._max_bytes:
            raise TooLargeError(
                "bytes for the upstream", "upstream_body_too_large", max_bytes=self._max_bytes
            )
        return body
