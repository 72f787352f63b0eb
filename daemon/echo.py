"""The built-in upstream `echo`: it decodes what it is given and describes it.

With it the whole path runs offline with nothing configured. It is strict like a provider: a
left-over ref, bad base64, or bytes that are not the type they claim, are refused.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from multidict import CIMultiDict

from coatcheck.protocol import (
    SNIFF_BYTES,
    Digest,
    FoundInline,
    Json,
    JsonError,
    JsonObject,
    MalformedRequestError,
    Problem,
    Slot,
    decode_json,
    dialect,
    dotted,
    encode_json,
    sniff,
    write_event,
)
from coatcheck.store import ImageWorkers

from .body import Body
from .errors import DecoderUnavailableError, RequestRefusedError
from .picture import glance
from .upstream import ECHO, Headers, Outgoing, UpstreamConfig

MAX_REQUEST_BYTES = 256 * 1024 * 1024  # it holds a request whole, as providers do
_DIALECT = "openai.chat"
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_JSON = "application/json"
_SSE = "text/event-stream; charset=utf-8"


class EchoUpstream:
    """Speaks `openai.chat` without a network. `clock` gives the `created` of its answers."""

    def __init__(
        self,
        clock: Callable[[], float],
        images: ImageWorkers,
        models: tuple[str, ...] = ("*",),
    ) -> None:
        """`images` decodes what comes, and is closed with this."""
        self._clock = clock
        self._images = images
        self._config = UpstreamConfig(name=ECHO, dialect=_DIALECT, models=models)

    @property
    def config(self) -> UpstreamConfig:
        """Every model, inline."""
        return self._config

    @asynccontextmanager
    async def send(self, outgoing: Outgoing) -> AsyncGenerator["_EchoAnswer"]:
        """Answer a request; see `Upstream.send`. A refusal is an answer too."""
        try:
            request = await _read(outgoing.body)
            words = await _describe(request, self._images)
            yield _spoken(request, words, int(self._clock()))
        except (RequestRefusedError, DecoderUnavailableError) as error:
            yield _refusal(error.problem)

    async def close(self) -> None:
        """End the workers. May be called twice."""
        await self._images.close()


@dataclass(frozen=True, slots=True)
class _EchoAnswer:
    """An answer that is at hand, piece by piece."""

    status: int
    headers: Headers
    pieces: Sequence[bytes]

    async def chunks(self) -> AsyncGenerator[bytes]:
        for piece in self.pieces:
            yield piece


async def _read(body: Body | None) -> JsonObject:
    raw = bytearray()
    if body:
        async with aclosing(body.chunks()) as chunks:
            async for chunk in chunks:
                raw += chunk
                if len(raw) > MAX_REQUEST_BYTES:
                    raise RequestRefusedError("the request is too large", "request_too_large")
    try:
        request = await asyncio.to_thread(decode_json, bytes(raw))
    except JsonError as error:
        raise RequestRefusedError(str(error), error.code) from error
    if not isinstance(request, dict):
        raise RequestRefusedError("the body is not a JSON object", "invalid_request")
    return request


async def _describe(request: JsonObject, images: ImageWorkers) -> str:
    """Check the messages and say what they hold."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestRefusedError("a list of messages is required", "invalid_request", "messages")
    for index, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if not isinstance(role, str) or role not in _ROLES:
            raise RequestRefusedError(
                f"unknown role {role!r}", "invalid_value", f"messages.{index}.role"
            )
    try:
        slots = dialect(_DIALECT).walk(messages)
    except MalformedRequestError as error:
        raise RequestRefusedError(str(error), error.code, error.path) from error
    _refuse_urls(messages, slots)
    seen = [await _describe_slot(slot, images) for slot in slots]
    text = _last_text(messages)
    pictures = "".join(f"\n{number}. {what}" for number, what in enumerate(seen, 1))
    count = f"{len(messages)} message{'s' if len(messages) > 1 else ''}"
    return f"I was given {count}; the last says: {text!r}. Attachments: {len(seen)}.{pictures}"


