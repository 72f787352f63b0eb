"""What is no turn of ours goes to the upstream as it came, and comes back as it was sent."""

import asyncio
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from coatcheck.daemon import GatewayConfig, UpstreamConfig
from coatcheck.daemon.observation import Observed, ObservedBody, ObservedRequest
from coatcheck.protocol import Json, encode_json

Fixture = Callable[..., Any]
ASK = encode_json({"messages": [{"role": "user", "content": "hi"}], "model": "m"})
HOP = {"host", "connection", "keep-alive", "transfer-encoding", "content-length"}


def config(recorder: Any, **settings: Any) -> UpstreamConfig:
    dialect = settings.setdefault("dialect", "openai.chat")
    base = "/v1" if dialect.startswith("openai") else ""
    settings.setdefault("name", "fake")
    return UpstreamConfig(base_url=recorder.url + base, **settings)


def answer(body: bytes, *fields: str, status: str = "200 OK", length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status}", *fields]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def exchange(url: str, *parts: bytes) -> tuple[str, list[tuple[str, str]], bytes]:
    """Send bytes, half-close nothing; return the status line, the headers, and the rest."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            raw = await reader.read()
    finally:
        writer.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    return status, [tuple(line.split(": ", 1)) for line in lines], body  # type: ignore[misc]


def head(method: str, target: str, *fields: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", "Connection: close", *fields]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def dechunk(data: bytes) -> bytes:
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body


@pytest.mark.parametrize("mode", ["pass", "observe", "on"])
@pytest.mark.parametrize(
    ("method", "fields", "body", "sent"),
    [
        ("POST", ["Content-Length: 3"], b"abc", (b"abc", False)),
        ("POST", ["Content-Length: 0"], b"", (b"", False)),
        ("POST", [], b"", (b"", False)),
        ("DELETE", [], b"", (b"", False)),
        ("GET", [], b"", (b"", False)),
        ("GET", ["Content-Length: 2"], b"{}", (b"{}", False)),
        ("OPTIONS", [], b"", (b"", False)),
        ("PROPFIND", ["Content-Length: 1"], b"x", (b"x", False)),
        (
            "POST",
            ["Transfer-Encoding: chunked"],
            b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
            (b"abcd", True),
        ),
        ("PUT", ["Transfer-Encoding: chunked"], b"0\r\nTrailer: x\r\n\r\n", (b"", True)),
    ],
)
async def test_every_method_and_framing_goes_on(
    run_daemon: Fixture,
    run_recorder: Fixture,
    mode: str,
    method: str,
    fields: list[str],
    body: bytes,
    sent: tuple[bytes, bool],
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder, mode=mode))
    status, _, answered = await exchange(daemon.url, head(method, "/v1/things?a=1", *fields), body)
    assert (status, answered) == ("HTTP/1.1 200 OK", b"{}")
    (seen,) = recorder.seen
    assert (seen.method, seen.target) == (method, "/v1/things?a=1")
    assert (seen.body, seen.is_chunked) == sent
    assert seen.get("Content-Length") == [
        field.split(": ")[1] for field in fields if field.startswith("Content-Length")
    ]


@pytest.mark.parametrize(
    "target",
    [
        "/v1/%7Euser/%2F%zz/%ff?q=%41&q=&&=a+b%20c&%zz",
        "/v1/batches?",
        "/v1//double//",
        "/v1/a;b=c,d@e:f?g#h",
        "/v1/line%0Abreak",
        "/v1/files/file-1/content",
    ],
)
async def test_targets_go_on_as_written(
    run_daemon: Fixture, run_recorder: Fixture, target: str
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder))
    status, _, _ = await exchange(daemon.url, head("GET", target))
    assert status == "HTTP/1.1 200 OK"
    assert recorder.seen[0].target == target


async def test_an_absolute_target_is_read_like_its_path(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder))
    await exchange(daemon.url, head("GET", "http://localhost/v1/batches?x=%41"))
    assert recorder.seen[0].target == "/v1/batches?x=%41"


async def test_request_headers_go_on_in_order_but_for_those_of_the_hop(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder))
    passing = [
        "Accept: a",
        "X-Many: 1",
        "accept: b",
        "X-MANY: 2",
        "Accept-Encoding: zstd, br",
        "Authorization: Bearer theirs",
        "X-Empty: ",
        "User-Agent: test/1",
    ]
    hop = [
        "Connection: X-Hop, close",
        "X-Hop: 1",
        "TE: trailers",
        "Trailer: X-Late",
        "Keep-Alive: timeout=5",
        "Cookie: a=b",
        "Coatcheck-Prompt: keep",
        "Proxy-Authorization: Basic eA==",
    ]
    mixed = [line for pair in zip(passing, hop, strict=True) for line in pair]
    await exchange(daemon.url, head("GET", "/v1/batches", *mixed))
    sent = [f"{name}: {value}" for name, value in recorder.seen[0].headers if name != "Host"]
    assert [line.lower() for line in sent] == [line.lower() for line in passing]


@pytest.mark.parametrize(
    ("status", "fields", "body"),
    [
        ("200 OK", ["Content-Type: audio/mpeg"], b"\xff\xfb\x00" * 5000),
        (
            "200 OK",
            ["Content-Encoding: gzip", "X-A: 1", "x-a: 2", "X-A: 1"],
            gzip.compress(b"{}", mtime=0),
        ),
        ("429 Too Many Requests", ["Retry-After: 3", "Content-Type: text/plain"], b"slow"),
        ("302 Found", ["Location: https://elsewhere.example/", "Content-Type: a/b"], b"x"),
    ],
)
async def test_answers_come_back_as_they_were_sent(
    run_daemon: Fixture, run_recorder: Fixture, status: str, fields: list[str], body: bytes
) -> None:
    recorder = run_recorder()
    recorder.answer = answer(body, *fields, "Date: then", "Server: theirs", status=status)
    daemon = await run_daemon(config(recorder))
    answered, headers, received = await exchange(daemon.url, head("GET", "/v1/batches"))
    assert (answered, received) == (f"HTTP/1.1 {status}", body)
    ours = [f"{name}: {value}" for name, value in headers if name.lower() not in HOP]
    assert ours[: len(fields) + 2] == [*fields, "Date: then", "Server: theirs"]


async def test_an_answer_without_a_type_comes_back_without_one(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    recorder.answer = answer(b"abc", "X-A: 1")
    daemon = await run_daemon(config(recorder))
    _, headers, body = await exchange(daemon.url, head("GET", "/v1/batches"))
    assert "content-type" not in {name.lower() for name, _ in headers}
    assert body == b"abc"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
async def test_an_answer_without_a_body(
    run_daemon: Fixture, run_recorder: Fixture, status: str
) -> None:
    recorder = run_recorder()
    recorder.answer = answer(b"", "ETag: 1", status=status, length=False)
    daemon = await run_daemon(config(recorder))
    answered, headers, body = await exchange(daemon.url, head("GET", "/v1/batches"))
    assert (answered, body) == (f"HTTP/1.1 {status}", b"")
    assert not {"content-length", "transfer-encoding", "content-type"} & {
        name.lower() for name, _ in headers
    }


async def test_head_says_what_the_upstream_says(run_daemon: Fixture, run_recorder: Fixture) -> None:
    recorder = run_recorder()
    head_only = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 7\r\n\r\n"
    recorder.answer = head_only
    daemon = await run_daemon(config(recorder))
    _, headers, body = await exchange(daemon.url, head("HEAD", "/v1/files/x/content"))
    assert recorder.seen[0].method == "HEAD"
    assert ("Content-Length", "7") in headers
    assert body == b""


async def test_interim_answers_are_not_the_answer(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    recorder.answer = hints + answer(b"{}", "Content-Type: a/b")
    daemon = await run_daemon(config(recorder))
    status, _, body = await exchange(daemon.url, head("GET", "/v1/batches"))
    assert (status, body) == ("HTTP/1.1 200 OK", b"{}")


async def test_a_chunked_answer_stays_one(run_daemon: Fixture, run_recorder: Fixture) -> None:
    recorder = run_recorder()
    chunked = b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    fields = ("Content-Type: a/b", "Transfer-Encoding: chunked")
    recorder.answer = answer(chunked, *fields, length=False)
    daemon = await run_daemon(config(recorder))
    _, headers, body = await exchange(daemon.url, head("GET", "/v1/batches"))
    assert ("Transfer-Encoding", "chunked") in headers
    assert dechunk(body) == b"abc"


async def test_a_client_that_expects_100_is_told_to_go_on(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder))
    fields = ("Content-Length: 2", "Expect: 100-continue")
    status, headers, rest = await exchange(
        daemon.url, head("POST", "/v1/embeddings", *fields), b"{}"
    )
    assert status == "HTTP/1.1 100 Continue"
    assert not headers
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert not recorder.seen[0].get("Expect")


@pytest.mark.parametrize("mode", ["pass", "observe"])
@pytest.mark.parametrize("target", ["/v1/embeddings", "/v1/chat/completions"])
async def test_a_body_goes_on_before_it_has_come_whole(
    run_daemon: Fixture, run_raw: Fixture, mode: str, target: str
) -> None:
    """The upstream answers when it has seen a part; the client sends the rest after that."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = b""
        while seen.count(b"x") < 2 << 20:
            seen += await reader.read(65536)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: a/b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nearly\r\n"
        )
        while not seen.endswith(b"the end"):
            seen += await reader.read(65536)
        writer.write(b"0\r\n\r\n")

    base = await run_raw(speak)
    daemon = await run_daemon(UpstreamConfig(name="slow", base_url=base, mode=mode))  # type: ignore[arg-type]
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    size = (2 << 20) + 7
    writer.write(head("POST", target, f"Content-Length: {size}") + b"x" * (2 << 20))
    async with asyncio.timeout(10):
        await reader.readuntil(b"early")
        writer.write(b"the end")
        rest = await reader.read()
    assert rest.endswith(b"0\r\n\r\n")
    writer.close()


