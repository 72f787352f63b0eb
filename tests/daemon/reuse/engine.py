"""An engine like vLLM: it keeps what it made of images under the names that it is told, as they are.

A name that it has stands for what it has, whatever bytes come beside it: that is how it serves a wrong
image where two are named alike. A name alone that it does not have is refused before anything runs.
`crossed` counts the requests with bytes for each life of a name: from when it is kept until it is dropped.
"""

import base64
import json
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from coatcheck.protocol import Digest

_DATA_URL = re.compile(r"data:[a-z]+/[a-z0-9.+-]+;base64,([A-Za-z0-9+/]*={0,2})")


@dataclass
class Engine:
    """State and handlers; `app` makes the application."""

    room: int = 1 << 30
    """Bytes of images that it keeps; none: it keeps nothing."""
    kept: OrderedDict[str, bytes] = field(default_factory=OrderedDict[str, bytes])
    lives: Counter[str] = field(default_factory=Counter[str])
    crossed: Counter[tuple[str, int]] = field(default_factory=Counter[tuple[str, int]])
    unnamed: int = 0
    refused: int = 0
    bodies: list[Any] = field(default_factory=list[Any])
    raws: list[bytes] = field(default_factory=list[bytes])
    before: Callable[[web.Request], Awaitable[web.StreamResponse | None]] | None = None
    """May answer in the engine's place."""
    after: Callable[[], Awaitable[None]] | None = None
    """Is awaited before an answer."""

    def app(self) -> web.Application:
        """Return the application."""
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    def drop(self, *names: str) -> None:
        """Make room."""
        for name in names or list(self.kept):
            self.kept.pop(name, None)
            self.lives[name] += 1

    def named(self, data: bytes) -> str:
        """Return the name of bytes that are kept."""
        return next(name for name, kept in self.kept.items() if kept == data)

    def crossings(self) -> int:
        """Return how often bytes came under a name, in all its lives."""
        return sum(self.crossed.values())

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        if self.before and (answer := await self.before(request)) is not None:
            return answer
        body = json.loads(raw)
        self.bodies.append(body)
        self.raws.append(raw)
        items = list(_items(body))
        for index, (url, name) in enumerate(items):
            if url is None and (name is None or name not in self.kept):
                self.refused += 1
                text = f"Cache miss for image at index {index} but data is not provided."
                error = {"message": text, "type": "BadRequestError", "param": None, "code": 400}
                return web.json_response({"error": error}, status=400)
        had = {name: self.kept[name] for _, name in items if name is not None and name in self.kept}
        for name in had:
            self.kept.move_to_end(name)
        self.crossed.update(
            {(name, self.lives[name]) for url, name in items if url and name is not None}
        )
        shown = [str(Digest.of(self._looked_at(url, name, had))) for url, name in items]
        if self.after:
            await self.after()
        return web.json_response({"choices": [{"message": {"content": json.dumps(shown)}}]})

    def _looked_at(self, url: str | None, name: str | None, had: dict[str, bytes]) -> bytes:
        data = None if url is None else _decoded(url)
        if name is None:
            assert data is not None
            self.unnamed += 1
            return data
        if name in had:
            return had[name]
        assert data is not None  # else it was there when the request was looked through
        self.kept[name] = had[name] = data
        while sum(map(len, self.kept.values())) > self.room:
            self.drop(next(iter(self.kept)))
        return data


def _items(body: Any) -> Iterator[tuple[str | None, str | None]]:
    """Yield the URL and the name of each image, as the engine reads a part."""
    for message in body["messages"]:
        content: Any = message["content"]
        parts: list[Any] = [] if isinstance(content, str) else [*content]
        for part in parts:
            if "image_url" not in part:
                continue
            value: Any = part["image_url"]
            url: str | None = value if value is None or isinstance(value, str) else value["url"]
            name: str | None = part.get("uuid")
            assert name is None or len(name) <= 64
            yield url, name


def _decoded(url: str) -> bytes:
    match = _DATA_URL.fullmatch(url)
    assert match, url[:60]
    return base64.b64decode(match[1], validate=True)
