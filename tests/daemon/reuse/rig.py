"""A daemon over a store in memory, for two tenants, before an upstream that a test plays."""

import io
import json
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from aiohttp import web as aioweb

from coatcheck.api import face
from coatcheck.daemon import (
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedPrompts,
    Ledger,
    NoMeters,
    ReuseOutcome,
    UpstreamConfig,
)
from coatcheck.daemon.forward import HttpUpstream
from coatcheck.daemon.reuse.assembly import FILES_APIS
from coatcheck.daemon.reuse.file_sweep import FileSweep
from coatcheck.daemon.reuse.offer import Offer
from coatcheck.daemon.source import PieceReader, Resolved
from coatcheck.daemon.splice import Filling
from coatcheck.daemon.upstream import Upstreams
from coatcheck.protocol import Digest, Json, dialect
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Server, build_app, join_faces

from ..conftest import MemoryReader
from ..dialect_samples import BY_NAME, Sample
from ..remote import ALICE, BOB, Clock, Keyring

TENANTS: Mapping[str, str] = {"a": ALICE, "b": BOB}


def image(number: int, size: int = 200) -> bytes:
    """Return bytes that look like a picture's."""
    return b"\x89PNG\r\n\x1a\n" + Random(number).randbytes(size)


@dataclass
class Counts(NoMeters):
    """What the modes count."""

    outcomes: Counter[str] = field(default_factory=Counter[str])
    spared: int = 0

    def reused(self, mode: str, outcome: ReuseOutcome, spared: int = 0) -> None:
        self.outcomes[outcome] += 1
        self.spared += spared


@dataclass
class Rig:
    """A running daemon, and what it stands on."""

    sample: Sample
    store: Store
    daemon: Daemon
    url: str
    http: aiohttp.ClientSession
    clock: Clock
    counts: Counts
    has_tenants: bool
    client_key: str | None
    sweep: Callable[[], Awaitable[None]]
    """Looks after files at the provider, now."""

    async def put(self, data: bytes, tenant: str = "a") -> Digest:
        """Hand a blob in."""
        url = f"{self.url}/v1/blobs"
        body = io.BytesIO(data)
        async with self.http.post(url, data=body, headers=self._headers(tenant)) as response:
            assert response.status in (200, 201), await response.text()
        return Digest.of(data)

    async def post(
        self, messages: Sequence[Json], tenant: str = "a", headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Take a turn; return its status and answer."""
        body = self.sample.body(messages)
        sent = {**self._headers(tenant), **(headers or {})}
        async with self.http.post(self.url + self.sample.path, json=body, headers=sent) as response:
            return response.status, json.loads(await response.read())

    async def see(self, *parts: Json, tenant: str = "a", **headers: str) -> list[str]:
        """Take a turn of one message; return the digests of what the model saw."""
        status, answer = await self.post([self.sample.message(parts)], tenant, headers)
        assert status == 200, answer
        seen: list[str] = json.loads(said(self.sample, answer))
        return seen

    async def delete(self, digest: Digest, tenant: str = "a") -> None:
        """Let a blob go."""
        url = f"{self.url}/v1/blobs/{digest}"
        async with self.http.delete(url, headers=self._headers(tenant)) as response:
            assert response.status < 300, await response.text()

    def ref(self, data: bytes) -> Json:
        """Return a part with a ref."""
        return self.sample.ref(data)

    def _headers(self, tenant: str) -> dict[str, str]:
        headers = {"Coatcheck-Key": TENANTS[tenant]} if self.has_tenants else {}
        match self.sample.name:
            case "anthropic.messages":
                headers["anthropic-version"] = "2023-06-01"
                if self.client_key:
                    headers["x-api-key"] = self.client_key
            case "gemini.generate":
                headers["x-goog-api-key"] = self.client_key or "-"
            case _:
                if self.client_key:
                    headers["Authorization"] = f"Bearer {self.client_key}"
        return headers


def said(sample: Sample, answer: Any) -> str:
    """Return the text of a simulated model's answer."""
    return sample.said(answer)


@asynccontextmanager
async def served(app: aioweb.Application) -> AsyncGenerator[str]:
    """Serve an application on loopback; yield its origin."""
    runner = aioweb.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await aioweb.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def rigged(
    origin: str,
    name: str,
    reuse: Any,
    *,
    clock: Clock,
    folder: Path | None = None,
    has_tenants: bool = True,
    api_key: str | None = "provider-key",
    client_key: str | None = None,
    store: Store | None = None,
    lease_seconds: int = 86_400,
    **settings: Any,
) -> AsyncGenerator[Rig]:
    """Run a daemon before an upstream; with a `folder`, its ledger is there."""
    async with AsyncExitStack() as stack:
        if store is None:
            store = await Store.open(
                StoreConfig(data_folder=None, lease_seconds=lease_seconds), clock=clock
            )
            stack.push_async_callback(store.close)
        random: Callable[[int], bytes] = Random(7).randbytes
        ledger = await Ledger.open(folder / "reuse.sqlite" if folder else None, random)
        stack.push_async_callback(ledger.close)
        base = origin + ("/v1" if name.startswith("openai") else "")
        upstream = UpstreamConfig(
            "up", name, base, api_key=api_key, reuse=reuse, models=("m",), **settings
        )
        counts = Counts()
        daemon = Daemon.open(
            DaemonConfig(upstreams=[upstream]),
            EmbeddedBlobs(store),
            EmbeddedPrompts(store),
            clock=clock,
            meters=counts,
            ledger=ledger,
        )
        stack.push_async_callback(daemon.close)
        table = join_faces([face(store), daemon.face()], title="t", version="0")
        server = Server(build_app(table, keyring=Keyring() if has_tenants else None))
        url = (await server.start()).url
        stack.push_async_callback(server.stop)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        yield Rig(
            BY_NAME[name],
            store,
            daemon,
            url,
            http,
            clock,
            counts,
            has_tenants,
            client_key,
            await _sweeping(ledger, upstream, store, clock, stack),
        )


async def _sweeping(
    ledger: Ledger, config: UpstreamConfig, store: Store, clock: Clock, stack: AsyncExitStack
) -> Callable[[], Awaitable[None]]:
    upstreams = Upstreams([HttpUpstream.open(config)])
    stack.push_async_callback(upstreams.close)
    return FileSweep(ledger, FILES_APIS, upstreams, EmbeddedBlobs(store), clock).sweep


def offered(data: bytes, media_type: str = "image/png") -> Offer:
    """Return bytes as a mode is offered them."""
    digest = Digest.of(data)
    (slot,) = dialect("gemini.generate").walk([{"parts": [BY_NAME["gemini.generate"].ref(data)]}])
    filling = Filling(slot, Resolved(digest, len(data), media_type), media_type)

    async def opened() -> PieceReader:
        return MemoryReader(data, digest)

    return Offer(filling, opened, digest, "image.png")
