"""Models: one list of all that a client can name, whichever upstream has them.

Every upstream of the provider is asked, at the same time and for a bounded time; one that fails is
named and left out. A model stands there once, and only where a turn that names it would reach the
upstream that lists it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl, quote, unquote_plus

from aiohttp import web
from yarl import URL

from coatcheck.protocol import (
    MODELS_MISSING_HEADER,
    JsonError,
    ListedModel,
    ModelPage,
    Provider,
    decode_json,
    encode_json,
)
from coatcheck.web import (
    ProblemError,
    in_thread_if,
    inflate,
    json_response,
    parse_codings,
    provider_of,
    tenant_of,
)

from .errors import DaemonError, ModelNotFoundError, UpstreamGarbageError, UpstreamTimeoutError
from .headers import CREDENTIALS, answer_headers
from .incoming import Incoming
from .navigation import refuse_navigation
from .passage import Passage, headers_of, target_of
from .target import KEY_PARAMETER
from .upstream import ECHO, Answer, Outgoing, Upstream, Upstreams

_log = logging.getLogger(__name__)
PATIENCE_SECONDS = 5.0
"""For the whole list of one upstream: providers answer in tenths of a second, and SDKs ask for a list
when a program starts."""
_MAX_LIST_BYTES = 4 * 1024 * 1024  # a large provider's list has half a megabyte
_MODEL_BYTES = 2 * 1024  # of JSON cost to read what a model costs to merge
_MAX_PAGES = 50
# What would have an upstream answer in another form, or not at all.
_NOT_ASKED = frozenset(
    {"accept-encoding", "range", "if-none-match", "if-modified-since", "if-match", "if-range"}
)


@dataclass(frozen=True, slots=True)
class _Refused:
    """What an upstream answered instead of a list."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes


_Listed: TypeAlias = list[ListedModel] | _Refused | DaemonError
"""All models of an upstream, or what kept it from listing them."""