def _refuse_urls(messages: Sequence[Json], slots: Sequence[Slot]) -> None:
    """Refuse an image that is neither a data URL nor anything else the walk knows."""
    known = {slot.path for slot in slots}
    for index, message in enumerate(messages):
        content = message.get("content") if isinstance(message, dict) else None
        for place, part in enumerate(content if isinstance(content, list) else []):
            path = ("messages", index, "content", place, "image_url")
            if isinstance(part, dict) and part.get("type") == "image_url" and path not in known:
                raise RequestRefusedError(
                    "an image is a data URL here; echo fetches nothing",
                    "invalid_image_url",
                    dotted(path),
                )


async def _describe_slot(slot: Slot, images: ImageWorkers) -> str:
    data, kind, named = await asyncio.to_thread(_open_slot, slot)
    if slot.path[-1] != "image_url":
        return f"{kind or 'bytes'}, {named}"
    try:
        return f"{await glance(images, data)}, {named}"
    except RequestRefusedError as error:
        raise RequestRefusedError(str(error), error.problem.code, dotted(slot.path)) from error


def _open_slot(slot: Slot) -> tuple[bytes, str | None, str]:
    """Return the bytes, the media type that they show, and what they are called."""
    found, path = slot.found, dotted(slot.path)
    if not isinstance(found, FoundInline):
        raise RequestRefusedError("a reference is not an image", "invalid_image_url", path)
    data = found.decode()
    if data is None:
        raise RequestRefusedError("the base64 is invalid", "invalid_base64", path)
    kind = sniff(data[:SNIFF_BYTES])
    if found.media_type and found.media_type != kind:
        raise RequestRefusedError(
            f"declared {found.media_type}, but the bytes are {kind or 'something else'}",
            "invalid_image_format",
            path,
        )
    return data, kind, f"{Digest.of(data)}, {len(data)} bytes"


def _last_text(messages: Sequence[Json]) -> str:
    message = messages[-1]
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return content[:200]
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return " ".join(text for text in texts if isinstance(text, str))[:200]


def _spoken(request: JsonObject, text: str, created: int) -> _EchoAnswer:
    head: JsonObject = {
        "id": f"chatcmpl-{Digest.of(text.encode()).hex[:24]}",
        "created": created,
        "model": request.get("model"),
    }
    words = text.split(" ")
    usage: JsonObject = {
        "prompt_tokens": len(words),
        "completion_tokens": len(words),
        "total_tokens": 2 * len(words),
    }
    if request.get("stream") is True:
        options = request.get("stream_options")
        is_counted = isinstance(options, dict) and options.get("include_usage") is True
        events = _events(head, words, usage if is_counted else None)
        return _EchoAnswer(200, CIMultiDict({"Content-Type": _SSE}), events)
    message: JsonObject = {"role": "assistant", "content": text}
    choice: JsonObject = {"index": 0, "message": message, "finish_reason": "stop"}
    return _json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage})


def _events(head: JsonObject, words: Sequence[str], usage: JsonObject | None) -> list[bytes]:
    deltas: list[JsonObject] = [{"role": "assistant", "content": ""}]
    for index, word in enumerate(words):
        deltas.append({"content": word if index == 0 else f" {word}"})
    choices: list[JsonObject] = [
        {"index": 0, "delta": delta, "finish_reason": None} for delta in deltas
    ]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunk: JsonObject = {**head, "object": "chat.completion.chunk"}
    events: list[JsonObject] = [{**chunk, "choices": [choice]} for choice in choices]
    if usage:
        events.append({**chunk, "choices": [], "usage": usage})
    return [write_event(encode_json(event).decode()) for event in events] + [write_event("[DONE]")]


def _refusal(problem: Problem) -> _EchoAnswer:
    return _json(problem.status, dialect(_DIALECT).provider.error(problem))


def _json(status: int, value: JsonObject) -> _EchoAnswer:
    body = encode_json(value)
    headers = CIMultiDict({"Content-Type": _JSON, "Content-Length": str(len(body))})
    return _EchoAnswer(status, headers, [body])
