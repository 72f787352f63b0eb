"""A model on loopback that speaks OpenAI's chat completions and knows what it was given.

It hashes each attachment, answers in as many pieces as it is told, and counts tokens itself, since
Dify's SDK would download a vocabulary to do so. Its words name the question, so that an answer which
reaches another caller is noticed.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from pydantic_core import from_json, to_json

Failure = Literal[400, 401, 429, 500, "hang"]


@dataclass(frozen=True, slots=True)
class Part:
    """An attachment as the model got it: its type, the digest and size of its bytes, or its URL."""

    kind: str
    media_type: str
    sha256: str
    size: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request: its text parts together, its attachments in order, the size of its body.

    `contents` is what the plugin's model class was given, of any type, if it was asked to tell.
    """

    text: str
    parts: tuple[Part, ...]
    size: int
    roles: tuple[str, ...]
    contents: tuple[Part, ...] = ()


def words(text: str, count: int) -> list[str]:
    """Return the pieces that answer a question, whose text is all of a request's text together."""
    name = hashlib.sha256(text.encode()).hexdigest()[:8]
    return [f"{name}-{number} " for number in range(count)]


@dataclass(slots=True)
class ModelServer:
    """How it answers may be changed at any time.

    `failure` is a status, or "hang" for an answer that stops after `pieces_before_hang` pieces until
    `release` is called.
    """

    pieces: int = 100
    failure: Failure | None = None
    pieces_before_hang: int = 3
    url: str = ""
    asked: list[Asked] = field(default_factory=list[Asked])
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        """`POST /v1/chat/completions`."""
        body = await request.read()
        wanted = await asyncio.to_thread(from_json, body)
        contents = _contents(request.headers.get("X-Contents", ""))
        asked = await asyncio.to_thread(_read, wanted, len(body), contents)
        self.asked.append(asked)
        failure, released = self.failure, self._released
        if isinstance(failure, int):
            error = {"message": f"told to answer {failure}", "type": "told", "code": str(failure)}
            return web.Response(
                body=to_json({"error": error}), status=failure, content_type="application/json"
            )
        said = words(asked.text, self.pieces)
        if not wanted.get("stream"):
            message = {"role": "assistant", "content": "".join(said)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {"object": "chat.completion", "choices": [choice], "usage": _usage(asked, said)}
            return web.Response(body=to_json(whole), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for number, event in enumerate(_events(asked, said)):
                if failure == "hang" and number == self.pieces_before_hang:
                    await released.wait()
                await response.write(b"data: " + event + b"\n\n")
            await response.write_eof()
        except ConnectionError:  # the plugin has gone
            pass
        return response

    def release(self) -> None:
        """Let the answers that hang go on. Called on its loop."""
        self._released.set()
        self._released = asyncio.Event()

    def application(self) -> web.Application:
        """Return its route."""
        routes = web.Application(client_max_size=1024**3)
        routes.router.add_post("/v1/chat/completions", self.complete)
        return routes


def _usage(asked: Asked, said: list[str]) -> dict[str, int]:
    prompt = len(asked.text.split()) + 85 * len(asked.parts)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(said),
        "total_tokens": prompt + len(said),
    }


def _events(asked: Asked, said: list[str]) -> Iterator[bytes]:
    for word in said:
        yield _event({"index": 0, "delta": {"content": word}, "finish_reason": None}, None)
    yield _event({"index": 0, "delta": {}, "finish_reason": "stop"}, _usage(asked, said))
    yield b"[DONE]"


def _event(choice: object, usage: object) -> bytes:
    chunk = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], "usage": usage}
    return to_json(chunk)


def _contents(told: str) -> tuple[Part, ...]:
    items = (item.split(":", 3) for item in told.split(",") if item)
    return tuple(Part(kind, "", sha256, int(size), url) for kind, sha256, size, url in items)


def _read(wanted: Any, size: int, contents: tuple[Part, ...]) -> Asked:
    texts: list[str] = []
    parts: list[Part] = []
    roles: list[str] = []
    for message in wanted["messages"]:
        roles.append(message["role"])
        content = message["content"]
        for item in (
            [{"type": "text", "text": content}] if isinstance(content, str) else content or []
        ):
            if item["type"] == "text":
                texts.append(item["text"])
            else:
                parts.append(_part(item))
    return Asked("".join(texts), tuple(parts), size, tuple(roles), contents)


def _part(item: Mapping[str, Any]) -> Part:
    kind = item["type"]
    inner = item[kind]
    text = inner.get("url") or inner.get("file_data") or inner.get("data") or ""
    head, comma, data = text.partition(",")
    if comma and head.startswith("data:"):
        media_type = head.removeprefix("data:").removesuffix(";base64")
    elif "data" in inner:
        media_type, data = inner.get("format", ""), text
    else:
        return Part(kind, "", "", 0, text)
    found = base64.b64decode(data, validate=True)
    return Part(kind, media_type, hashlib.sha256(found).hexdigest(), len(found))
