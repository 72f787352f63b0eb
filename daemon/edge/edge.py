"""Turns at an edge: a client sends all it has, and what the remote has already goes no further.

1. What the client sent is what goes upstream in the end, as JSON; what comes back goes to the client byte
   for byte, but for what the remote says to us.
2. Nothing is kept of a turn but what is known of digests. Lost, it costs a request.
3. A turn is sent again only after the remote said, before anything went upstream, that it lacks
   something. One that got no answer is the client's to repeat.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AsyncExitStack, aclosing
from functools import partial

from aiohttp import web

from coatcheck.client import (
    Announcements,
    ClientError,
    ConnectionFailedError,
    Known,
    ServerError,
    Taken,
    Turn,
    send_as_it_came,
    take,
)
from coatcheck.protocol import (
    BLOB_PATH,
    DAEMON_HEADER,
    KEY_HEADER,
    SCALE_HEADER,
    TENANT_HEADER,
    Call,
    Dialect,
    InvalidEndUserError,
    Whole,
)
from coatcheck.web import ProblemError, codings_of, in_thread_if, inflate

from ..account import Account
from ..errors import DaemonError, RemoteFailedError
from ..headers import own_answer_headers, own_authorities
from ..incoming import Incoming
from ..meters import Meters
from ..passage import Passage, edges_header, headers_of, key_of, target_of
from ..relay import relay
from ..upstream import Answer, Upstream
from .courier import Courier

_MAX_REMOTES = 32  # keys at remotes; each is known some megabytes
_OURS = "coatcheck-"
_NOT_TOLD = frozenset({KEY_HEADER.lower(), TENANT_HEADER.lower(), DAEMON_HEADER.lower()})
_URL_OF_OURS = BLOB_PATH.encode()


class Edge:
    """Serves turns whose upstream is another daemon. Owns nothing; belongs to the event loop."""

    def __init__(
        self,
        passage: Passage,
        meters: Meters,
        random: Callable[[int], bytes],
        max_request_bytes: int,
        public_origins: Collection[str],
    ) -> None:
        """`public_origins` are the authorities under which clients know this daemon."""
        self._passage = passage
        self._meters = meters
        self._random = random
        self._max_request_bytes = max_request_bytes
        self._public_origins = public_origins
        self._known: OrderedDict[tuple[str, bytes], Known] = OrderedDict()

    async def serve(
        self,
        dialect: Dialect,
        call: Call,
        incoming: Incoming,
        upstream: Upstream,
        raw: Whole | None = None,
    ) -> web.StreamResponse:
        """Serve one call; `raw` is its body, where that was read.

        Raises:
            DaemonError, ProblemError: there is no answer.
            BrokenAnswerError: the remote broke off its answer.
        """
        request = incoming.request
        account = self._passage.account(request, upstream, dialect.name if call.is_turn else None)
        try:
            async with AsyncExitStack() as stack:
                turn, size = await self._read(raw, dialect, incoming)
                raw = None
                account.count(size)
                is_told = turn.speaks_for_itself
                courier = _courier(request, upstream, turn, stack)
                taken = await self._take(turn, courier, self._of(upstream, request))
                del turn  # its images are not held while the answer comes
                self._count(taken, size)
                return await self._relay(request, upstream, courier.answer, taken, account, is_told)
        except (DaemonError, ProblemError) as error:
            account.status = error.problem.status
            raise
        finally:
            account.close()

    async def _read(
        self, raw: Whole | None, dialect: Dialect, incoming: Incoming
    ) -> tuple[Turn, int]:
        """Return the turn, and how long its body came; the turn alone holds that from then on."""
        request, limit = incoming.request, self._max_request_bytes
        raw = raw or await incoming.read(limit)
        incoming.let_go()
        codings = codings_of(request)
        text = await asyncio.to_thread(inflate, raw[:], codings, limit) if codings else raw
        origins = own_authorities(request.host) | frozenset(self._public_origins)
        headers = {
            name: value
            for name, value in request.headers.items()
            if name.lower().startswith(_OURS) and name.lower() not in _NOT_TOLD
        }
        work = partial(
            Turn.of_bytes,
            dialect,
            request.path,
            text,
            headers,
            origins=origins if text.find(_URL_OF_OURS) >= 0 else (),
        )
        return await in_thread_if(len(text), work), len(raw)

    async def _take(self, turn: Turn, courier: Courier, known: Known) -> Taken:
        try:
            return await courier.run(take(turn, known))
        except (InvalidEndUserError, ServerError):
            # What cannot go before the turn goes with it: the remote says what is wrong, or takes it.
            return await courier.run(send_as_it_came(turn))
        except ConnectionFailedError as error:
            raise (cause if isinstance(cause := error.__cause__, DaemonError) else error) from error
        except ClientError as error:
            raise RemoteFailedError(f"the remote's answer cannot be used: {error}") from error

    async def _relay(
        self,
        request: web.Request,
        upstream: Upstream,
        answer: Answer,
        taken: Taken,
        account: Account,
        is_told: bool,
    ) -> web.StreamResponse:
        account.status = answer.status
        told = own_answer_headers(answer.headers.items())
        if not is_told:
            told = {name: value for name, value in told.items() if name.startswith(SCALE_HEADER)}
        if taken.announcements and _is_plain_stream(answer.headers):
            answer = _Heard(answer, taken.announcements)
        return await relay(upstream.config.provider, request, answer, told, account.give)

    def _of(self, upstream: Upstream, request: web.Request) -> Known:
        """Return what is known of a remote, for the key that it is asked with."""
        key = upstream.config.own_key or key_of(request) or ""
        place = upstream.config.base_url, hashlib.sha256(key.encode()).digest()
        if place not in self._known:
            seed = int.from_bytes(self._random(8))
            self._known[place] = Known(seed, upstream.config.max_piece_bytes)
            if len(self._known) > _MAX_REMOTES:
                self._known.popitem(last=False)
        self._known.move_to_end(place)
        return self._known[place]

    def _count(self, taken: Taken, size: int) -> None:
        spent = taken.spent
        self._meters.edge(spent.uploads, spent.upload_bytes, spent.replays)
        self._meters.saved(max(0, size - spent.request_bytes - spent.upload_bytes))


class _Heard:
    """An answer that is listened to on its way."""

    def __init__(self, answer: Answer, announcements: Announcements) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self._answer = answer
        self._announcements = announcements

    async def chunks(self) -> AsyncGenerator[bytes]:
        """Yield the body without what is said to us."""
        async with aclosing(self._answer.chunks()) as chunks:
            async for chunk in chunks:
                if heard := self._announcements.feed(chunk):
                    yield heard
        if rest := self._announcements.end():
            yield rest


def _courier(
    request: web.Request, upstream: Upstream, turn: Turn, stack: AsyncExitStack
) -> Courier:
    key = upstream.config.own_key or key_of(request)
    own = [] if key is None else [(KEY_HEADER, key)]
    return Courier(
        upstream,
        target_of(request, upstream),
        headers_of(request, upstream, is_recoded=True),
        [*own, edges_header(request)],
        stack,
    )


def _is_plain_stream(headers: Mapping[str, str]) -> bool:
    return (
        headers.get("Content-Type", "").lower().startswith("text/event-stream")
        and headers.get("Content-Encoding", "identity").lower() == "identity"
    )
