"""Bodies, bounded in bytes and time, and never taken for whole when they are not."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import ClientSession, web

from coatcheck.web import (
    Limits,
    Route,
    Server,
    body_chunks,
    read_body,
    require_identity,
)

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]
BOUND = 1_000_000


class Sink:
    """A handler that reads a body, and remembers what came."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.pieces: list[bytes] = []

    async def receive(self, request: web.Request) -> web.StreamResponse:
        self.pieces.clear()
        async for chunk in body_chunks(request, BOUND):
            self.pieces.append(chunk)
        self.bodies.append(b"".join(self.pieces))
        return web.Response(text=str(len(self.bodies[-1])))


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest.fixture
async def server(serve: Serve, sink: Sink) -> Server:
    return await serve(
        [Route("POST", "/sink", sink.receive, scope=None)], Limits(linger_seconds=0.1)
    )


def head(*lines: str) -> bytes:
    return "\r\n".join(
        ["POST /sink HTTP/1.1", "Host: localhost", "Connection: close", *lines, "", ""]
    ).encode()


async def test_a_body_arrives_whole(server: Server, sink: Sink, http: ClientSession) -> None:
    async with http.post(f"{server.address.url}/sink", data=b"x" * 300_000) as answer:
        assert await answer.text() == "300000"
    assert sink.bodies == [b"x" * 300_000]


async def test_read_body_returns_the_bytes(serve: Serve, http: ClientSession) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await read_body(request, BOUND))

    server = await serve([Route("POST", "/", handler, scope=None)])
    for data in (b"", b"a", bytes(range(256)) * 2000):
        async with http.post(server.address.url, data=data) as answer:
            assert await answer.read() == data


@pytest.mark.parametrize("size", [BOUND + 1, 11])
async def test_read_body_has_its_bound_however_the_body_comes(
    serve: Serve, http: ClientSession, size: int
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response(body=await read_body(request, min(BOUND, size - 1)))

    async def chunked() -> AsyncIterator[bytes]:
        yield b"x" * size

    server = await serve([Route("POST", "/", handler, scope=None)])
    for data in (b"x" * size, chunked()):
        async with http.post(server.address.url, data=data) as answer:
            assert answer.status == 413


async def test_a_length_over_the_bound_is_refused_before_a_byte_is_read(
    server: Server, sink: Sink, talk: Talk
) -> None:
    answer = await talk(server, head(f"Content-Length: {BOUND + 1}"))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"body_too_large" in answer
    assert b"x-should-retry: false" in answer
    assert sink.pieces == []


async def test_a_chunked_body_is_cut_at_the_bound(
    server: Server, sink: Sink, http: ClientSession
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 65536

    async with http.post(f"{server.address.url}/sink", data=endless()) as answer:
        assert answer.status == 413
        assert answer.headers["Connection"] == "close"
    assert sink.bodies == []


@pytest.mark.parametrize("sent", [0, 1, 9])
async def test_a_body_shorter_than_its_length_is_incomplete(
    server: Server, sink: Sink, sent: int
) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Content-Length: 10") + b"x" * sent)
    writer.write_eof()
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"body_incomplete" in answer
    assert sink.bodies == []
    writer.close()


async def test_a_chunked_body_without_its_end_is_incomplete(server: Server, sink: Sink) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Transfer-Encoding: chunked") + b"3\r\nabc\r\n")
    writer.write_eof()
    assert b"body_incomplete" in await reader.read()
    assert sink.bodies == []
    writer.close()


async def test_what_follows_the_length_is_not_part_of_the_body(
    server: Server, sink: Sink, talk: Talk
) -> None:
    request = head("Content-Length: 3").replace(b"Connection: close\r\n", b"")
    answer = await talk(server, request + b"abcdefgh\r\n\r\n")
    # Read in one piece, the request is refused with its tail; else it is served first.
    assert sink.bodies in ([], [b"abc"])
    assert b" 400 " in answer
    assert b"http_malformed" in answer


@pytest.mark.parametrize("framing", [b"zz\r\nabc\r\n", b"-3\r\nabc\r\n", b"3\nabc\n0\n\n"])
async def test_broken_chunks_are_malformed(
    server: Server, sink: Sink, talk: Talk, framing: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await talk(server, head("Transfer-Encoding: chunked") + framing + b"0\r\n\r\n")
    assert answer[8:13] == b" 400 "
    assert sink.bodies == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_body_that_stalls_times_out(serve: Serve, sink: Sink) -> None:
    limits = Limits(body_idle_seconds=0.03, linger_seconds=0.03)
    server = await serve([Route("POST", "/sink", sink.receive, scope=None)], limits)
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Content-Length: 10") + b"x")
    async with asyncio.timeout(5):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"body_timeout" in answer
    assert b"x-should-retry: false" in answer
    writer.close()


async def test_a_body_that_dribbles_times_out(serve: Serve, sink: Sink) -> None:
    limits = Limits(
        body_grace_seconds=0.05, body_min_bytes_per_second=1_000_000, linger_seconds=0.1
    )
    server = await serve([Route("POST", "/sink", sink.receive, scope=None)], limits)
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Content-Length: 100000"))
    answered = asyncio.ensure_future(reader.readuntil(b"body_timeout"))
    while not (await asyncio.wait([answered], timeout=0.005))[0]:
        writer.write(b"x")
    assert (await answered).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_slow_consumer_does_not_cost_the_client_its_time(
    serve: Serve, http: ClientSession
) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        size = 0
        async for chunk in body_chunks(request, BOUND):
            size += len(chunk)
            await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(len, b""))])
        return web.Response(text=str(size))

    limits = Limits(body_grace_seconds=5, body_min_bytes_per_second=1_000_000_000)
    server = await serve([Route("POST", "/slow", slow, scope=None)], limits)
    async with http.post(f"{server.address.url}/slow", data=b"x" * 900_000) as answer:
        assert await answer.text() == "900000"


