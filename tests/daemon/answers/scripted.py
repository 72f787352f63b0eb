"""Upstreams that answer what a test says, and the dialects as the tests ask in them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web as aioweb

from coatcheck.protocol import (
    DIALECTS,
    Digest,
    Json,
    JsonObject,
    encode_json,
    framed,
    prompt_digests,
    ref_form,
    with_framed,
    write_event,
)

Fixture = Callable[..., Any]
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Spoken:
    """One dialect, as the tests ask in it."""

    dialect: str
    path: str
    stream_path: str
    hello: JsonObject
    fields: JsonObject
    is_always_streamed: bool = False

    def envelope(self) -> JsonObject:
        return {**self.fields, "coatcheck": {"parent": None, "append": [self.hello]}}

    def whole_list(self) -> JsonObject:
        return self.body([self.hello])

    def body(self, messages: Sequence[Json]) -> JsonObject:
        spoken = DIALECTS[self.dialect]
        inner = {**framed(spoken, self.fields), spoken.messages_key: [*messages]}
        return with_framed(spoken, self.fields, inner)

    def digests(self, messages: Sequence[Json]) -> list[Digest]:
        """Return what the list with an answer is called, up to each message."""
        form = ref_form(DIALECTS[self.dialect], messages)
        return prompt_digests(self.dialect, [self.hello, *form.messages])

    def named(self, messages: Sequence[Json]) -> Digest:
        return self.digests(messages)[-1]


_HELLO: JsonObject = {"role": "user", "content": "Hi"}
_CHAT, _RESPONSES, _MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
_MODELS = "/v1beta/models/m"
SPOKEN = [
    Spoken("openai.chat", _CHAT, _CHAT, _HELLO, {"model": "m"}),
    Spoken("openai.responses", _RESPONSES, _RESPONSES, _HELLO, {"model": "m"}),
    Spoken("anthropic.messages", _MESSAGES, _MESSAGES, _HELLO, {"model": "m", "max_tokens": 9}),
    Spoken(
        "gemini.generate",
        f"{_MODELS}:generateContent",
        f"{_MODELS}:streamGenerateContent?alt=sse",
        {"role": "user", "parts": [{"text": "Hi"}]},
        {},
    ),
    Spoken(
        "dify.llm",
        "/plugin/t/dispatch/llm/invoke",
        "/v2/invoke/dispatch/llm/invoke",
        {**_HELLO, "name": None},
        {"user_id": None, "data": {"provider": "p", "model": "m", "credentials": {"key": "k"}}},
        is_always_streamed=True,
    ),
]
in_every_dialect = pytest.mark.parametrize("spoken", SPOKEN, ids=lambda spoken: spoken.dialect)


def events_of(row: Mapping[str, Any]) -> list[bytes]:
    return [
        write_event(
            event["data"]
            if isinstance(event["data"], str)
            else encode_json(event["data"]).decode(),
            event.get("event"),
        )
        for event in row["events"]
    ]


@dataclass
class Scripted:
    """Answers what it is told to, in pieces."""

    pieces: Sequence[bytes] = ()
    kind: str = "application/json"
    status: int = 200
    coding: str = ""
    breaks_off: bool = False

    async def __call__(self, request: aioweb.Request) -> aioweb.StreamResponse:
        headers = {"Content-Type": self.kind}
        if self.coding:
            headers["Content-Encoding"] = self.coding
        response = aioweb.StreamResponse(status=self.status, headers=headers)
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(piece)
        if self.breaks_off and request.transport:
            request.transport.abort()
        return response

    def say(self, body: Json) -> None:
        self.pieces, self.kind = [encode_json(body)], "application/json"

    def stream(self, pieces: Sequence[bytes]) -> None:
        self.pieces, self.kind = pieces, "text/event-stream; charset=utf-8"


def rows(vectors: Fixture, kind: str, spoken: Spoken) -> Rows:
    return [row for row in vectors("answer")[kind] if row["dialect"] == spoken.dialect]


def spoken_in(dialect: str) -> Spoken:
    return next(spoken for spoken in SPOKEN if spoken.dialect == dialect)
