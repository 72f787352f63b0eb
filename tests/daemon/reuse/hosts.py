"""A store on disk with keys, its daemon in the same process or apart, and an upstream that reads by itself."""

import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import aiohttp
from aiohttp import web as aioweb

from coatcheck.api import ApiConfig, StoreKeyring, face
from coatcheck.daemon import (
    CacheConfig,
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedLinks,
    EmbeddedPrompts,
    RemoteConfig,
    RemoteStore,
    UpstreamConfig,
    copies_folder,
)
from coatcheck.protocol import Digest, Json, JsonObject
from coatcheck.store import Store, StoreConfig, blob_folder
from coatcheck.web import Server, build_app, join_faces

from .fetching import FetchingProvider, Spoken

Kind = Literal["embedded", "apart"]


@dataclass
class Host:
    """What a test talks to."""

    url: str
    store: Store
    provider: FetchingProvider
    files: Path
    headers: Mapping[str, Mapping[str, str]]
    http: aiohttp.ClientSession
    times: list[float] = field(default_factory=lambda: [1_000_000.0])

    async def put(self, data: bytes, tenant: str = "a") -> Digest:
        async with self.http.post(
            f"{self.url}/v1/blobs", data=data, headers=self.headers[tenant]
        ) as answer:
            assert answer.status == 201
            return Digest((await answer.json())["digest"])

    async def turn(
        self, spoken: Spoken, blobs: Sequence[tuple[Digest, str]], tenant: str = "a"
    ) -> tuple[int, Json]:
        """Send a turn with attachments by ref; return status and answer."""
        body = spoken.turn([(f"blob:{digest}", kind) for digest, kind in blobs])
        return await self.post(spoken, body, tenant)

    async def post(
        self, spoken: Spoken, body: JsonObject, tenant: str = "a", **more: str
    ) -> tuple[int, Json]:
        """Send a body; `more` are headers."""
        headers = {**self.headers[tenant], "anthropic-version": "2023-06-01", **more}
        async with self.http.post(f"{self.url}{spoken.path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json(content_type=None)


@asynccontextmanager
async def hosting(
    folder: Path, kind: Kind, provider: FetchingProvider, config: UpstreamConfig
) -> AsyncGenerator[Host]:
    """Serve a store, a daemon over it and the provider; `config` says all of it but where it is."""
    async with AsyncExitStack() as stack:
        times = [1_000_000.0]
        settings = StoreConfig(folder / "data", min_free_bytes=0, signed_url_seconds=600)
        store = await stack.enter_async_context(await Store.open(settings, clock=lambda: times[0]))
        keys = {
            tenant: await store.keys.create(tenant=tenant, scopes={"read", "write", "gateway"})
            for tenant in ("a", "b")
        }
        base_url = await _serve_provider(stack, provider)
        version = "/v1" if config.dialect.startswith("openai.") else ""
        upstream = replace(config, base_url=f"{base_url}{version}", dialect=provider.dialect)
        serve = _embedded if kind == "embedded" else _apart
        address, files = await serve(stack, store, upstream, folder, lambda: times[0])
        http = await stack.enter_async_context(aiohttp.ClientSession())
        headers = {tenant: {"Coatcheck-Key": made.key.text} for tenant, made in keys.items()}
        yield Host(address, store, provider, files, headers, http, times)


async def _serve_provider(stack: AsyncExitStack, provider: FetchingProvider) -> str:
    async def respond(request: aioweb.Request) -> aioweb.StreamResponse:
        return await (provider.hook or provider.respond)(request)

    app = aioweb.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", respond)
    runner = aioweb.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    await aioweb.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


async def _embedded(
    stack: AsyncExitStack,
    store: Store,
    upstream: UpstreamConfig,
    folder: Path,
    clock: Callable[[], float],
) -> tuple[str, Path]:
    """Serve both from one process, as `serve` does."""
    port = _free_port()
    origin = f"http://127.0.0.1:{port}"
    daemon = Daemon.open(
        DaemonConfig((upstream,)),
        EmbeddedBlobs(store),
        EmbeddedPrompts(store),
        clock=clock,
        links=EmbeddedLinks(store, origin),
        files=blob_folder(folder / "data"),
    )
    stack.push_async_callback(daemon.close)
    table = join_faces(
        [face(store, ApiConfig(public_origin=origin)), daemon.face()], title="t", version="1"
    )
    keyring = await StoreKeyring.open(store.keys, clock=clock)
    server = Server(build_app(table, keyring=keyring))
    await server.start(port=port)
    stack.push_async_callback(server.stop, 0)
    return origin, blob_folder(folder / "data")


async def _apart(
    stack: AsyncExitStack,
    store: Store,
    upstream: UpstreamConfig,
    folder: Path,
    clock: Callable[[], float],
) -> tuple[str, Path]:
    """Serve each from a server of its own, as `api` and `daemon` do."""
    table = join_faces([face(store)], title="t", version="1")
    keyring = await StoreKeyring.open(store.keys, clock=clock)
    server = Server(build_app(table, keyring=keyring))
    address = await server.start()
    stack.push_async_callback(server.stop, 0)
    key = await store.keys.create(tenant=None, scopes={"read", "write", "gateway"})
    cache = CacheConfig(folder / "cache", min_free_bytes=0)
    remote = await RemoteStore.open(RemoteConfig(address.url, cache, key.key.text), clock=clock)
    stack.push_async_callback(remote.close)
    daemon = Daemon.open(
        DaemonConfig((upstream,)),
        remote.blobs,
        remote.prompts,
        inventory=remote.inventory,
        clock=clock,
        links=remote.links,
        files=copies_folder(folder / "cache"),
    )
    stack.push_async_callback(daemon.close)
    faces = [remote.face(daemon.passage), daemon.face()]
    front = Server(build_app(join_faces(faces, title="t", version="1"), keyring=remote.keyring))
    address = await front.start()
    stack.push_async_callback(front.stop, 0)
    return address.url, copies_folder(folder / "cache")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
