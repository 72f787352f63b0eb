"""Prompts as daemons append and expand them.

The store believes no digest that it is told: each is made again from its message.
"""

from collections.abc import Sequence
from functools import partial

from aiohttp import web

from coatcheck.protocol import (
    PROMPT_PATH,
    Digest,
    JsonError,
    MalformedRequestError,
    PromptAnswer,
    PromptAppend,
    PromptDigestError,
    PromptStep,
    decode_json,
    prompt_step,
)
from coatcheck.store import PromptMessage, PromptNotFoundError, Store
from coatcheck.web import (
    END_USER_FIELD,
    Answer,
    Operation,
    Parameter,
    Route,
    end_user_of,
    in_thread_if,
    json_response,
    read_model,
    refuse,
    tenant_of,
)

from .config import ApiConfig

_PATH = f"{PROMPT_PATH}{{digest}}"
_DIALECT = Parameter("dialect", "the dialect whose prompt this is", schema={"type": "string"})
_CANONICAL_FROM_BYTES = 64 * 1024  # canonical JSON takes a millisecond for some 100 kB
_MESSAGE_CHARACTERS = 1000  # and each message as long as so many, at least


class PromptHandlers:
    """Both routes; a store's errors are translated around them."""

    def __init__(self, store: Store, config: ApiConfig) -> None:
        self._store = store
        self._config = config

    async def append(self, request: web.Request) -> web.StreamResponse:
        """Keep messages that continue a kept prompt, or the dialect's empty one."""
        tenant, end_user = tenant_of(request), end_user_of(request)
        named = Digest(request.match_info["digest"])
        asked = await read_model(request, PromptAppend, self._config.max_prompt_json_bytes)
        size = sum(_MESSAGE_CHARACTERS + len(step.text) for step in asked.messages)
        check = partial(_check, named, asked.parent, asked.messages)
        await in_thread_if(size, check, from_bytes=_CANONICAL_FROM_BYTES)
        kept = [PromptMessage(step.digest, step.text, step.blobs) for step in asked.messages]
        await self._store.prompts.append(
            tenant, asked.dialect, asked.parent, kept, end_user=end_user
        )
        return web.Response(status=204)

    async def expand(self, request: web.Request) -> web.StreamResponse:
        """Send the messages of a kept prompt."""
        tenant = tenant_of(request)
        digest = Digest(request.match_info["digest"])
        dialect = request.query.get("dialect")
        if not dialect:
            raise MalformedRequestError("the query names no dialect", "dialect")
        etag = f'"{digest}"'
        if request.headers.get("If-None-Match") == etag:
            if not await self._store.prompts.has(tenant, dialect, digest):
                raise PromptNotFoundError(digest)
            return web.Response(status=304, headers={"ETag": etag})
        texts = await self._store.prompts.expand(tenant, dialect, digest)
        if texts is None:
            raise PromptNotFoundError(digest)
        answer = PromptAnswer(dialect=dialect, messages=tuple(texts))
        write = partial(json_response, answer, headers={"ETag": etag})
        return await in_thread_if(sum(map(len, texts)), write)


def prompt_routes(prompts: PromptHandlers) -> list[Route]:
    """Return the routes that keep and expand prompts."""
    return [
        Route(
            "PUT",
            _PATH,
            prompts.append,
            Operation(
                "Keep messages that continue a prompt",
                "daemons",
                {204: Answer("kept")},
                body=PromptAppend,
                parameters=[END_USER_FIELD],
                description="For daemons. Every digest is made again from its message and "
                "compared: 422 `digest_mismatch`. Problems: `prompt_not_found` (the parent's), "
                "`prompt_too_large`, `store_full`.",
            ),
            scope="gateway",
        ),
        Route(
            "GET",
            _PATH,
            prompts.expand,
            Operation(
                "Expand a prompt",
                "daemons",
                {
                    200: Answer("its messages, oldest first", PromptAnswer),
                    304: Answer("it is kept, and the daemon knows them"),
                },
                parameters=[_DIALECT],
                description="For daemons. A use: keeps the prompt longer.",
            ),
            scope="gateway",
        ),
    ]


def _check(named: Digest, parent: Digest, steps: Sequence[PromptStep]) -> None:
    """Compare every digest with the one that its message has.

    Raises:
        ProblemError: 422 `digest_mismatch`.
        MalformedRequestError: a text is not JSON, or has no RFC 8785 form.
    """
    for index, step in enumerate(steps):
        try:
            parent = prompt_step(parent, decode_json(step.text))
        except (JsonError, PromptDigestError) as error:
            raise MalformedRequestError(str(error), f"messages.{index}.text", error.code) from error
        if parent != step.digest:
            raise _mismatch(step.digest, parent)
    if parent != named:
        raise _mismatch(named, parent)


def _mismatch(expected: Digest, actual: Digest) -> Exception:
    return refuse(
        422,
        "digest_mismatch",
        "Digest mismatch",
        "the messages have another prompt digest than was promised; nothing was kept",
        expected=expected,
        actual=actual,
    )
