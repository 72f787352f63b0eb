"""A daemon over sources in memory, on loopback, and upstreams that do what a test says."""

import asyncio
import base64
import io
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import aiohttp
import pytest
from aiohttp import web as aioweb
from PIL import Image

from coatcheck.daemon import (
    CacheConfig,
    Daemon,
    DaemonConfig,
    KeptMessage,
    Ledger,
    Meters,
    Resolved,
    UpstreamConfig,
    VariantShelf,
)
from coatcheck.daemon.errors import BlobUnreadableError, StoreUnavailableError
from coatcheck.daemon.observation import Observer
from coatcheck.daemon.source import PieceReader
from coatcheck.protocol import (
    PIECE_BYTES,
    SNIFF_BYTES,
    Digest,
    Json,
    JsonObject,
    decode_json,
    encode_json,
    prompt_root,
    sniff,
)
from coatcheck.web import Server, build_app, join_faces


@dataclass
class MemoryReader:
    """Pieces of bytes at hand; `bad` makes every read fail."""

    data: bytes
    digest: Digest
    bad: bool = False
    closed: bool = False
    when_closed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def size(self) -> int:
        return len(self.data)

    async def read_piece(self, index: int) -> memoryview:
        if self.bad:
            raise BlobUnreadableError(self.digest)
        return memoryview(self.data)[index * PIECE_BYTES : (index + 1) * PIECE_BYTES]

    async def close(self) -> None:
        self.closed = True
        self.when_closed.set()


@dataclass
class MemoryBlobs:
    """A `BlobSource` in memory, for one tenant."""

    name = "store"
    blobs: dict[Digest, bytes] = field(default_factory=dict[Digest, bytes])
    files: dict[str, Digest] = field(default_factory=dict[str, Digest])
    claims: set[tuple[Digest, str]] = field(default_factory=set[tuple[Digest, str]])
    rotten: set[Digest] = field(default_factory=set[Digest])
    is_full: bool = False
    readers: list[MemoryReader] = field(default_factory=list[MemoryReader])
    absorbed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, data: bytes) -> Digest:
        digest = Digest.of(data)
        self.blobs[digest] = data
        return digest

    async def resolve(self, tenant: str, digests: Collection[Digest]) -> dict[Digest, Resolved]:
        return {
            digest: Resolved(
                digest,
                len(self.blobs[digest]),
                sniff(self.blobs[digest][:SNIFF_BYTES]) or "application/octet-stream",
            )
            for digest in digests
            if digest in self.blobs
        }

    async def find_files(self, tenant: str, file_ids: Collection[str]) -> dict[str, Digest]:
        return {file_id: self.files[file_id] for file_id in file_ids if file_id in self.files}

    async def prepare(self, tenant: str, blobs: Collection[Resolved]) -> Collection[Digest]:
        return ()

    async def open(self, tenant: str, digest: Digest) -> PieceReader:
        reader = MemoryReader(self.blobs[digest], digest, digest in self.rotten)
        self.readers.append(reader)
        return reader

    async def claim(
        self, tenant: str, digests: Collection[Digest], end_user: str
    ) -> Collection[Digest]:
        held = {digest for digest in digests if digest in self.blobs}
        self.claims |= {(digest, end_user) for digest in held}
        return held

    async def held(self, tenant: str, digests: Collection[Digest]) -> Collection[Digest]:
        return {digest for digest in digests if digest in self.blobs}

    async def absorb(
        self, tenant: str, data: bytes, media_type: str | None, *, end_user: str | None = None
    ) -> Digest:
        if self.is_full:
            raise StoreUnavailableError("full")
        if end_user is not None:
            self.claims.add((Digest.of(data), end_user))
        self.absorbed.set()
        return self.add(data)


@dataclass
class MemoryPrompts:
    """A `PromptSource` in memory."""

    kept: dict[tuple[str, str, Digest], tuple[Digest, KeptMessage]] = field(
        default_factory=dict[tuple[str, str, Digest], tuple[Digest, KeptMessage]]
    )

    end_users: dict[Digest, str | None] = field(default_factory=dict[Digest, str | None])

    async def expand(self, tenant: str, dialect: str, digest: Digest) -> list[str] | None:
        texts: list[str] = []
        while digest != prompt_root(dialect):
            entry = self.kept.get((tenant, dialect, digest))
            if entry is None:
                return None
            digest, message = entry
            texts.append(message.text)
        return texts[::-1]

    async def append(
        self,
        tenant: str,
        dialect: str,
        parent: Digest,
        messages: Sequence[KeptMessage],
        *,
        end_user: str | None = None,
    ) -> None:
        for message in messages:
            self.end_users[message.digest] = end_user
            self.kept[tenant, dialect, message.digest] = (parent, message)
            parent = message.digest


