"""A server in memory for the clients to talk to, and both clients behind one face.

The server is real HTTP on loopback, in a thread with a loop of its own, so that the blocking
client waits for it as it would for any other. It keeps what the protocol says and no more.
"""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar, cast

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from tests.client.remote import Remote

from coatcheck.client import AsyncChatStream, AsyncClient, Client
from coatcheck.client.known import Known
from coatcheck.protocol import (
    DIALECTS,
    Descriptor,
    Digest,
    FoundRef,
    Json,
    JsonObject,
    Problem,
    decode_json,
    dialect,
    encode_json,
    format_digest_field,
    parse_image,
    prompt_digests,
    prompt_step,
    read_envelope,
    sniff,
    write_comment,
    write_event,
)

T = TypeVar("T")
CHAT = dialect("openai.chat")
ANSWER = "Four pictures, all of coats."


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> JsonObject:
        value = decode_json(self.body)
        assert isinstance(value, dict)
        return value


@dataclass
class FakeServer:
    """What the server keeps and saw; tests write and read it behind the client's back."""

    base_url: str = ""
    blobs: dict[Digest, tuple[bytes, str]] = field(default_factory=dict[Digest, tuple[bytes, str]])
    pinned: set[Digest] = field(default_factory=set[Digest])
    held: set[Digest] = field(default_factory=set[Digest])  # by a file
    loses: set[Digest] = field(default_factory=set[Digest])  # taken, and gone again
    prompts: dict[Digest, list[Json]] = field(default_factory=dict[Digest, list[Json]])
    seen: list[Seen] = field(default_factory=list[Seen])
    connections: int = 0
    keeps_prompts: bool = True
    page_size: int = 2
    answer: JsonObject = field(default_factory=lambda: {"role": "assistant", "content": ANSWER})
    # What to send in place of a right download, of a right JSON answer, at a stream's end.
    wrong_bytes: bytes | None = None
    wrong_answer: Callable[[], web.Response] | None = None
    stream_end: bytes | None = None
    is_cut: bool = False
    hangs: bool = False
    hangs_in_stream: bool = False
    hangs_in_body: bool = False
    answers_unstreamed: bool = False
    arrived: threading.Event = field(default_factory=threading.Event)
    upload_broke: threading.Event = field(default_factory=threading.Event)
    stream_closed_early: threading.Event = field(default_factory=threading.Event)

    def put(self, data: bytes, media_type: str | None = None) -> Digest:
        digest = Digest.of(data)
        self.blobs[digest] = (data, media_type or sniff(data) or "application/octet-stream")
        return digest

    def sent(self, method: str, path_part: str = "") -> list[Seen]:
        return [seen for seen in self.seen if seen.method == method and path_part in seen.path]

    @property
    def chats(self) -> list[Seen]:
        return self.sent("POST", "/chat/completions")

    def describe(self, digest: Digest) -> Descriptor:
        data, media_type = self.blobs[digest]
        image = parse_image(data)
        return Descriptor.of(
            digest=digest,
            size=len(data),
            media_type=media_type,
            width=image.width if image else None,
            height=image.height if image else None,
        )

    def enter(self, digest: Digest) -> JsonObject:
        descriptor = self.describe(digest).model_dump(exclude_none=True)
        return {**descriptor, "created_at": 1, "pinned": digest in self.pinned}


def _problem(problem: Problem) -> web.Response:
    return web.json_response(
        problem.to_json(), status=problem.status, content_type="application/problem+json"
    )


def _not_found(digest: Digest) -> web.Response:
    missing: list[Json] = [{"digest": digest}]
    return _problem(Problem(404, "blob_not_found", "Not found", "", {"missing": missing}))


