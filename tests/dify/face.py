"""The HTTP face of Dify's plugin daemon, over one plugin: what the API talks to at PLUGIN_DAEMON_URL.

As dify-plugin-daemon bdb5642a has it (internal/server, internal/service/base_sse.go): always 200 and a
stream once the request is sound; `data: {..}` frames without event lines; an error is a frame too. Beside
the two routes of language models it answers a few others, so that passing them through can be seen.
"""

import asyncio
import hashlib
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from pydantic import BaseModel, ValidationError

from coatcheck.protocol import JsonObject

from .go_structs import (
    Chunk,
    Invocation,
    InvokeData,
    NumTokens,
    NumTokensData,
    fault,
    frame,
    marshal,
    success,
)
from .host import PluginFailedError, PluginHost

MAX_EXECUTION_SECONDS = 600.0
"""The daemon's default of `PLUGIN_MAX_EXECUTION_TIMEOUT`."""
_TENANT = "/plugin/{tenant}"
_DIRECT = "/v2/invoke"


@dataclass(slots=True)
class Received:
    """A request as it came, and the bytes of its body, its answer and its two lines at the plugin."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    size: int
    sha256: str
    body: bytes = b""
    """Kept when the face keeps bodies."""
    answer_bytes: int = 0
    bytes_to_plugin: int = 0
    bytes_from_plugin: int = 0
    is_over: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set when the plugin is no longer listened to."""


