"""What crosses the last hop, by dialect and mode: one conversation, taken with each, every body counted.

Three images of 100 kB, one in each of the first three of six turns. Clients send the whole list each time, as they do;
the edge's client sends bytes inline, the others send refs.
"""

import base64
import io
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
from aiohttp import web as aioweb
from PIL import Image

from coatcheck.api import StoreKeyring, face
from coatcheck.daemon import (
    Daemon,
    DaemonConfig,
    EmbeddedBlobs,
    EmbeddedPrompts,
    NoBlobs,
    NoPrompts,
    Reuse,
    UpstreamConfig,
)
from coatcheck.protocol import (
    Digest,
    Json,
    JsonObject,
    dialect,
    framed,
    messages_in,
    with_framed,
)
from coatcheck.store import Store, StoreConfig
from coatcheck.web import Route, Server, build_app, join_faces

from ..remote import ALICE, Clock
from .engine import Engine
from .fetching import DIALECTS, FetchingProvider, Spoken
from .hosts import hosting
from .provider import Provider as FilesProvider
from .rig import rigged, served

TURNS, IMAGES, IMAGE_BYTES = 6, 3, 100_000
_ROOT = Path("/coatcheck")


@dataclass
class Crossed:
    """Bytes that reached an upstream in bodies of turns, and beside them."""

    turns: int = 0
    beside: int = 0

    def note(self, request: aioweb.Request) -> None:
        """Count a request's body; what has no length beforehand is counted where it is read."""
        size = request.content_length or 0
        if any(request.path.endswith(spoken.path) for spoken in DIALECTS):
            self.turns += size
        else:
            self.beside += size


def images() -> list[bytes]:
    """Return pictures of exactly that many bytes; what stands behind a picture's end is kept."""
    made: list[bytes] = []
    for number in range(IMAGES):
        file = io.BytesIO()
        Image.new("RGB", (8, 8), (number * 50, 0, 0)).save(file, "PNG")
        rest = IMAGE_BYTES - len(file.getvalue())
        made.append(file.getvalue() + Random(number).randbytes(rest))
    return made


Name = Callable[[bytes], str]


def by_ref(data: bytes) -> str:
    """Name an image as most clients here do."""
    return f"blob:{Digest.of(data)}"


def inline(data: bytes) -> str:
    """Name it as a client does that knows nothing of us."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def bodies(spoken: Spoken, name: Name) -> list[JsonObject]:
    """Return the bodies of the conversation's turns."""
    pictures = images()
    known = dialect(spoken.dialect)
    answer: Json = {"role": "assistant", "content": "A picture."}
    if spoken.dialect == "gemini.generate":
        answer = {"role": "model", "parts": [{"text": "A picture."}]}
    messages: list[Json] = []
    made: list[JsonObject] = []
    for turn in range(TURNS):
        new = [(name(pictures[turn]), "image/png")] if turn < IMAGES else []
        body = spoken.turn(new, text=f"What about this, number {turn}?")
        asked = messages_in(known, body)
        assert isinstance(asked, list)
        messages = [*messages, *asked]
        inner: JsonObject = {**framed(known, body), known.messages_key: messages}
        made.append(with_framed(known, body, inner))
        messages = [*messages, answer]
    return made


@dataclass(frozen=True)
class Way:
    """A dialect with a mode."""

    spoken: Spoken
    reuse: Reuse
    upstream: str
    """Whose behaviour is simulated."""


CHAT, RESPONSES, ANTHROPIC, GEMINI, DIFY = DIALECTS
WAYS: Sequence[Way] = [
    *(Way(each, "inline", "any") for each in DIALECTS),
    *(Way(each, "coatcheck", "another daemon") for each in DIALECTS),
    Way(RESPONSES, "file-id", "OpenAI"),
    Way(ANTHROPIC, "file-id", "Anthropic"),
    Way(GEMINI, "file-id", "Google"),
    Way(CHAT, "uuid", "vLLM"),
    Way(CHAT, "url", "OpenAI, engines"),
    Way(RESPONSES, "url", "OpenAI"),
    Way(ANTHROPIC, "url", "Anthropic"),
    Way(GEMINI, "url", "Google"),
    Way(DIFY, "url", "plugins that fetch"),
    *(Way(each, "file", "vLLM and other engines") for each in (CHAT, RESPONSES, ANTHROPIC)),
    Way(DIFY, "ref", "plugins with our hook"),
]