async def test_an_answer_may_end_before_the_body_has_come(
    run_daemon: Fixture, run_raw: Fixture
) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(
            answer(b"no", "Content-Type: a/b", "Connection: close", status="413 Content Too Large")
        )

    daemon = await run_daemon(UpstreamConfig(name="strict", base_url=await run_raw(speak)))
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head("POST", "/v1/embeddings", "Content-Length: 9000000") + b"x" * 1000)
    async with asyncio.timeout(5):
        head_of_answer = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(2)
    writer.close()
    assert head_of_answer.startswith(b"HTTP/1.1 413 ")
    assert body == b"no"


async def test_a_client_that_breaks_off_its_body_is_told_so(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    daemon = await run_daemon(config(recorder))
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head("POST", "/v1/embeddings", "Content-Length: 9") + b"abc")
    writer.write_eof()
    raw = await reader.read()
    assert raw.startswith(b"HTTP/1.1 400 ")
    assert json.loads(raw.partition(b"\r\n\r\n")[2])["error"]["code"] == "body_incomplete"
    writer.close()


@pytest.mark.parametrize("mode", ["pass", "observe", "on"])
async def test_a_large_body_is_not_held(
    run_daemon: Fixture, run_recorder: Fixture, mode: str
) -> None:
    """50 MB that are no turn: what the daemon holds of them is bounded by its buffers."""
    import tracemalloc

    recorder = run_recorder()
    recorder.keeps_bodies = False
    daemon = await run_daemon(config(recorder, mode=mode))
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    piece = bytes(1 << 20)
    writer.write(head("POST", "/v1/files", f"Content-Length: {50 << 20}"))
    tracemalloc.start()
    for _ in range(50):
        writer.write(piece)
        await writer.drain()
    raw = await reader.read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    writer.close()
    assert raw.startswith(b"HTTP/1.1 200 OK")
    assert recorder.bytes_read == 50 << 20
    assert peak < 12 << 20