@dataclass(slots=True)
class Face:
    """The daemon. `max_body_bytes` refuses a larger request with 413, as serverless runtimes do."""

    host: PluginHost
    key: str = "plugin-daemon-key"
    max_body_bytes: int | None = None
    max_execution_seconds: float = MAX_EXECUTION_SECONDS
    keeps_bodies: bool = False
    url: str = ""
    received: list[Received] = field(default_factory=list[Received])

    async def invoke(self, request: web.Request) -> web.StreamResponse:
        """`llm/invoke`."""
        return await self._dispatch(request, "invoke_llm", Invocation[InvokeData], Chunk)

    async def num_tokens(self, request: web.Request) -> web.StreamResponse:
        """`llm/num_tokens`."""
        return await self._dispatch(
            request, "get_llm_num_tokens", Invocation[NumTokensData], NumTokens
        )

    async def _dispatch(
        self,
        request: web.Request,
        action: str,
        kind: type[Invocation[InvokeData]] | type[Invocation[NumTokensData]],
        piece: type[BaseModel],
    ) -> web.StreamResponse:
        received, body = await self._receive(request)
        if refused := self._refuse(request, body):
            return refused
        try:
            wanted = kind.model_validate_json(body)
        except ValidationError as invalid:
            return _answer(400, fault("PluginDaemonBadRequestError", str(invalid), -400))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        about: JsonObject = wanted.model_dump(mode="json", exclude={"user_id", "data"})
        data: JsonObject = {"user_id": wanted.user_id, **wanted.data.model_dump(mode="json")}
        async with aclosing(self._frames(action, data, about, piece, received)) as frames:
            async for each in frames:
                received.answer_bytes += len(each)
                try:
                    await response.write(each)
                except ConnectionError:  # the client has gone
                    return response
        await response.write_eof()
        return response

    async def _frames(
        self,
        action: str,
        data: JsonObject,
        about: JsonObject,
        piece: type[BaseModel],
        received: Received,
    ) -> AsyncGenerator[bytes]:
        try:
            async with asyncio.timeout(self.max_execution_seconds):
                async for said in self._pieces(action, data, about, received):
                    yield frame(success(piece.model_validate(said)))
        except PluginFailedError as failed:
            yield frame(fault("PluginInvokeError", _told(failed), -500))
        except TimeoutError:
            yield frame(fault("PluginDaemonInternalServerError", "killed by timeout", -500))

    async def _pieces(
        self, action: str, data: JsonObject, about: JsonObject, received: Received
    ) -> AsyncIterator[JsonObject]:
        async with self.host.session(action, data, about) as session:
            try:
                async for said in session.chunks():
                    yield said
            finally:
                received.bytes_to_plugin = session.bytes_to_plugin
                received.bytes_from_plugin = session.bytes_from_plugin
                received.is_over.set()

    async def _receive(self, request: web.Request) -> tuple[Received, bytes]:
        body = await request.read()
        received = Received(
            request.method,
            request.raw_path,
            list(request.headers.items()),
            len(body),
            hashlib.sha256(body).hexdigest(),
            body if self.keeps_bodies else b"",
        )
        self.received.append(received)
        return received, body

    def _refuse(self, request: web.Request, body: bytes = b"") -> web.Response | None:
        """Return the answer to a request that may not have what it asks for, if it may not."""
        if self.max_body_bytes is not None and len(body) > self.max_body_bytes:
            message = f"Request must be smaller than {self.max_body_bytes} bytes"
            return _answer(413, {"Message": message})
        if request.headers.get("X-Api-Key") != self.key:
            return _answer(401, fault("PluginDaemonUnauthorizedError", "unauthorized", -401))
        if "/dispatch/" not in request.path:
            return None
        plugin = self.host.installation
        is_direct = request.path.startswith(_DIRECT)
        name = "X-Plugin-Unique-Identifier" if is_direct else "X-Plugin-ID"
        if not (asked := request.headers.get(name)):
            return _answer(400, fault("PluginDaemonBadRequestError", "plugin_id is required", -400))
        if asked != (plugin.unique_identifier if is_direct else plugin.plugin_id):
            return _answer(404, fault("PluginNotFoundError", "plugin not found", -404))
        return None

    async def list_plugins(self, request: web.Request) -> web.Response:
        """`management/list`: the one that is installed."""
        await self._receive(request)
        plugin = self.host.installation
        entry: JsonObject = {
            "plugin_id": plugin.plugin_id,
            "plugin_unique_identifier": plugin.unique_identifier,
            "tenant_id": request.match_info["tenant"],
        }
        return self._refuse(request) or _answer(200, success([entry]))

    async def take_package(self, request: web.Request) -> web.Response:
        """`management/install/upload/package`: a large upload; says what it got."""
        received, body = await self._receive(request)
        got: JsonObject = {"bytes": received.size, "sha256": received.sha256}
        return self._refuse(request, body) or _answer(200, success(got))

    async def give_asset(self, request: web.Request) -> web.Response:
        """`asset/{id}`: bytes of no text."""
        await self._receive(request)
        asset = bytes(range(256)) * 16
        return self._refuse(request) or web.Response(
            body=asset, content_type="application/octet-stream"
        )

    async def check_health(self, request: web.Request) -> web.Response:
        """`/health/check`, which asks for no key."""
        await self._receive(request)
        return _answer(200, {"status": "ok"})

    async def miss(self, request: web.Request) -> web.Response:
        """What no route is for."""
        await self._receive(request)
        return _answer(404, {"code": "not_found", "message": "route not found"})

    def application(self) -> web.Application:
        """Return its routes. Bodies have no limit of aiohttp's own."""
        routes = web.Application(client_max_size=1024**3)
        for prefix in (_TENANT, _DIRECT):
            routes.router.add_post(f"{prefix}/dispatch/llm/invoke", self.invoke)
            routes.router.add_post(f"{prefix}/dispatch/llm/num_tokens", self.num_tokens)
        management = f"{_TENANT}/management"
        routes.router.add_get(f"{management}/list", self.list_plugins)
        routes.router.add_post(f"{management}/install/upload/package", self.take_package)
        routes.router.add_get(f"{_TENANT}/asset/{{id}}", self.give_asset)
        routes.router.add_get("/health/check", self.check_health)
        routes.router.add_route("*", "/{path:.*}", self.miss)
        return routes


def _told(failed: PluginFailedError) -> str:
    inner: JsonObject = {
        "args": failed.details,
        "error_type": failed.error_type,
        "message": failed.message,
    }
    return marshal(inner).decode()


def _answer(status: int, value: object) -> web.Response:
    return web.Response(body=marshal(value), status=status, content_type="application/json")


@asynccontextmanager
async def on_loopback(application: web.Application) -> AsyncGenerator[str]:
    """Serve an application; yield its origin."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
