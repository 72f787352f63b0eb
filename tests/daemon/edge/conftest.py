"""A client's edge, the daemon behind it, an upstream, and what stands between edge and daemon."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Literal

import aiohttp
import pytest
from aiohttp import web as aioweb
from tests.daemon.conftest import FakeUpstream, Respond, RunUpstream, upstreams

from coatcheck.api import face as store_face
from coatcheck.client import DEFAULT_REQUEST_BYTES
from coatcheck.daemon import (
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedPrompts,
    EmbeddedResponses,
    NoBlobs,
    NoMeters,
    NoPrompts,
    RemoteFace,
    UpstreamConfig,
)
from coatcheck.daemon.observation import Mode
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Keyring, OpenKeyring, Server, build_app, join_faces

BASES = {
    "openai.chat": "/v1",
    "openai.responses": "/v1",
    "anthropic.messages": "",
    "gemini.generate": "",
    "dify.llm": "",
}
PROVIDERS = ("openai.chat", "anthropic.messages", "gemini.generate", "dify.llm")


@dataclass
class Link:
    """Passes bytes between an edge and its remote, and counts them; a test can cut it."""

    target: tuple[str, int]
    up: int = 0
    down: int = 0
    port: int = 0
    cuts: Callable[[bytes], bool] | None = None
    """Says of bytes on their way up whether the connection breaks before them."""
    writers: set[asyncio.StreamWriter] = field(default_factory=set[asyncio.StreamWriter])

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self.target)
        except OSError:  # nobody listens there any more
            writer.transport.abort()
            return
        self.writers |= {writer, back}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, back, is_up=True))
                tasks.create_task(self._pass(there, writer, is_up=False))
        except* OSError:
            pass
        finally:
            for one in (writer, back):
                self.writers.discard(one)
                one.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_up: bool
    ) -> None:
        while data := await reader.read(65536):
            if is_up:
                if self.cuts and self.cuts(data):
                    raise ConnectionResetError("cut")
                self.up += len(data)
            else:
                self.down += len(data)
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError("ended")


@dataclass
class Remote:
    """A store and a daemon in one process, as `serve` has them; it can be ended, and begun anew."""

    upstreams: tuple[UpstreamConfig, ...]
    keyring: Keyring
    port: int = 0
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    store: Store | None = None

    async def start(self) -> None:
        self.store = await Store.open(StoreConfig(data_folder=None))
        self.stack.push_async_callback(self.store.close)
        config = DaemonConfig(upstreams=self.upstreams)
        daemon = Daemon.open(
            config,
            EmbeddedBlobs(self.store),
            EmbeddedPrompts(self.store),
            responses=EmbeddedResponses(self.store),
        )
        self.stack.push_async_callback(daemon.close)
        faces = [store_face(self.store, elsewhere=daemon.passage), daemon.face()]
        routes = join_faces(faces, title="t", version="0")
        server = Server(build_app(routes, keyring=self.keyring))
        self.port = (await server.start(port=self.port)).port
        self.stack.push_async_callback(server.stop, 0)

    async def stop(self) -> None:
        """End, and lose everything."""
        await self.stack.aclose()


@dataclass
class Chain:
    """All of it. `direct` is an upstream that a client may ask without us."""

    upstream: FakeUpstream
    remote: Remote
    link: Link
    url: str
    http: aiohttp.ClientSession
    meters: "Counted"

    @property
    def remote_url(self) -> str:
        return f"http://127.0.0.1:{self.remote.port}"


@dataclass
class Counted(NoMeters):
    """What an edge says of itself."""

    uploads: int = 0
    upload_bytes: int = 0
    replays: int = 0
    saved_bytes: int = 0

    def edge(self, uploads: int, upload_bytes: int, replays: int) -> None:
        self.uploads += uploads
        self.upload_bytes += upload_bytes
        self.replays += replays

    def saved(self, size: int) -> None:
        self.saved_bytes += size


RunChain = Callable[..., Awaitable[Chain]]


@asynccontextmanager
async def chains() -> AsyncGenerator[RunChain]:
    """Start chains; they end together."""
    async with AsyncExitStack() as stack:
        run_upstream: RunUpstream = await stack.enter_async_context(upstreams())

        async def run(
            respond: Respond | None = None,
            *,
            key: str | None = None,
            keyring: Keyring | None = None,
            max_piece_bytes: int = DEFAULT_REQUEST_BYTES,
            history: Literal["upstream", "coatcheck"] = "upstream",
            mode: Mode = "on",
        ) -> Chain:
            upstream = await run_upstream(respond)
            origin = upstream.config.base_url.removesuffix("/v1")
            there = tuple(
                UpstreamConfig(name, dialect=name, base_url=origin + BASES[name], mode=mode)
                for name in PROVIDERS
            )
            if history == "coatcheck":
                told = replace(there[0], name="r", dialect="openai.responses", history=history)
                there = (*there, told)
            remote = Remote(there, keyring or OpenKeyring())
            await remote.start()
            stack.push_async_callback(remote.stop)
            link = Link(("127.0.0.1", remote.port))
            listening = await asyncio.start_server(link.serve, "127.0.0.1", 0)
            stack.push_async_callback(_end, listening, link)
            link.port = listening.sockets[0].getsockname()[1]
            edges = tuple(
                replace(
                    config,
                    base_url=f"http://127.0.0.1:{link.port}{BASES[config.dialect]}",
                    reuse="coatcheck",
                    api_key=key,
                    max_piece_bytes=max_piece_bytes,
                    history="upstream",
                    mode="on",
                )
                for config in there
            )
            meters = Counted()
            far = RemoteFace.open(edges, meters)
            stack.push_async_callback(far.close)
            config = DaemonConfig(upstreams=edges, has_echo=False)
            edge = Daemon.open(config, NoBlobs(), NoPrompts(), meters=meters)
            stack.push_async_callback(edge.close)
            routes = join_faces([far.face(), edge.face()], title="t", version="0")
            server = Server(build_app(routes))
            address = await server.start()
            stack.push_async_callback(server.stop, 0)
            http = await stack.enter_async_context(aiohttp.ClientSession())
            return Chain(upstream, remote, link, address.url, http, meters)

        yield run


async def _end(listening: asyncio.Server, link: Link) -> None:
    listening.close()
    for writer in list(link.writers):
        writer.transport.abort()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(listening.wait_closed(), 5)


@pytest.fixture
async def run_chain() -> AsyncIterator[RunChain]:
    """Start an edge, its remote and an upstream that answers with `respond`."""
    async with chains() as run:
        yield run


def streaming(*events: bytes) -> Respond:
    """Answer with a stream."""

    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        response = aioweb.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in events:
            await response.write(event)
        await response.write_eof()
        return response

    return respond