async def cross(way: Way, folder: Path) -> Crossed:
    """Take the conversation, and return what crossed. The folder is an empty one of its own."""
    crossed = Crossed()
    match way.reuse:
        case "file-id" | "uuid":
            await _with_files(way, crossed)
        case "coatcheck":
            await _through_an_edge(way, folder, crossed)
        case _:
            await _by_address(way, folder, crossed)
    return crossed


async def _talk(
    spoken: Spoken, url: str, headers: Mapping[str, str], name: Name, http: aiohttp.ClientSession
) -> None:
    for body in bodies(spoken, name):
        is_claude = spoken.dialect == "anthropic.messages"
        sent = {**headers, **({"anthropic-version": "2023-06-01"} if is_claude else {})}
        async with http.post(f"{url}{spoken.path}", json=body, headers=sent) as answer:
            assert answer.status == 200, await answer.text()


async def _by_address(way: Way, folder: Path, crossed: Crossed) -> None:
    provider = FetchingProvider(way.spoken.dialect)
    provider.mounted = (_ROOT, folder / "data/blobs/sha256")
    provider.root = _ROOT
    provider.held = {by_ref(data): data for data in images()}

    async def watched(request: aioweb.Request) -> aioweb.StreamResponse:
        crossed.note(request)
        return await provider.respond(request)

    provider.hook = watched
    config = UpstreamConfig("up", dialect=way.spoken.dialect, reuse=way.reuse, file_root=_ROOT)
    async with hosting(folder, "embedded", provider, config) as host:
        for data in images():
            await host.put(data)
        await _talk(way.spoken, host.url, host.headers["a"], by_ref, host.http)
    crossed.beside += provider.bytes_fetched


async def _with_files(way: Way, crossed: Crossed) -> None:
    clock = Clock()

    async def before(request: aioweb.Request) -> None:
        if "files" not in request.path:
            crossed.note(request)

    files, engine = FilesProvider(clock, before=before), Engine(before=before)
    app = files.app() if way.reuse == "file-id" else engine.app()
    async with (
        served(app) as origin,
        rigged(origin, way.spoken.dialect, way.reuse, clock=clock) as rig,
    ):
        for data in images():
            await rig.put(data)
        headers = {"Coatcheck-Key": ALICE}
        await _talk(way.spoken, rig.url, headers, by_ref, rig.http)
    crossed.beside += sum(len(file.data) for file in files.files.values())


async def _through_an_edge(way: Way, folder: Path, crossed: Crossed) -> None:
    async with AsyncExitStack() as stack:
        remote, key = await stack.enter_async_context(_remote(way, folder, crossed))
        base = remote + ("/v1" if way.spoken.dialect.startswith("openai.") else "")
        config = UpstreamConfig("remote", way.spoken.dialect, base, api_key=key, reuse="coatcheck")
        edge = Daemon.open(DaemonConfig([config]), NoBlobs(), NoPrompts())
        stack.push_async_callback(edge.close)
        server = Server(build_app(join_faces([edge.face()], title="t", version="0")))
        address = await server.start()
        stack.push_async_callback(server.stop, 0)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        await _talk(way.spoken, address.url, {}, inline, http)


@asynccontextmanager
async def _remote(way: Way, folder: Path, crossed: Crossed) -> AsyncGenerator[tuple[str, str]]:
    """Serve a store and a daemon that counts what reaches it; yield its origin and a key."""
    async with AsyncExitStack() as stack:
        provider = FetchingProvider(way.spoken.dialect)
        app = aioweb.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", provider.respond)
        origin = await stack.enter_async_context(served(app))
        base = origin + ("/v1" if way.spoken.dialect.startswith("openai.") else "")
        store = await Store.open(StoreConfig(folder / "data", min_free_bytes=0))
        stack.push_async_callback(store.close)
        made = await store.keys.create(tenant="a", scopes={"read", "write", "gateway"})
        upstream = UpstreamConfig("up", way.spoken.dialect, base)
        daemon = Daemon.open(DaemonConfig([upstream]), EmbeddedBlobs(store), EmbeddedPrompts(store))
        stack.push_async_callback(daemon.close)
        table = join_faces([face(store), daemon.face()], title="t", version="0")
        counted = [_counted(route, crossed) for route in table]
        server = Server(build_app(counted, keyring=await StoreKeyring.open(store.keys)))
        address = await server.start()
        stack.push_async_callback(server.stop, 0)
        yield address.url, made.key.text


def _counted(route: Route, crossed: Crossed) -> Route:
    handler: Callable[[aioweb.Request], Awaitable[aioweb.StreamResponse]] = route.handler

    async def handle(request: aioweb.Request) -> aioweb.StreamResponse:
        crossed.note(request)
        return await handler(request)

    return replace(route, handler=handle)
