"""The provider of the agent's run: it reads whole requests, keeps their fingerprints, and answers.

A request that breaks off is kept nowhere: a model never sees it.
"""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from .model import Reply, fingerprint, reply_to
from .speech import stream, whole

_MAX_BODY_BYTES = 1 << 30
PATHS = {
    "/v1/chat/completions": "openai.chat",
    "/v1/responses": "openai.responses",
    "/v1/messages": "anthropic.messages",
}


@dataclass(slots=True)
class Provider:
    """Where it is, and the fingerprint of each request that it got whole, in order."""

    url: str = ""
    seen: list[str] = field(default_factory=list[str])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one turn."""
        dialect = PATHS[request.path]
        data = await request.read()
        reply, is_streamed = await asyncio.to_thread(_read, data)
        self.seen.append(reply.fingerprint)
        if not is_streamed:
            return web.Response(body=whole(dialect, reply), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in stream(dialect, reply):
            await response.write(event)
        await response.write_eof()
        return response


def _read(data: bytes) -> tuple[Reply, bool]:
    body = json.loads(data)
    return reply_to(fingerprint(body)), bool(body.get("stream"))


@asynccontextmanager
async def providing() -> AsyncGenerator[Provider]:
    """Run the provider on a free port of loopback."""
    provider = Provider()
    application = web.Application(client_max_size=_MAX_BODY_BYTES)
    for path in PATHS:
        application.router.add_post(path, provider.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield provider
    finally:
        await runner.cleanup()