async def test_an_upstreams_key_goes_into_its_providers_header(
    run_daemon: Fixture, run_recorder: Fixture
) -> None:
    recorder = run_recorder()
    dialects = ("openai.chat", "anthropic.messages", "gemini.generate")
    daemon = await run_daemon(
        *(config(recorder, name=name, dialect=name, api_key=f"of {name}") for name in dialects)
    )
    for target, field in (
        ("/v1/batches", "Authorization: Bearer theirs"),
        ("/v1/batches", "anthropic-version: 2023-06-01\r\nAuthorization: Bearer theirs"),
        ("/v1beta/files?key=theirs&x=1", "X-Goog-Api-Key: theirs"),
    ):
        await exchange(daemon.url, head("GET", target, field))
    openai, anthropic, gemini = recorder.seen
    assert openai.get("Authorization") == ["Bearer of openai.chat"]
    assert (anthropic.get("x-api-key"), anthropic.get("Authorization")) == (
        ["of anthropic.messages"],
        [],
    )
    assert gemini.get("x-goog-api-key") == ["of gemini.generate"]
    assert gemini.target == "/v1beta/files?x=1"


def form(model: str) -> tuple[bytes, str]:
    body = f'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n{model}\r\n--b--\r\n'
    return body.encode(), "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("method", "path", "body", "kind", "name"),
    [
        ("POST", "/embeddings", b'{"input":"x","model":"small-2"}', "application/json", "small"),
        ("POST", "/embeddings", b'{"input":"x","model":"large"}', "application/json", "large"),
        ("POST", "/embeddings", b'{"input":"x","model":"other"}', "application/json", "first"),
        ("POST", "/embeddings", b"nonsense", "application/json", "first"),
        ("POST", "/audio/transcriptions", *form("small-1"), "small"),
        ("GET", "/models/large", b"", "", "large"),
        ("GET", "/batches", b"", "", "first"),
        ("POST", "/responses", b'{"input":"x","model":"small-2"}', "application/json", "stateful"),
    ],
)
async def test_the_model_names_the_upstream_else_the_first_one_takes_it(
    run_daemon: Fixture,
    run_upstream: Fixture,
    method: str,
    path: str,
    body: bytes,
    kind: str,
    name: str,
) -> None:
    upstreams = {
        "first": await run_upstream(models=("first*",)),
        "small": await run_upstream(models=("small*",)),
        "large": await run_upstream(models=("large",)),
        "stateful": await run_upstream(models=("small*",), dialect="openai.responses"),
    }
    daemon = await run_daemon(*(upstream.config for upstream in upstreams.values()))
    url = f"{daemon.url}/v1{path}"
    async with daemon.http.request(method, url, data=body, headers={"Content-Type": kind}) as got:
        assert got.status == 200
    assert [key for key, upstream in upstreams.items() if upstream.seen] == [name]


