"""What responses are called, as daemons tell and ask."""

from aiohttp import web

from coatcheck.protocol import (
    KEPT_RESPONSE_PATH,
    MalformedRequestError,
    ResponseAnswer,
    ResponseName,
    is_response_id,
)
from coatcheck.store import KeptResponse, Store
from coatcheck.web import (
    END_USER_FIELD,
    Answer,
    Operation,
    Route,
    end_user_of,
    json_response,
    read_model,
    refuse,
    tenant_of,
)

_PATH = f"{KEPT_RESPONSE_PATH}{{response}}"
_MAX_BODY_BYTES = 4096


class ResponseHandlers:
    """The routes; a store's errors are translated around them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def put(self, request: web.Request) -> web.StreamResponse:
        """Let an id name a kept list."""
        tenant, end_user = tenant_of(request), end_user_of(request)
        response_id = _id_of(request)
        asked = await read_model(request, ResponseName, _MAX_BODY_BYTES)
        kept = KeptResponse(asked.dialect, asked.prompt, asked.answered, asked.upstream)
        await self._store.responses.put(tenant, response_id, kept, end_user=end_user)
        return web.Response(status=204)

    async def find(self, request: web.Request) -> web.StreamResponse:
        """Say what an id names."""
        kept = await self._store.responses.find(tenant_of(request), _id_of(request))
        if kept is None:
            raise _not_found()
        return json_response(
            ResponseAnswer(
                dialect=kept.dialect,
                prompt=kept.prompt,
                answered=kept.answered,
                upstream=kept.upstream,
            )
        )

    async def remove(self, request: web.Request) -> web.StreamResponse:
        """Let an id name nothing any more."""
        if not await self._store.responses.remove(tenant_of(request), _id_of(request)):
            raise _not_found()
        return web.Response(status=204)


def response_routes(responses: ResponseHandlers) -> list[Route]:
    """Return the routes that keep, find and forget ids of responses."""
    return [
        Route(
            "PUT",
            _PATH,
            responses.put,
            Operation(
                "Let the id of a response name a kept prompt",
                "daemons",
                {204: Answer("it does")},
                body=ResponseName,
                parameters=[END_USER_FIELD],
                description="For daemons. The prompt has the answer at its end; the id lives as long "
                "as it. Problems: `prompt_not_found`, `store_full`.",
            ),
            scope="gateway",
        ),
        Route(
            "GET",
            _PATH,
            responses.find,
            Operation(
                "Say which prompt the id of a response names",
                "daemons",
                {200: Answer("the prompt with the answer", ResponseAnswer)},
                description="For daemons. Whether the prompt is still kept is for expanding it to say. "
                "Problems: `response_not_found`.",
            ),
            scope="gateway",
        ),
        Route(
            "DELETE",
            _PATH,
            responses.remove,
            Operation(
                "Forget the id of a response",
                "daemons",
                {204: Answer("it names nothing any more")},
                description="For daemons. The prompt stays. Problems: `response_not_found`.",
            ),
            scope="gateway",
        ),
    ]


def _id_of(request: web.Request) -> str:
    response_id = request.match_info["response"]
    if not is_response_id(response_id):
        raise MalformedRequestError("this is no id of a response", "response")
    return response_id


def _not_found() -> Exception:
    return refuse(404, "response_not_found", "Response not found", "no such response is kept")