@dataclass
class Running:
    """A daemon that listens, and what it stands on."""

    url: str
    blobs: MemoryBlobs
    prompts: MemoryPrompts
    http: aiohttp.ClientSession

    async def chat(
        self, body: JsonObject | bytes, headers: dict[str, str] | None = None
    ) -> tuple[int, Json, "aiohttp.ClientResponse"]:
        """Post a turn; return status, JSON answer and the response."""
        raw = body if isinstance(body, bytes) else encode_json(body)
        async with self.http.post(
            f"{self.url}/v1/chat/completions", data=io.BytesIO(raw), headers=headers
        ) as response:
            return response.status, decode_json(await response.read()), response


RunDaemon = Callable[..., Awaitable[Running]]


@asynccontextmanager
async def daemons(folder: Path) -> AsyncGenerator[RunDaemon]:
    """Start daemons; `upstreams` are their settings. They end together."""
    closing: list[Callable[[], Awaitable[None]]] = []

    async def run(
        *upstreams: UpstreamConfig,
        observer: Observer | None = None,
        meters: Meters | None = None,
        **gateway: object,
    ) -> Running:
        blobs, prompts = MemoryBlobs(), MemoryPrompts()
        config = DaemonConfig(upstreams=upstreams, **gateway)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        shelf: VariantShelf | None = None
        if any(upstream.images for upstream in upstreams):
            shelf = await VariantShelf.open(CacheConfig(folder / "variants", min_free_bytes=0))
            closing.append(shelf.close)
        ledger: Ledger | None = None
        if any(upstream.reuse != "inline" for upstream in upstreams):
            ledger = await Ledger.open(None, Random(1).randbytes)
            closing.append(ledger.close)
        daemon = Daemon.open(
            config,
            blobs,
            prompts,
            clock=lambda: 1000.0,
            observer=observer,
            meters=meters,
            shelf=shelf,
            ledger=ledger,
        )
        server = Server(build_app(join_faces([daemon.face()], title="t", version="0")))
        address = await server.start()
        http = aiohttp.ClientSession()
        closing.extend([daemon.close, server.stop, http.close])
        return Running(address.url, blobs, prompts, http)

    try:
        yield run
    finally:
        for close in reversed(closing):
            await close()


@pytest.fixture
async def run_daemon(tmp_path: Path) -> AsyncIterator[RunDaemon]:
    """Start a daemon; `upstreams` are its settings."""
    async with daemons(tmp_path) as run:
        yield run


@dataclass
class Seen:
    """What an upstream received."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        return decode_json(self.body)


@dataclass
class FakeUpstream:
    """An upstream with its requests."""

    config: UpstreamConfig
    seen: list[Seen]


Respond = Callable[[aioweb.Request], Awaitable[aioweb.StreamResponse]]
RunUpstream = Callable[..., Awaitable[FakeUpstream]]


@asynccontextmanager
async def upstreams() -> AsyncGenerator[RunUpstream]:
    """Start HTTP upstreams that answer with `respond`, a fixed JSON object by default."""
    runners: list[aioweb.AppRunner] = []

    async def run(respond: Respond | None = None, **settings: object) -> FakeUpstream:
        seen: list[Seen] = []

        async def handle(request: aioweb.Request) -> aioweb.StreamResponse:
            body = await request.read()
            seen.append(Seen(request.raw_path, dict(request.headers), body))
            return await respond(request) if respond else aioweb.json_response({"ok": True})

        app = aioweb.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", handle)
        runner = aioweb.AppRunner(
            app, access_log=None, handler_cancellation=True, auto_decompress=False
        )
        await runner.setup()
        runners.append(runner)
        site = aioweb.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        config = UpstreamConfig(name="fake", base_url=f"http://{host}:{port}/v1", **settings)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        return FakeUpstream(config, seen)

    try:
        yield run
    finally:
        for runner in runners:
            await runner.cleanup()


@pytest.fixture
async def run_upstream() -> AsyncIterator[RunUpstream]:
    """Start an HTTP upstream that answers with `respond`, a fixed JSON object by default."""
    async with upstreams() as run:
        yield run


Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
RunRaw = Callable[[Speak], Awaitable[str]]


@pytest.fixture
async def run_raw() -> AsyncIterator[RunRaw]:
    """Start an upstream that speaks bytes; returns its base URL."""
    servers: list[asyncio.Server] = []

    async def run(speak: Speak) -> str:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await reader.readuntil(b"\r\n\r\n")
                await speak(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}/v1"

    yield run
    for server in servers:
        server.close()
        await server.wait_closed()


Picture = Callable[..., bytes]
DataUrl = Callable[..., str]


@pytest.fixture(scope="session")
def picture() -> Picture:
    """Make a small picture of one colour."""

    def make(colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (4, 3)) -> bytes:
        file = io.BytesIO()
        Image.new("RGB", size, colour).save(file, kind)
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def data_url() -> DataUrl:
    """Write bytes as a data URL."""

    def write(data: bytes, media_type: str = "image/png") -> str:
        return f"data:{media_type};base64,{base64.b64encode(data).decode()}"

    return write
