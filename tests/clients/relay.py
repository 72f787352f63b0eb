"""A relay on loopback between a client and a server, which keeps what passed.

It tells what a client truly sent, how often, and that a client which refuses has sent nothing.
Requests are kept by the model that they name; those that make a file, by the name of the file.
"""

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

_HOP = frozenset({"connection", "host", "keep-alive", "transfer-encoding", "content-length"})
_IN_NAME = re.compile(rb'"([a-z0-9_.-]+)\.png"')
_IN_PATH = re.compile(r"/models/([^/:]+):")


@dataclass(frozen=True)
class Passed:
    """One request and the head of its answer."""

    path: str
    body: str
    status: int
    media_type: str


@dataclass
class Relay:
    """Where it listens, and what it saw for each model."""

    target: str
    session: aiohttp.ClientSession
    url: str = ""
    seen: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))

    async def pass_on(self, request: web.Request) -> web.StreamResponse:
        """Send a request to the target, and its answer back as it comes."""
        body = await request.read()
        kept = [
            (name, value) for name, value in request.headers.items() if name.lower() not in _HOP
        ]
        async with self.session.request(
            request.method,
            self.target + request.raw_path,
            headers=kept,
            data=body or None,
            allow_redirects=False,
        ) as answer:
            passed = Passed(
                request.path, body.decode("latin-1"), answer.status, answer.content_type
            )
            self.seen[_model(request.path, body)].append(passed)
            headers = [(n, v) for n, v in answer.headers.items() if n.lower() not in _HOP]
            response = web.StreamResponse(status=answer.status, headers=dict(headers))
            # A client may hang up once it has read what it waits for.
            with contextlib.suppress(ConnectionResetError):
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
            return response


def _model(path: str, body: bytes) -> str:
    if found := _IN_PATH.search(path):
        return found[1]
    if name := _IN_NAME.search(body):
        return name[1].decode()
    try:
        named = json.loads(body).get("model")
    except ValueError:
        return ""
    return named if isinstance(named, str) else ""


@asynccontextmanager
async def relaying(target: str) -> AsyncGenerator[Relay]:
    """Run a relay to a server."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        relay = Relay(target, session)
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", relay.pass_on)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            relay.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield relay
        finally:
            await runner.cleanup()