class Routes:
    """The routes of a store and a gateway over a `FakeServer`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server
        self._transports: weakref.WeakSet[asyncio.BaseTransport] = weakref.WeakSet()

    def app(self) -> web.Application:
        app = web.Application(client_max_size=0, middlewares=[self._watch])
        app.router.add_post("/v1/blobs/missing", self._missing)
        app.router.add_get("/v1/blobs", self._list)
        app.router.add_put("/v1/blobs/{digest}", self._put)
        app.router.add_get("/v1/blobs/{digest}", self._get)
        app.router.add_delete("/v1/blobs/{digest}", self._delete)
        app.router.add_put("/v1/blobs/{digest}/pin", self._pin)
        app.router.add_delete("/v1/blobs/{digest}/pin", self._unpin)
        app.router.add_post("/v1/blobs/{digest}/signed-url", self._sign)
        app.router.add_post("/v1/chat/completions", self._chat)
        return app

    @web.middleware
    async def _watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.transport not in self._transports:
            assert request.transport is not None
            self._transports.add(request.transport)
            self._server.connections += 1
        try:
            body = await request.read()
        except (ConnectionError, web.RequestPayloadError, asyncio.CancelledError):
            self._server.upload_broke.set()
            raise
        self._server.seen.append(Seen(request.method, request.path_qs, dict(request.headers), body))
        self._server.arrived.set()
        if self._server.hangs:
            await asyncio.Event().wait()
        if self._server.wrong_answer is not None:
            return self._server.wrong_answer()
        return await handler(request)

    async def _missing(self, request: web.Request) -> web.Response:
        digests = cast("list[Digest]", (await request.json())["digests"])
        assert len(digests) <= 1000
        missing = [digest for digest in digests if digest not in self._server.blobs]
        return web.json_response({"missing": missing, "lease_expires_at": 1.0})

    async def _list(self, request: web.Request) -> web.Response:
        start = int(request.query.get("cursor", "0"))
        stop = start + self._server.page_size
        digests = list(self._server.blobs)
        items = [self._server.enter(digest) for digest in digests[start:stop]]
        following = str(stop) if stop < len(digests) else None
        return web.json_response({"blobs": items, "next_cursor": following})

    async def _put(self, request: web.Request) -> web.Response:
        digest, body = Digest(request.match_info["digest"]), await request.read()
        assert request.headers["Repr-Digest"] == format_digest_field(digest)
        if Digest.of(body) != digest:
            return _problem(Problem(422, "digest_mismatch", "Other bytes"))
        self._server.put(body, request.headers.get("Content-Type"))
        descriptor = self._server.describe(digest)
        if digest in self._server.loses:
            del self._server.blobs[digest]
        return web.json_response(descriptor.model_dump(exclude_none=True), status=201)

    async def _get(self, request: web.Request) -> web.StreamResponse:
        digest = Digest(request.match_info["digest"])
        if digest not in self._server.blobs:
            return _not_found(digest)
        data, media_type = self._server.blobs[digest]
        if self._server.wrong_bytes is not None and request.method == "GET":
            data = self._server.wrong_bytes
        descriptor = self._server.describe(digest)
        response = web.StreamResponse(headers={"Coatcheck-Media-Type": media_type})
        response.content_length = len(data)
        if descriptor.width is not None:
            response.headers["Coatcheck-Width"] = str(descriptor.width)
            response.headers["Coatcheck-Height"] = str(descriptor.height)
        await response.prepare(request)
        if request.method == "GET":
            await response.write(data[: len(data) // 2])
            if self._server.hangs_in_body:
                await asyncio.Event().wait()
            if self._server.is_cut:
                _cut(request)
            else:
                await response.write(data[len(data) // 2 :])
        return response

    async def _delete(self, request: web.Request) -> web.Response:
        digest = Digest(request.match_info["digest"])
        if digest not in self._server.blobs:
            return _not_found(digest)
        if digest not in self._server.held:
            del self._server.blobs[digest]
            return web.json_response({"digest": digest, "holds": []})
        hold: JsonObject = {"kind": "file", "name": "file-cc", "expires_at": 7}
        return web.json_response({"digest": digest, "holds": [hold]})

    async def _pin(self, request: web.Request) -> web.Response:
        digest = Digest(request.match_info["digest"])
        if digest not in self._server.blobs:
            return _not_found(digest)
        self._server.pinned.add(digest)
        return web.json_response(self._server.enter(digest))

    async def _unpin(self, request: web.Request) -> web.Response:
        digest = Digest(request.match_info["digest"])
        if digest not in self._server.blobs:
            return _not_found(digest)
        self._server.pinned.discard(digest)
        return web.json_response(self._server.enter(digest))

    async def _sign(self, request: web.Request) -> web.Response:
        digest = Digest(request.match_info["digest"])
        if digest not in self._server.blobs:
            return _not_found(digest)
        lasts = (await request.json())["expires_seconds"]
        url = f"{self._server.base_url}/v1/blobs/{digest}?expires={1000 + lasts}"
        return web.json_response({"url": url, "expires_at": 1000 + lasts, "same_until": 1000})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = decode_json(await request.read())
        assert isinstance(body, dict)
        messages = self._expand(body)
        if isinstance(messages, Problem):
            return web.json_response(CHAT.provider.error(messages), status=messages.status)
        if missing := self._lost(messages):
            problem = Problem(404, "blob_not_found", "Not found", "", {"missing": missing})
            return web.json_response(CHAT.provider.error(problem), status=404)
        headers = self._keep(messages) if "coatcheck" in body else {}
        if body.get("stream") and not self._server.answers_unstreamed:
            return await self._stream(request, headers)
        answer = {"id": "1", "choices": [{"index": 0, "message": self._server.answer}]}
        return web.json_response(answer, headers=headers)

    def _expand(self, body: JsonObject) -> list[Json] | Problem:
        envelope = read_envelope(body, DIALECTS["openai.chat"])
        if envelope is None:
            return cast("list[Json]", body["messages"])
        if envelope.parent is None:
            return envelope.append
        if envelope.parent not in self._server.prompts:
            missing: list[Json] = [{"digest": envelope.parent}]
            return Problem(404, "prompt_not_found", "Not known", "", {"missing": missing})
        return [*self._server.prompts[envelope.parent], *envelope.append]

    def _lost(self, messages: list[Json]) -> list[Json]:
        return [
            {"digest": slot.found.ref.digest, "path": ".".join(map(str, slot.path))}
            for slot in CHAT.walk(messages)
            if isinstance(slot.found, FoundRef) and slot.found.ref.digest not in self._server.blobs
        ]

    def _keep(self, messages: list[Json]) -> dict[str, str]:
        if not self._server.keeps_prompts:
            return {}
        digests = prompt_digests(CHAT.name, messages)
        for count, digest in enumerate(digests, 1):
            self._server.prompts[digest] = messages[:count]
        answered = prompt_step(digests[-1], self._server.answer)
        self._server.prompts[answered] = [*messages, self._server.answer]
        return {"Coatcheck-Prompt": digests[-1], "Coatcheck-Answer": answered}

    async def _stream(self, request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
        answered = headers.pop("Coatcheck-Answer", None)
        response = web.StreamResponse(
            headers={**headers, "Content-Type": "text/event-stream; charset=utf-8"}
        )
        await response.prepare(request)
        try:
            async for piece in self._pieces(answered):
                await response.write(piece)
        except (ConnectionError, asyncio.CancelledError):
            self._server.stream_closed_early.set()
            raise
        if self._server.is_cut:
            _cut(request)
        return response

    async def _pieces(self, answered: str | None) -> AsyncIterator[bytes]:
        for delta in _deltas(self._server.answer):
            chunk: JsonObject = {"choices": [{"index": 0, "delta": delta}]}
            yield write_event(encode_json(chunk).decode())
        if self._server.hangs_in_stream:
            await asyncio.Event().wait()
        if self._server.stream_end is not None:
            yield self._server.stream_end
            return
        if answered is not None:
            yield write_comment(f"coatcheck-answer {answered}")
        yield write_event("[DONE]")


def _cut(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.abort()


def _deltas(answer: JsonObject) -> Iterator[JsonObject]:
    """Cut an answer as models do: content in pieces, a call's arguments in pieces."""
    yield {"role": "assistant"}
    content = answer.get("content")
    if isinstance(content, str):
        for start in range(0, len(content), 7):
            yield {"content": content[start : start + 7]}
    calls = cast("list[JsonObject]", answer.get("tool_calls", []))
    for index, call in enumerate(calls):
        function = cast("dict[str, str]", call["function"])
        begun: JsonObject = {"name": function["name"], "arguments": ""}
        yield {"tool_calls": [{**call, "index": index, "function": begun}]}
        for letter in function["arguments"]:
            yield {"tool_calls": [{"index": index, "function": {"arguments": letter}}]}
    yield {}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that listens on a free loopback port until the test ends."""
    state = FakeServer()
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stopped = asyncio.Event()

    async def serve() -> None:
        runner = web.AppRunner(
            Routes(state).app(), handler_cancellation=True, access_log=None, shutdown_timeout=0
        )
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        state.base_url = f"http://{host}:{port}"
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert ready.wait(10)
    yield state
    loop.call_soon_threadsafe(stopped.set)
    thread.join(10)
    loop.close()


class OnALoop:
    """An asynchronous object as a blocking one, on a loop of its own.

    `test_drivers.py` holds that both clients have the same methods with the same arguments.
    """

    def __init__(self, thing: object, runner: asyncio.Runner) -> None:
        self._thing = thing
        self._runner = runner

    def __getattr__(self, name: str) -> object:
        value = getattr(self._thing, name)
        return partial(self._call, value) if callable(value) else value

    def __iter__(self) -> Iterator[object]:
        return self._iterate(cast("AsyncIterator[object]", self._thing))

    def _call(self, method: Callable[..., object], *args: object, **options: object) -> object:
        result = method(*args, **options)
        if isinstance(result, AsyncIterator):  # the listing
            return self._iterate(cast("AsyncIterator[object]", result))
        awaited = self._wait(cast("Coroutine[object, object, object]", result))
        return OnALoop(awaited, self._runner) if isinstance(awaited, AsyncChatStream) else awaited

    def _iterate(self, items: AsyncIterator[object]) -> Iterator[object]:
        while True:
            try:
                item = self._wait(_next(items))
            except StopAsyncIteration:
                return
            yield item

    def _wait(self, coroutine: Coroutine[object, object, T]) -> T:
        return self._runner.run(cast("Coroutine[None, None, T]", coroutine))


async def _next(items: AsyncIterator[object]) -> object:
    return await anext(items)


MakeClient = Callable[..., Client]


@pytest.fixture(params=["blocking", "asynchronous"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Make a client of either kind with the arguments that both take; closed at the end."""
    with ExitStack() as stack:

        def make(base_url: str, key: str | None = None, **options: float) -> Client:
            if request.param == "blocking":
                return stack.enter_context(Client(base_url, key, **options))
            client = AsyncClient(base_url, key, **options)
            runner = stack.enter_context(asyncio.Runner())
            stack.callback(lambda: runner.run(client.close()))
            return cast("Client", OnALoop(client, runner))

        yield make


@pytest.fixture
def client(make_client: MakeClient, server: FakeServer) -> Client:
    """A client of the fake server."""
    return make_client(server.base_url, "cck_test")


@pytest.fixture
def remote() -> Remote:
    """A server without sockets."""
    return Remote()


@pytest.fixture
def known() -> Known:
    """What a client knows of it: nothing yet."""
    return Known(1)