async def test_a_compressed_body_names_its_model_too(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    first, second = await run_upstream(models=("a",)), await run_upstream(models=("b",))
    daemon = await run_daemon(first.config, second.config)
    packed = gzip.compress(b'{"input":"x","model":"b"}')
    fields = {"Content-Encoding": "gzip"}
    async with daemon.http.post(f"{daemon.url}/v1/embeddings", data=packed, headers=fields) as got:
        assert got.status == 200
    assert second.seen[0].body == packed


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1/embeddings", {}),
        ("/v1/messages/batches", {"anthropic-version": "2023-06-01"}),
        ("/v1beta/models", {}),
    ],
)
async def test_without_an_upstream_the_answer_has_the_providers_shape(
    run_daemon: Fixture, path: str, headers: dict[str, str]
) -> None:
    daemon = await run_daemon()
    async with daemon.http.post(f"{daemon.url}{path}", data=b"{}", headers=headers) as response:
        assert response.status == 404
        assert response.headers["x-should-retry"] == "false"
        error = (await response.json())["error"]
    shapes = {
        "/v1/embeddings": lambda: error["code"],
        "/v1/messages/batches": lambda: error["details"]["error_code"],
        "/v1beta/models": lambda: error["details"][0]["code"],
    }
    assert shapes[path]() == "upstream_not_found"


