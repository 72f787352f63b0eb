"""The passage: requests that go to an upstream as they came, and answers as they come back.

Every path of a provider's that is no turn of ours goes through here, and turns whose upstream is
not `on` or whose dialect we do not read. Nothing is held but a chunk, and what has to be read to
choose between upstreams.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from urllib.parse import unquote

from aiohttp import web

from coatcheck.protocol import (
    DIALECTS,
    EDGES_HEADER,
    KEY_HEADER,
    Problem,
    Provider,
    is_file_id,
    read_upload_id,
    turn_dialect,
)
from coatcheck.web import (
    FORWARDED_HOST,
    FORWARDED_PROTO,
    ProblemError,
    credential_of,
    principal_of,
    problem_response,
    provider_of,
    provider_refusal,
    refuse,
    require_scope,
    tenant_of,
)

from .account import Account, Subject
from .errors import DaemonError, EdgeLoopError, FileListRefusedError
from .headers import own_answer_headers, request_headers
from .incoming import Incoming
from .navigation import refuse_navigation
from .observation import Observer
from .observed_turn import ReadLimits
from .relay import relay
from .target import upstream_target
from .upstream import Outgoing, Upstream, Upstreams

# What is ours below /v1: a mistyped path there is no provider's.
_NATIVE = frozenset({"blobs", "keys", "prompts", "resolve", "tus"})
# CONNECT would open a tunnel; TRACE would show the client what we sent, the upstream's key included.
_UNWANTED = frozenset({"CONNECT", "TRACE"})
# `/ws` is where Gemini's live interface is, which is refused by its own error. The path may have
# anything in it, line breaks too.
_REST = "{path:(?s:.*)}"
PASSING_PATHS = (
    *(f"/{base}/{_REST}" for base in ("v1", "v1beta", "v1alpha", "upload", "ws")),
    *(f"/{base}/{_REST}" for base in ("plugin", "v2/invoke", "e", "backwards-invocation")),
    "/health/check",
)
"""Where providers' paths are, as routes; the second line and what follows are of Dify's plugin daemon."""
_MAX_EDGES = 8
_NO_HEADERS: Mapping[str, str] = {}


class Passage:
    """Passes requests on. Owns nothing."""

    def __init__(
        self,
        upstreams: Upstreams,
        observer: Observer,
        clock: Callable[[], float],
        limits: ReadLimits,
    ) -> None:
        """`clock` gives Unix seconds. `limits` are of what is observed."""
        self._upstreams = upstreams
        self._observer = observer
        self._clock = clock
        self._limits = limits

    def takes(self, provider: Provider) -> bool:
        """Say whether there is an upstream of a provider's, to pass its requests on to."""
        return bool(self._upstreams.remote(provider))

    def takes_all(self, provider: Provider) -> bool:
        """Say whether turns of none of a provider's upstreams are read here: then all just pass.

        What one of them were to be told in our words, such as a file's id, it would not understand.
        """
        upstreams = self._upstreams.remote(provider)
        return bool(upstreams) and not any(upstream.config.reads_turns for upstream in upstreams)

    def _knows_ours(self, provider: Provider) -> bool:
        """Say whether files and uploads of ours are known to a provider's upstreams."""
        upstreams = self._upstreams.remote(provider)
        return bool(upstreams) and all(upstream.config.is_coatcheck for upstream in upstreams)

    async def pass_on(
        self, request: web.Request, body: AsyncGenerator[bytes] | None = None
    ) -> web.StreamResponse:
        """Pass on a request that came by another route than the passage's own.

        `body` yields the request's body, where some of that was read before; it is closed.

        Raises:
            ProblemError: 403 `scope_missing`, the key has not the scope of the passage; else as
                `serve`.
            BrokenAnswerError: the upstream broke off its answer.
        """
        require_scope(principal_of(request), "gateway")
        return await self.serve(request, body)

    async def serve(
        self, request: web.Request, body: AsyncGenerator[bytes] | None = None
    ) -> web.StreamResponse:
        """Pass on a request for any path of a provider's; see `pass_on` for the `body`.

        Raises:
            ProblemError: it cannot be passed on; `render_problem` gives the problem its shape.
            BrokenAnswerError: the upstream broke off its answer.
        """
        tenant_of(request)
        provider = provider_of(request)
        if _is_native(request.path) or (
            _names_ours(request.path) and not self._knows_ours(provider)
        ):
            raise refuse(404, "not_found", "Not Found", "no route has this path")
        refuse_navigation(request)
        if _asks_for_websocket(request):
            return _refuse_websocket(request, provider)
        if _hides_turn(request):
            raise refuse(400, "path_invalid", "The path cannot be used", "a slash of it is encoded")
        if request.method in _UNWANTED:
            raise refuse(
                405, "method_not_allowed", "Method Not Allowed", "this method is not passed on"
            )
        incoming = Incoming(request, body)
        try:
            dialect = turn_dialect(request.method, request.path)
            upstream = await self._choose(incoming, provider, dialect)
            return await self.forward(incoming, upstream, dialect)
        except DaemonError as error:
            raise ProblemError(error.problem) from error
        finally:
            await incoming.close()

    async def forward(
        self, incoming: Incoming, upstream: Upstream, dialect: str | None
    ) -> web.StreamResponse:
        """Pass on a request to its upstream; `dialect` is of the turns that its path takes.

        Raises:
            DaemonError: there is no answer.
            BrokenAnswerError: the upstream broke off its answer.
        """
        request, provider = incoming.request, upstream.config.provider
        if upstream.config.shares_files and _lists_files(request):
            raise FileListRefusedError("tenants' images are among the files; ask for one by its id")
        account = self.account(request, upstream, dialect)
        try:
            outgoing = Outgoing(
                request.method,
                target_of(request, upstream),
                headers_of(request, upstream),
                incoming.body(account.take, account.end),
                is_turn=dialect is not None,
            )
            async with upstream.send(outgoing) as answer:
                account.status = answer.status
                is_ours = upstream.config.is_coatcheck
                told = own_answer_headers(answer.headers.items()) if is_ours else _NO_HEADERS
                return await relay(provider, request, answer, told, account.give)
        except (DaemonError, ProblemError) as error:
            account.status = error.problem.status
            raise
        finally:
            account.close()

    def account(self, request: web.Request, upstream: Upstream, dialect: str | None) -> Account:
        """Open a request's account."""
        subject = Subject(
            tenant=tenant_of(request),
            path=request.path,
            dialect=dialect,
            content_encoding=",".join(request.headers.getall("Content-Encoding", ())) or None,
            at=self._clock(),
        )
        return Account(subject, upstream.config, self._observer, self._limits)

    async def _choose(
        self, incoming: Incoming, provider: Provider, dialect: str | None
    ) -> Upstream:
        """Return the first upstream that has the model; the provider's first where none is named."""
        upstreams = self._upstreams.of_provider(provider, dialect)
        if len(upstreams) == 1:
            return upstreams[0]
        model = provider.model_of(incoming.request.path) or await incoming.model(provider.frame)
        fitting = (up for up in upstreams if model is not None and up.config.takes(model))
        return next(fitting, upstreams[0])


