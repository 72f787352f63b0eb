"""A store on loopback that a test can stop, and what a daemon has of it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web as aioweb

from coatcheck.api import face
from coatcheck.daemon import CacheConfig, RemoteConfig, RemoteStore
from coatcheck.protocol import TENANT_HEADER
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Principal, Route, Server, build_app, join_faces

ALICE, BOB, KEY = (f"cck_{name * 8}_{'k' * 40}" for name in "abd")


class Keyring:
    """Keys of the tenants `a` and `b`, and a daemon's."""

    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        known = {ALICE: Principal("a"), BOB: Principal("b"), KEY: Principal(None)}
        return known.get(secret or "")


@dataclass
class Clock:
    """Seconds that pass when a test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class StoreServer:
    """A store in memory, served. `seen` has what was asked; `before` may answer in its place."""

    store: Store
    clock: Clock = field(default_factory=Clock)
    seen: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    before: Callable[[aioweb.Request], Awaitable[aioweb.StreamResponse | None]] | None = None
    server: Server | None = None
    port: int = 0

    @classmethod
    async def open(cls) -> "StoreServer":
        clock = Clock()
        store = await Store.open(StoreConfig(data_folder=None), clock=clock)
        opened = cls(store, clock)
        await opened.start()
        return opened

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Listen, after `stop` at the same address as before."""
        table = join_faces([face(self.store)], title="Coatcheck", version="1")
        watched = [self._watched(route) for route in table]
        self.server = Server(build_app(watched, keyring=Keyring()))
        self.port = (await self.server.start(port=self.port)).port

    async def stop(self) -> None:
        """Let nobody in any more, and end what is running."""
        if self.server is not None:
            await self.server.stop(0)
            self.server = None

    async def close(self) -> None:
        await self.stop()
        await self.store.close()

    def paths(self) -> list[str]:
        """Return method and path of what was asked."""
        return [f"{method} {path}" for method, path, _ in self.seen]

    def _watched(self, route: Route) -> Route:
        async def handle(request: aioweb.Request) -> aioweb.StreamResponse:
            tenant = request.headers.get(TENANT_HEADER, "")
            self.seen.append((request.method, request.path, tenant))
            if self.before and (answer := await self.before(request)) is not None:
                return answer
            return await route.handler(request)

        return Route(
            route.method,
            route.path,
            handle,
            route.operation,
            route.render_problem,
            scope=route.scope,
            capability=route.capability,
        )


async def open_remote(store: StoreServer, folder: Path, max_bytes: int = 1 << 30) -> RemoteStore:
    """Open what a daemon has of the store."""
    cache = CacheConfig(folder / "cache", max_bytes=max_bytes, min_free_bytes=0)
    return await RemoteStore.open(RemoteConfig(store.url, cache, KEY), clock=store.clock)


async def forever(request: aioweb.Request) -> aioweb.StreamResponse | None:
    """Never answer."""
    await asyncio.Event().wait()
    return None