async def test_a_client_that_vanishes_inside_a_body_leaves_nothing(
    server: Server, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    _, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Content-Length: 10") + b"xxx")
    await writer.drain()
    while not sink.pieces:
        await asyncio.wait([asyncio.ensure_future(asyncio.to_thread(len, b""))])
    writer.transport.abort()
    await server.stop(drain_seconds=5)
    assert sink.bodies == []
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_gzip_is_handed_on_as_it_was_sent(
    server: Server, sink: Sink, http: ClientSession
) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    headers = {"Content-Encoding": "gzip"}
    async with http.post(f"{server.address.url}/sink", data=bomb, headers=headers) as answer:
        assert await answer.text() == str(len(bomb))


@pytest.mark.parametrize(
    ("encoding", "status"), [("gzip", 415), ("identity", 200), ("Identity", 200), ("br, gzip", 415)]
)
async def test_require_identity_refuses_encodings(
    serve: Serve, http: ClientSession, encoding: str, status: int
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        require_identity(request)
        return web.Response(body=await read_body(request, BOUND))

    server = await serve([Route("POST", "/", handler, scope=None)])
    headers = {"Content-Encoding": encoding}
    async with http.post(server.address.url, data=b"x", headers=headers) as answer:
        assert answer.status == status


async def test_continue_is_said_when_the_body_is_wanted(server: Server, sink: Sink) -> None:
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(head("Content-Length: 3", "Expect: 100-continue"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"abc")
    assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
    assert sink.bodies == [b"abc"]
    writer.close()


async def test_a_refused_body_is_never_asked_for(server: Server, talk: Talk) -> None:
    request = head(f"Content-Length: {BOUND + 1}", "Expect: 100-continue")
    answer = await talk(server, request.replace(b"Connection: close\r\n", b""))
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in answer