def render_problem(
    request: web.Request, problem: Problem, headers: Mapping[str, str]
) -> web.Response:
    """Return an error answer in the shape of the provider that a request means."""
    if _is_native(request.path):
        return problem_response(problem, headers)
    return provider_refusal(request, provider_of(request), problem, headers)


def target_of(request: web.Request, upstream: Upstream) -> str:
    """Return the target of a request at its upstream.

    Raises:
        RequestRefusedError: see `upstream_target`.
    """
    written = request.raw_path
    if not written.startswith("/"):  # absolute form, as for a proxy (RFC 9112 section 3.2.2)
        written = request.rel_url.raw_path_qs
    config = upstream.config
    return upstream_target(written, config.provider, drops_key=config.replaces_key)


def headers_of(
    request: web.Request, upstream: Upstream, *, is_recoded: bool = False
) -> list[tuple[str, str]]:
    """Return the headers of a request for its upstream; see `request_headers`.

    To another daemon our key goes too: that of the settings, else the client's.

    Raises:
        EdgeLoopError: to another daemon, after too many others.
    """
    config = upstream.config
    headers = request_headers(
        request.headers.items(),
        config.credential,
        config.headers,
        is_recoded=is_recoded,
        keeps_ours=config.is_coatcheck,
    )
    if not config.is_coatcheck:
        return headers
    headers = [(name, value) for name, value in headers if name.lower() != EDGES_HEADER.lower()]
    headers.append(edges_header(request))
    if config.own_key is None and (key := key_of(request)) is not None:
        headers.append((KEY_HEADER, key))
    return [*headers, *first_hop(request)]


