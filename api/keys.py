"""Telling a daemon whose key it was given."""

from aiohttp import web

from coatcheck.protocol import KEYS_VERIFY_PATH, KeyAnswer, KeyQuestion
from coatcheck.store import KeyInfo, Keys
from coatcheck.web import (
    Answer,
    Operation,
    Route,
    json_response,
    principal_of,
    read_model,
    refuse,
)

from .config import ApiConfig


def key_routes(keys: Keys, config: ApiConfig) -> list[Route]:
    """Return the route by which daemons ask."""

    async def verify(request: web.Request) -> web.StreamResponse:
        question = await read_model(request, KeyQuestion, config.max_json_bytes)
        info = await keys.verify(question.key)
        asker = principal_of(request).tenant
        if info is None or asker not in (None, info.tenant):
            raise refuse(404, "key_invalid", "No valid key", "no key like this opens anything")
        return json_response(_answer(info).model_dump(mode="json"))

    operation = Operation(
        "Say whose key this is",
        "daemons",
        {200: Answer("its tenant and scopes", KeyAnswer)},
        body=KeyQuestion,
        description="404 `key_invalid` for one that opens nothing, and where the asker's own key is "
        "bound to a tenant also for any other tenant's.",
    )
    return [Route("POST", KEYS_VERIFY_PATH, verify, operation, scope="gateway")]


def _answer(info: KeyInfo) -> KeyAnswer:
    return KeyAnswer(
        tenant=info.tenant,
        scopes=tuple(sorted(info.scopes)),
        expires_at=None if info.expires_at is None else int(info.expires_at),
    )