@pytest.mark.parametrize(
    "path",
    [
        "/v1/blobs/x/y",
        "/v1/blobs",
        "/v1//blobs",
        "/v1///blobs/x",
        "/v1/%2Fblobs",
        "/v1/keys/x",
        "/v1/tus/1",
        "/admin/x",
        "/healthz/x",
        "/x",
    ],
)
async def test_a_mistyped_path_of_ours_goes_nowhere(
    run_daemon: Fixture, run_upstream: Fixture, path: str
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    async with daemon.http.get(URL(f"{daemon.url}{path}", encoded=True)) as response:
        assert response.status == 404
        assert response.content_type == "application/problem+json"
        assert (await response.json(content_type=None))["code"] == "not_found"
    assert not upstream.seen


@pytest.mark.parametrize(
    "path", ["/v1/realtime?model=m", "/v1/responses", "/ws/google.x.BidiGenerateContent"]
)
async def test_a_websocket_is_refused_clearly(
    run_daemon: Fixture, run_upstream: Fixture, path: str
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    fields = (
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==",
        "Sec-WebSocket-Version: 13",
    )
    request = head("GET", path, *fields).replace(b"Connection: close", b"Connection: Upgrade")
    status, headers, body = await exchange(daemon.url, request)
    assert status.startswith("HTTP/1.1 501 ")
    assert ("x-should-retry", "false") in headers
    assert b"websocket_unsupported" in body
    assert not upstream.seen


@pytest.mark.parametrize(
    "fields",
    [
        ["Upgrade: websocket, h2c"],
        ["Upgrade: h2c,WebSocket"],
        ["Upgrade: websocket/13"],
        ["Upgrade: h2c", "Upgrade: websocket"],
    ],
)
async def test_a_websocket_is_refused_wherever_the_list_of_protocols_names_it(
    run_daemon: Fixture, run_upstream: Fixture, fields: list[str]
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    request = head("GET", "/v1/realtime", *fields)
    request = request.replace(b"Connection: close", b"Connection: Upgrade")
    status, _, body = await exchange(daemon.url, request)
    assert status.startswith("HTTP/1.1 501 ")
    assert b"websocket_unsupported" in body
    assert not upstream.seen


@pytest.mark.parametrize(
    "browser",
    [
        {"Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Dest": "iframe"},
        {"Sec-Fetch-Dest": "frame"},
        {"Sec-Fetch-Dest": "fencedframe"},
        {"Sec-Fetch-Dest": "embed"},
        {"Sec-Fetch-Dest": "Object"},
        {"Upgrade-Insecure-Requests": "1"},  # all that a browser says without TLS or loopback
    ],
)
@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/v1/evil", '"code":"navigation_refused"'),
        ("POST", "/v1/chat/completions", '"code":"navigation_refused"'),
        ("GET", "/v1beta/models", '"code":"navigation_refused"'),
        ("GET", "/v1/blobs/x/y", '"code":"not_found"'),
    ],
)
async def test_no_upstreams_answer_becomes_a_page_of_this_server(
    run_daemon: Fixture,
    run_upstream: Fixture,
    browser: dict[str, str],
    method: str,
    path: str,
    says: str,
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    async with daemon.http.request(
        method, f"{daemon.url}{path}", data=b"{}", headers=browser
    ) as answer:
        assert answer.headers["x-should-retry"] == "false"
        assert says in (await answer.text()).replace(" ", "")
        assert answer.status == (404 if "not_found" in says else 403)
    assert not upstream.seen


async def test_what_pages_fetch_goes_on(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    browser = {"Sec-Fetch-Dest": "empty", "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin"}
    async with daemon.http.get(f"{daemon.url}/v1/batches", headers=browser) as answer:
        assert answer.status == 200
    assert upstream.seen[0].headers["Sec-Fetch-Dest"] == "empty"


async def test_what_would_show_our_key_is_not_passed_on(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    status, _, _ = await exchange(daemon.url, head("TRACE", "/v1/batches"))
    assert status.startswith("HTTP/1.1 405 ")
    assert not upstream.seen


class Watching:
    """An observer that keeps what it is told."""

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room
        self.bodies: list[ObservedBody | ObservedRequest] = []
        self.told: list[Observed] = []
        self.was_told = asyncio.Event()
        self.was_handed = asyncio.Event()

    def take_room(self, size: int) -> bool:
        has_room = size <= self.room
        self.room -= size if has_room else 0
        return has_room

    def give_room(self, size: int) -> None:
        self.room += size

    def read(self, body: ObservedBody | ObservedRequest) -> object:
        self.room += body.size
        if isinstance(body, ObservedBody):
            body = replace(body, chunks=[b"".join(body.chunks)])
        self.bodies.append(body)
        self.was_handed.set()
        return "read"

    def record(self, observed: Observed) -> None:
        self.told.append(observed)
        self.was_told.set()

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("mode", ["observe", "on"])
async def test_turns_are_observed_with_what_came(
    run_daemon: Fixture, run_upstream: Fixture, mode: str
) -> None:
    upstream = await run_upstream(mode=mode, observe=True)
    watching = Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    packed = gzip.compress(ASK)
    await daemon.chat(packed, {"Content-Encoding": "gzip"})
    await asyncio.wait_for(watching.was_told.wait(), 5)
    answered = len(encode_json({"ok": True})) + 1
    assert watching.told == [
        Observed(
            tenant="default",
            upstream="fake",
            mode=mode,  # type: ignore[arg-type]
            dialect="openai.chat",
            path="/v1/chat/completions",
            reading="read",
            is_dropped=False,
            bytes_up=len(packed),
            bytes_down=answered,
            status=200,
            at=1000.0,
        )
    ]
    (shown,) = watching.bodies
    if mode == "observe":
        assert shown == ObservedBody("default", "openai.chat", "gzip", [packed])
    else:  # which has parsed it already
        assert isinstance(shown, ObservedRequest)
        assert shown.sent.messages == [{"role": "user", "content": "hi"}]
        assert shown.sent.rest == {"model": "m"}
    assert watching.room == 1 << 20
    assert upstream.seen[0].body == packed


async def test_a_body_is_handed_over_before_the_answer(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    watching = Watching()
    handed: list[int] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        await asyncio.wait_for(watching.was_handed.wait(), 5)
        handed.append(len(watching.told))
        return web.json_response({"ok": True})

    upstream = await run_upstream(answer, mode="observe")
    daemon = await run_daemon(upstream.config, observer=watching)
    await daemon.chat(ASK)
    assert handed == [0]


async def test_a_body_without_room_is_dropped_and_passes_on(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream, watching = await run_upstream(mode="observe"), Watching(room=len(ASK) - 1)
    daemon = await run_daemon(upstream.config, observer=watching)
    assert (await daemon.chat(ASK))[0] == 200
    await asyncio.wait_for(watching.was_told.wait(), 5)
    (told,) = watching.told
    assert (told.is_dropped, told.reading, told.bytes_up) == (True, None, len(ASK))
    assert upstream.seen[0].body == ASK


async def test_what_is_no_turn_is_counted_and_not_copied(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream, watching = await run_upstream(mode="observe"), Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    async with daemon.http.post(f"{daemon.url}/v1/embeddings", data=b"{}"):
        await asyncio.wait_for(watching.was_told.wait(), 5)
    (told,) = watching.told
    assert (told.dialect, told.reading, told.bytes_up, told.status) == (None, None, 2, 200)


async def test_passing_is_not_observed(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream, watching = await run_upstream(mode="pass"), Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    assert (await daemon.chat(ASK))[0] == 200
    assert not watching.told


async def test_a_late_model_is_waited_for_when_it_decides(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    passing = await run_upstream(mode="observe", models=("p",))
    reading = await run_upstream(models=("r",))
    daemon = await run_daemon(passing.config, reading.config)
    text = "x" * (3 << 20)
    for model in "pr":
        body: Json = {"messages": [{"role": "user", "content": text}], "model": model}
        assert (await daemon.chat(encode_json(body)))[0] == 200
    assert [len(passing.seen), len(reading.seen)] == [1, 1]
    assert passing.seen[0].json["model"] == "p"


UNREADABLE = [
    pytest.param(b"what it was", {"Content-Encoding": "x-own"}, id="an unknown coding"),
    pytest.param(b"no gzip", {"Content-Encoding": "gzip"}, id="a wrong coding"),
    pytest.param(ASK, {"Content-Encoding": "gzip, gzip, gzip, gzip"}, id="many codings"),
    pytest.param(b'{"x": 1', {}, id="no JSON"),
    pytest.param(b'{"x":"' + b"x" * (3 << 20) + b'","model":"p"}', {}, id="a late model"),
    pytest.param(ASK, {}, id="a model that nothing fits"),
]


@pytest.mark.parametrize("mode", ["pass", "observe"])
@pytest.mark.parametrize(("body", "headers"), UNREADABLE)
async def test_a_turn_passes_whatever_it_is_where_nothing_is_read(
    run_daemon: Fixture, run_upstream: Fixture, mode: str, body: bytes, headers: dict[str, str]
) -> None:
    first = await run_upstream(mode=mode, models=("p*",))
    second = await run_upstream(mode="pass", models=("q*",))
    limit = GatewayConfig(max_request_bytes=2 << 20)
    daemon = await run_daemon(first.config, second.config, gateway=limit)
    assert (await daemon.chat(body, headers))[0] == 200
    assert [got.body for got in first.seen] == [body]
    assert not second.seen


async def test_what_is_never_reached_decides_nothing(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    passing = await run_upstream(mode="pass", models=("*",))
    hidden = await run_upstream(models=("q*",))
    daemon = await run_daemon(passing.config, hidden.config)
    assert (await daemon.chat(b"any", {"Content-Encoding": "x-own"}))[0] == 200
    assert len(passing.seen) == 1


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"any", {"Content-Encoding": "x-own"}, "content_encoding_unsupported"),
        (b"any", {"Content-Encoding": "gzip"}, "encoding_malformed"),
        (b"x" * (3 << 20), {}, "body_too_large"),
        (b'{"x": 1', {}, "json_invalid"),
    ],
)
async def test_a_turn_that_may_have_to_be_read_is_refused_when_it_cannot_be(
    run_daemon: Fixture, run_upstream: Fixture, body: bytes, headers: dict[str, str], code: str
) -> None:
    passing = await run_upstream(mode="pass", models=("p*",))
    reading = await run_upstream(models=("q*",))
    limit = GatewayConfig(max_request_bytes=2 << 20)
    daemon = await run_daemon(passing.config, reading.config, gateway=limit)
    status, answered, _ = await daemon.chat(body, headers)
    assert status in (400, 413, 415)
    assert code in str(answered)
    assert not passing.seen
    assert not reading.seen


async def test_a_large_turn_whose_model_stands_early_passes_beside_one_that_is_read(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    passing = await run_upstream(mode="pass", models=("p*",))
    reading = await run_upstream(models=("q*",))
    limit = GatewayConfig(max_request_bytes=2 << 20)
    daemon = await run_daemon(passing.config, reading.config, gateway=limit)
    body = b'{"model":"p","x":"' + b"x" * (3 << 20) + b'"}'
    assert (await daemon.chat(body))[0] == 200
    assert passing.seen[0].body == body


async def test_codings_in_several_lines_are_observed_in_their_order(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream, watching = await run_upstream(mode="observe"), Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    packed = zlib.compress(gzip.compress(ASK))
    fields = [
        f"Content-Length: {len(packed)}",
        "Content-Encoding: gzip",
        "Content-Encoding: deflate",
    ]
    await exchange(daemon.url, head("POST", "/v1/chat/completions", *fields), packed)
    await asyncio.wait_for(watching.was_told.wait(), 5)
    (shown,) = watching.bodies
    assert isinstance(shown, ObservedBody)
    assert shown.content_encoding == "gzip,deflate"


async def test_a_turn_of_mode_on_is_only_counted_unless_it_is_to_be_observed(
    run_daemon: Fixture, run_upstream: Fixture
) -> None:
    upstream, watching = await run_upstream(), Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    await daemon.chat(ASK)
    await asyncio.wait_for(watching.was_told.wait(), 5)
    assert watching.bodies == []
    (told,) = watching.told
    assert (told.reading, told.is_dropped, told.bytes_up) == (None, False, len(ASK))
    assert watching.room == 1 << 20


async def test_what_hydration_writes_is_not_observed(
    run_daemon: Fixture, run_upstream: Fixture, picture: Fixture
) -> None:
    upstream, watching = await run_upstream(observe=True), Watching()
    daemon = await run_daemon(upstream.config, observer=watching)
    ref = f"blob:{daemon.blobs.add(picture('red'))}"
    part: Json = {"type": "image_url", "image_url": {"url": ref}}
    messages: list[Json] = [{"role": "user", "content": [part]}]
    assert (await daemon.chat({"model": "m", "messages": messages}))[0] == 200
    (shown,) = watching.bodies
    assert isinstance(shown, ObservedRequest)
    assert shown.sent.messages == messages


@pytest.mark.parametrize("key", ["sk-shared", None])
@pytest.mark.parametrize(
    "path",
    [
        "/v1/files",
        "/v1/files/",
        "/v1//files",
        "/v1/%66iles/",
        "/v1/files%2F",
        "/v1/files?purpose=",
        "/v1/files?purpose=batch&purpose=vision",
        "/v1/FILES;a",
        "/v1/x%5Cfiles",
    ],
)
async def test_a_shared_keys_list_of_files_is_nobodys(
    run_daemon: Fixture, run_upstream: Fixture, path: str, key: str | None
) -> None:
    """By an id in it, a turn would show one tenant's image to another."""
    upstream = await run_upstream(dialect="openai.responses", reuse="file-id", api_key=key)
    daemon = await run_daemon(upstream.config)
    for method in ("GET", "HEAD"):
        async with daemon.http.request(
            method, URL(daemon.url + path, encoded=True), headers={"Authorization": "Bearer mine"}
        ) as answer:
            assert answer.status == (200 if key is None else 403)
            if method == "GET" and key is not None:
                assert (await answer.json())["error"]["code"] == "file_list_refused"
    assert len(upstream.seen) == (2 if key is None else 0)
    async with daemon.http.get(daemon.url + "/v1/files/file-x") as answer:
        assert answer.status == 200