def edges_header(request: web.Request) -> tuple[str, str]:
    """Return the header that says to another daemon through how many edges a request came.

    Raises:
        EdgeLoopError: more than anybody puts one behind the other.
    """
    said = request.headers.get(EDGES_HEADER, "0")
    count = int(said) if said.isascii() and said.isdecimal() and len(said) < 3 else _MAX_EDGES
    if count >= _MAX_EDGES:
        raise EdgeLoopError(f"it came through {said[:20]} edges")
    return EDGES_HEADER, str(count + 1)


def key_of(request: web.Request) -> str | None:
    """Return the key of ours that a client sent, wherever it stands."""
    credential = credential_of(request)
    return None if credential is None else credential.secret


def first_hop(request: web.Request) -> list[tuple[str, str]]:
    """Return what the server behind us cannot see, and has to know to tell the client a URL of ours."""
    seen = {FORWARDED_HOST: request.headers.get("Host", ""), FORWARDED_PROTO: request.scheme}
    return [(name, value) for name, value in seen.items() if name not in request.headers]


def _asks_for_websocket(request: web.Request) -> bool:
    """Whether one of the protocols asked for is a WebSocket (RFC 9110 section 7.8: a list)."""
    protocols = ",".join(request.headers.getall("Upgrade", ())).lower().split(",")
    return any(protocol.partition("/")[0].strip() == "websocket" for protocol in protocols)


def _refuse_websocket(request: web.Request, provider: Provider) -> web.Response:
    response = provider_refusal(
        request,
        provider,
        Problem(
            501,
            "websocket_unsupported",
            "WebSockets are not supported",
            "no WebSocket is passed on; use the HTTP form of this interface",
        ),
    )
    response.force_close()  # what follows on the connection is no request
    return response


def _hides_turn(request: web.Request) -> bool:
    """Whether many servers take a request for a turn, since they decode slashes, and our routes do not."""
    is_coded = "%2f" in request.rel_url.raw_path.lower()
    return is_coded and any(
        call.fits(request.path) for dialect in DIALECTS.values() for call in dialect.calls
    )


def _names_ours(path: str) -> bool:
    """Whether a path names a file or an upload of ours, of which no provider knows."""
    segments = (segment.partition(":")[0] for segment in path.split("/"))
    return any(is_file_id(segment) or read_upload_id(segment) for segment in segments)


def _lists_files(request: web.Request) -> bool:
    """Whether a provider may take a request for one for its files, however the path is spelled."""
    path = unquote(request.path).partition(";")[0].lower()
    segments = [segment for segment in re.split(r"[/\\]", path) if segment]
    return request.method in ("GET", "HEAD") and segments[-1:] == ["files"]


def _is_native(path: str) -> bool:
    """Whether a path is below one of ours, if it is no route; slashes may be doubled."""
    segments = [segment for segment in path.split("/") if segment]
    return len(segments) > 1 and segments[0] == "v1" and segments[1] in _NATIVE
