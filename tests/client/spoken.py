"""Turns as clients of each dialect write them, and how they are sent by the core of a client."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.client.remote import Remote, drive

from coatcheck.client.known import Known
from coatcheck.client.turn import Taken, Turn, take
from coatcheck.protocol import Json, JsonObject, dialect, with_framed

if TYPE_CHECKING:
    from collections.abc import Callable


PNG = b"\x89PNG\r\n\x1a\n"


def image(number: int = 0, size: int = 300) -> bytes:
    return PNG + random.Random(number).randbytes(size)


def text_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass(frozen=True)
class Spoken:
    """How one dialect writes a message with an image."""

    name: str
    path: str
    look: Callable[[str, bytes], JsonObject]
    rest: JsonObject
    around: JsonObject = field(default_factory=dict[str, Json])

    def body(self, messages: list[Json]) -> JsonObject:
        spoken = dialect(self.name)
        inner = {"model": "m", spoken.messages_key: messages, **self.rest}
        return with_framed(spoken, self.around, inner)

    def take(self, remote: Remote, known: Known, messages: list[Json]) -> Taken:
        return self.send(remote, known, json.dumps(self.body(messages)).encode())

    def send(self, remote: Remote, known: Known, raw: bytes) -> Taken:
        return drive(take(Turn.of_bytes(dialect(self.name), self.path, raw), known), remote)


def chat(text: str, data: bytes) -> JsonObject:
    url: JsonObject = {"url": f"data:image/png;base64,{text_of(data)}", "detail": "low"}
    parts: list[Json] = [{"type": "text", "text": text}, {"type": "image_url", "image_url": url}]
    return {"role": "user", "content": parts}


def _responses(text: str, data: bytes) -> JsonObject:
    url = f"data:image/png;base64,{text_of(data)}"
    parts: list[Json] = [
        {"type": "input_text", "text": text},
        {"type": "input_image", "image_url": url},
    ]
    return {"role": "user", "content": parts}


def _anthropic(text: str, data: bytes) -> JsonObject:
    source: JsonObject = {"type": "base64", "media_type": "image/png", "data": text_of(data)}
    parts: list[Json] = [
        {"type": "image", "source": source, "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": text},
    ]
    return {"role": "user", "content": parts}


def _gemini(text: str, data: bytes) -> JsonObject:
    inline: JsonObject = {"mimeType": "image/png", "data": text_of(data)}
    return {"role": "user", "parts": [{"text": text}, {"inlineData": inline}]}


def _gemini_of_the_sdk(text: str, data: bytes) -> JsonObject:
    written = base64.urlsafe_b64encode(data).decode()
    inline: JsonObject = {"mime_type": "image/png", "data": written}
    return {"role": "user", "parts": [{"text": text}, {"inlineData": inline}]}


def dify(text: str, data: bytes) -> JsonObject:
    image: JsonObject = {
        "type": "image",
        "format": "png",
        "base64_data": text_of(data),
        "url": "",
        "mime_type": "image/png",
        "filename": "p.png",
        "detail": "high",
    }
    parts: list[Json] = [{"type": "text", "data": text}, image]
    return {"role": "user", "content": parts, "name": None}


SPOKEN = [
    Spoken("openai.chat", "/v1/chat/completions", chat, {"temperature": 0.5}),
    Spoken("openai.responses", "/v1/responses", _responses, {"stream": True}),
    Spoken("anthropic.messages", "/v1/messages?beta=true", _anthropic, {"max_tokens": 7}),
    Spoken("gemini.generate", "/v1beta/models/m:generateContent", _gemini, {}),
    Spoken("gemini.generate", "/v1/models/m:streamGenerateContent?alt=sse", _gemini_of_the_sdk, {}),
    Spoken(
        "dify.llm",
        "/plugin/tenant/dispatch/llm/invoke",
        dify,
        {"credentials": {"api_key": "k" * 20}, "stream": True},
        {"user_id": "u", "context": {}},
    ),
]
CHAT = SPOKEN[0]
DIFY = SPOKEN[-1]

TOOLS: list[Json] = [
    {"type": "function", "function": {"name": f"tool_{number}", "description": "Does it. " * 20}}
    for number in range(50)
]