class Models:
    """Serves the lists of models, and each model. Owns nothing."""

    def __init__(self, upstreams: Upstreams, passage: Passage) -> None:
        self._upstreams = upstreams
        self._passage = passage

    async def list(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page of all models of the provider that a request means.

        Where none of its upstreams gave a list, the first one's answer is passed on.

        Raises:
            ProblemError: there is no answer; `render_problem` gives the problem its shape.
        """
        tenant_of(request)
        refuse_navigation(request)
        provider = provider_of(request)
        asked = self._upstreams.remote(provider)
        shown = _shown(asked)
        answers = await asyncio.gather(
            *(_models_of(each, request, shows_key=each in shown) for each in asked)
        )
        lists = [answer for answer in answers if isinstance(answer, list)]
        if answers and not lists:
            return _passed_on(answers[0])
        missing = [
            upstream.config.name
            for upstream, answer in zip(asked, answers, strict=True)
            if not isinstance(answer, list)
        ]
        fields = _fields(request)
        page = await in_thread_if(
            sum(map(len, lists)) * _MODEL_BYTES,
            lambda: self._page(provider, asked, answers, fields),
        )
        return web.Response(body=page, headers=_named(missing), content_type="application/json")

    def _page(
        self,
        provider: Provider,
        asked: Sequence[Upstream],
        answers: Sequence[_Listed],
        fields: Mapping[str, str],
    ) -> bytes:
        """Merge the lists and write the page that is asked for; not in the loop where they are long."""
        merged: dict[str, ListedModel] = {}
        for upstream, answer in zip(asked, answers, strict=True):
            for model in answer if isinstance(answer, list) else ():
                if model.id not in merged and self._upstreams.reaches(provider, model.id, upstream):
                    merged[model.id] = model
        # The last: programs that take the first model of a list want none that only echoes.
        merged.setdefault(ECHO, ListedModel(ECHO, provider.models.own(ECHO)))
        return encode_json(provider.models.write(list(merged.values()), fields))

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Pass on a request for one model to the upstream that its turns go to; `echo` is here.

        Raises:
            ProblemError: no upstream has it, or see `Passage.serve`.
            BrokenAnswerError: the upstream broke off its answer.
        """
        tenant_of(request)
        refuse_navigation(request)
        provider = provider_of(request)
        model = provider.model_of(request.path) or ""
        upstream = self._upstreams.of_model(provider, model)
        incoming = Incoming(request)
        try:
            if upstream is None:
                raise ModelNotFoundError(f"no upstream of {provider.name} serves {model[:120]!r}")
            if not upstream.config.has_address:
                return json_response(provider.models.own(model))
            return await self._passage.forward(incoming, upstream, None)
        except DaemonError as error:
            raise ProblemError(error.problem) from error
        finally:
            await incoming.close()


def _shown(asked: Sequence[Upstream]) -> Sequence[Upstream]:
    """Return who may see the client's own key: the first that has none itself, and all of its address.

    A turn shows it to the upstream of its model alone; a list would show it to all of them.
    """
    keyless = [upstream for upstream in asked if not _has_key(upstream)]
    return [
        upstream
        for upstream in keyless
        if URL(upstream.config.base_url).origin() == URL(keyless[0].config.base_url).origin()
    ]


def _has_key(upstream: Upstream) -> bool:
    config = upstream.config
    return config.replaces_key


async def _models_of(upstream: Upstream, request: web.Request, *, shows_key: bool) -> _Listed:
    """Return all models that an upstream lists, or what kept it from that."""
    name = upstream.config.name
    found: _Listed
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await _all_pages(upstream, request, shows_key=shows_key)
    except TimeoutError:
        found = UpstreamTimeoutError(f"upstream {name} gave no list within {PATIENCE_SECONDS:g} s")
    except DaemonError as error:
        found = error
    if not isinstance(found, list):
        said = f"status {found.status}" if isinstance(found, _Refused) else str(found)
        _log.warning("no models of upstream %s: %s", name, said)
    return found


async def _all_pages(
    upstream: Upstream, request: web.Request, *, shows_key: bool
) -> list[ListedModel] | _Refused:
    """Ask for one page after another.

    Raises:
        DaemonError: there is no answer, or it is no list.
    """
    found: list[ListedModel] = []
    after: str | None = None
    left = _MAX_LIST_BYTES
    for _ in range(_MAX_PAGES):
        target = _target(upstream, request, after, shows_key=shows_key)
        headers = _headers(upstream, request, shows_key=shows_key)
        outgoing = Outgoing("GET", target, headers, None)
        async with upstream.send(outgoing) as answer:
            body = await _read(answer, left, upstream.config.name)
            if answer.status != 200:
                told = answer_headers(answer.headers.items())
                return _Refused(answer.status, told, body)
            left -= len(body)
            text = await asyncio.to_thread(_decoded, answer, body, upstream.config.name)
        page = await _page_in(text, upstream)
        if page is None:
            raise UpstreamGarbageError(
                f"upstream {upstream.config.name} answered no list of models"
            )
        found += page.models
        if page.after is None or page.after == after:
            break
        after = page.after
    return found


def _target(upstream: Upstream, request: web.Request, after: str | None, *, shows_key: bool) -> str:
    """Return the target of a page: as the client wrote it, but for what says which page."""
    models = upstream.config.provider.models
    path, _, query = target_of(request, upstream).partition("?")
    left_out = models.paging if shows_key else {*models.paging, KEY_PARAMETER}
    kept = [
        field
        for field in query.split("&")
        if field and unquote_plus(field.partition("=")[0]) not in left_out
    ]
    fields = "&".join([*kept, *filter(None, [models.query(after)])])
    return f"{path}?{fields}" if fields else path


def _headers(upstream: Upstream, request: web.Request, *, shows_key: bool) -> list[tuple[str, str]]:
    passed = headers_of(request, upstream)
    is_shown = shows_key or _has_key(upstream)
    left_out = _NOT_ASKED if is_shown else _NOT_ASKED | CREDENTIALS
    plain = [(name, value) for name, value in passed if name.lower() not in left_out]
    return [*plain, ("Accept-Encoding", "identity")]


async def _read(answer: Answer, max_bytes: int, name: str) -> bytes:
    body = bytearray()
    async with aclosing(answer.chunks()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                raise UpstreamGarbageError(f"upstream {name} answered a list without an end")
    return bytes(body)


def _decoded(answer: Answer, body: bytes, name: str) -> bytes:
    """Undo the coding of an answer whose upstream does not do without."""
    try:
        codings = parse_codings(answer.headers.get("Content-Encoding", ""))
        return inflate(body, codings, _MAX_LIST_BYTES) if codings else body
    except ProblemError as error:
        raise UpstreamGarbageError(f"upstream {name}'s list cannot be decoded") from error


async def _page_in(text: bytes, upstream: Upstream) -> ModelPage | None:
    """Read a page; None for what is none.

    Raises:
        UpstreamGarbageError: it is not even JSON.
    """
    models = upstream.config.provider.models
    try:
        return await in_thread_if(len(text), lambda: models.read(decode_json(text)))
    except JsonError as error:
        name = upstream.config.name
        raise UpstreamGarbageError(f"upstream {name} answered a list that is no JSON") from error


def _passed_on(answer: _Listed) -> web.Response:
    """Return what the first upstream answered.

    Raises:
        ProblemError: it answered nothing.
    """
    if isinstance(answer, DaemonError):
        raise ProblemError(answer.problem) from answer
    assert isinstance(answer, _Refused)
    response = web.Response(status=answer.status, body=answer.body)
    response.headers.popall("Content-Type", None)
    for name, value in answer.headers:
        if name.lower() != "content-length":
            response.headers.add(name, value)
    return response


def _fields(request: web.Request) -> Mapping[str, str]:
    return dict(parse_qsl(request.rel_url.raw_query_string))


def _named(missing: Sequence[str]) -> Mapping[str, str]:
    """Name upstreams in a header; what no header may have is percent-encoded."""
    names = ", ".join(quote(name, safe=" !#$&'()*+-./:;<=>?@[]^_`{|}~") for name in missing)
    return {MODELS_MISSING_HEADER: names} if missing else {}
