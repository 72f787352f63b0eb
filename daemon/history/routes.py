"""The paths of one response: got from the upstream that gave it, and deleted here and there.

An upstream may keep what it answered too, and may not: what it says of a response goes back as it
comes, but that a deleted one was unknown to it.
"""

from aiohttp import web

from coatcheck.protocol import JsonObject, encode_json, is_response_id
from coatcheck.web import Answer, Handler, Operation, ProblemError, Route, tenant_of

from ..errors import DaemonError
from ..incoming import Incoming
from ..navigation import refuse_navigation
from ..passage import Passage, headers_of, render_problem, target_of
from ..relay import relay
from ..upstream import Outgoing, Upstream, Upstreams
from .source import NamedResponse, ResponseSource

_PATH = "/v1/responses/{response}"
_ITEMS = f"{_PATH}/input_items"
# What says that the upstream has no such response, or keeps none at all.
_ABSENT = frozenset({404, 405, 410, 501})
_OPENAI = "openai.responses"


class HistoryRoutes:
    """Serves them. Without `responses`, or of an id that is unknown, requests pass as they came."""

    def __init__(
        self, responses: ResponseSource | None, upstreams: Upstreams, passage: Passage
    ) -> None:
        self._serving = upstreams.of_dialect(_OPENAI)
        is_ours = any(each.config.history == "coatcheck" for each in self._serving)
        self._responses = responses if is_ours else None
        self._passage = passage

    def routes(self) -> list[Route]:
        """Return the routes; those of turns that stand below the same path go first."""
        passed = {200: Answer("the upstream's answer, as it came")}
        return [
            _route("GET", _PATH, self._get, Operation("Get a response", "gateway", passed)),
            _route(
                "GET", _ITEMS, self._get, Operation("List a response's input", "gateway", passed)
            ),
            _route(
                "DELETE",
                _PATH,
                self._delete,
                Operation(
                    "Delete a response",
                    "gateway",
                    {200: Answer("it is unknown from now on")},
                    description="Where its history is kept here, it is deleted here and at the "
                    "upstream that gave it.",
                ),
            ),
        ]

    async def _get(self, request: web.Request) -> web.StreamResponse:
        """Ask the upstream whose answer it was."""
        try:
            _, upstream = await self._find(request)
            if upstream is None:
                return await self._passage.serve(request)
            return await self._pass_to(upstream, request)
        except DaemonError as error:
            raise ProblemError(error.problem) from error

    async def _delete(self, request: web.Request) -> web.StreamResponse:
        """Delete it at its upstream, then here. What the upstream refuses is not deleted here."""
        try:
            named, upstream = await self._find(request)
            if named is None or self._responses is None:
                return await self._passage.serve(request)
            if upstream is not None and (refused := await self._refused(upstream, request)):
                return refused
            await self._responses.remove(tenant_of(request), request.match_info["response"])
        except DaemonError as error:
            raise ProblemError(error.problem) from error
        deleted: JsonObject = {
            "id": request.match_info["response"],
            "object": "response",
            "deleted": True,
        }
        return web.Response(body=encode_json(deleted), content_type="application/json")

    async def _find(self, request: web.Request) -> tuple[NamedResponse | None, Upstream | None]:
        """Return what the id names here, and the upstream that gave it, if it is there still."""
        refuse_navigation(request)
        response_id = request.match_info["response"]
        if self._responses is None or not is_response_id(response_id):
            return None, None
        named = await self._responses.find(tenant_of(request), response_id)
        if named is None:
            return None, None
        return named, next((up for up in self._serving if up.config.name == named.upstream), None)

    async def _pass_to(self, upstream: Upstream, request: web.Request) -> web.StreamResponse:
        incoming = Incoming(request)
        try:
            return await self._passage.forward(incoming, upstream, None)
        finally:
            await incoming.close()

    async def _refused(self, upstream: Upstream, request: web.Request) -> web.StreamResponse | None:
        """Delete it at the upstream; return the answer where that refuses, but for not having it."""
        outgoing = Outgoing(
            "DELETE", target_of(request, upstream), headers_of(request, upstream), None
        )
        account = self._passage.account(request, upstream, None)
        try:
            async with upstream.send(outgoing) as answer:
                account.status = answer.status
                if answer.status < 300 or answer.status in _ABSENT:
                    return None
                provider = upstream.config.provider
                return await relay(provider, request, answer, {}, account.give)
        finally:
            account.close()


def _route(method: str, path: str, handler: Handler, operation: Operation) -> Route:
    return Route(method, path, handler, operation, render_problem=render_problem, scope="gateway")
