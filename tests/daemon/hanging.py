"""An upstream that begins its answer and never ends it."""

import asyncio

from aiohttp import web


class Hanging:
    """Answers one request; says when it has begun, and when whoever asked went away."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Send one event, and wait."""
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: 1\n\n")
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return response
