"""An upstream that fails: the dialect's error, never a hang, never a clean end."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web as aioweb
from aiohttp.client_proto import ResponseHandler

from coatcheck.daemon import Timeouts, UpstreamConfig

Fixture = Callable[..., Any]
Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ASK = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
SSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
QUICK = Timeouts(connect_seconds=5.0, first_byte_seconds=0.2, idle_seconds=0.2, total_seconds=30.0)


def config(base_url: str, timeouts: Timeouts = QUICK) -> UpstreamConfig:
    return UpstreamConfig(name="broken", base_url=base_url, timeouts=timeouts)


async def says(data: bytes, then_waits: bool = False) -> Speak:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()
        if then_waits:
            await reader.read()  # until the daemon gives up
            await asyncio.wait_for(writer.wait_closed(), 5)

    return speak


async def test_nobody_listens(run_daemon: Fixture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    daemon = await run_daemon(config(f"http://127.0.0.1:{port}/v1"))
    status, body, response = await daemon.chat(ASK)
    assert (status, body["error"]["code"]) == (502, "upstream_unreachable")
    assert body["error"]["type"] == "server_error"
    assert "x-should-retry" not in response.headers
    assert "127.0.0.1" not in body["error"]["message"]  # an address is the operator's business


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 two-hundred OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * (1 << 20) + b"\r\n\r\n",
        b"\x00\x01\x02" * 50,
    ],
)
async def test_garbage(run_daemon: Fixture, run_raw: Fixture, answer: bytes) -> None:
    daemon = await run_daemon(config(await run_raw(await says(answer))))
    status, body, response = await daemon.chat(ASK)
    assert (status, body["error"]["code"]) == (502, "upstream_garbage")
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "fields",
    [b"Content-Security-Policy: " + b"x" * 60_000 + b"\r\n", b"X-Many: 1\r\n" * 900],
    ids=["long", "many"],
)
async def test_headers_may_be_long_and_many(
    run_daemon: Fixture, run_raw: Fixture, fields: bytes
) -> None:
    answer = b"HTTP/1.1 200 OK\r\n" + fields + b"Content-Length: 2\r\n\r\n{}"
    base_url = await run_raw(await says(answer))
    daemon = await run_daemon(config(base_url))
    host, port = daemon.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET /v1/batches HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    received = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    assert received.startswith(b"HTTP/1.1 200 OK\r\n" + fields)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-"])
async def test_an_upstream_that_hangs_up_may_be_asked_again(
    run_daemon: Fixture, run_raw: Fixture, answer: bytes
) -> None:
    daemon = await run_daemon(config(await run_raw(await says(answer))))
    status, body, response = await daemon.chat(ASK)
    assert (status, body["error"]["code"]) == (502, "upstream_hung_up")
    assert "x-should-retry" not in response.headers


async def test_too_slow_to_the_first_byte(run_daemon: Fixture, run_raw: Fixture) -> None:
    daemon = await run_daemon(config(await run_raw(await says(b"", then_waits=True))))
    status, body, response = await daemon.chat(ASK)
    assert (status, body["error"]["code"]) == (504, "upstream_timeout")
    assert "first_byte_seconds" in body["error"]["message"]
    assert "x-should-retry" not in response.headers


async def stream(daemon: Any) -> AsyncIterator[bytes]:
    async with daemon.http.post(f"{daemon.url}/v1/chat/completions", json=ASK) as response:
        assert response.status == 200
        async for chunk in response.content.iter_any():
            yield chunk


async def broken_stream(daemon: Any) -> bytes:
    """Read a stream to its broken end; a clean end fails the test."""
    received = b""
    try:
        async for chunk in stream(daemon):
            received += chunk
    except aiohttp.ClientPayloadError:
        return received
    pytest.fail("the stream ended cleanly")


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@pytest.mark.parametrize("tail", [b"", chunk(b'data: {"choi'), b"ff\r\ndata"])
async def test_a_cut_stream_ends_in_the_dialects_error(
    run_daemon: Fixture, run_raw: Fixture, tail: bytes
) -> None:
    speak = await says(SSE + chunk(b"data: 1\n\n") + tail)
    daemon = await run_daemon(config(await run_raw(speak)))
    received = await broken_stream(daemon)
    first, error, rest = received.split(b"\n\n")
    assert first == b"data: 1"
    assert json.loads(error.removeprefix(b"data: "))["error"]["code"] == "upstream_cut"
    assert rest == b""


async def test_what_came_before_the_cut_is_passed_on(run_daemon: Fixture, run_raw: Fixture) -> None:
    events = b"".join(b"data: %d\n\n" % number for number in range(20_000))
    speak = await says(SSE + chunk(events) + b"5\r\nda")
    daemon = await run_daemon(config(await run_raw(speak)))
    received = await broken_stream(daemon)
    assert received.startswith(events)
    assert b"upstream_cut" in received


async def test_bytes_that_wait_when_the_break_is_noticed_are_not_lost(
    run_daemon: Fixture, run_raw: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The relay is held back until aiohttp knows of the break and holds unread bytes."""
    noticed = asyncio.Event()
    lost = ResponseHandler.connection_lost

    def connection_lost(handler: Any, error: BaseException | None) -> None:
        lost(handler, error)
        noticed.set()

    monkeypatch.setattr(ResponseHandler, "connection_lost", connection_lost)
    prepare = aioweb.StreamResponse.prepare

    async def prepare_late(response: aioweb.StreamResponse, request: Any) -> Any:
        await asyncio.wait_for(noticed.wait(), 5)
        return await prepare(response, request)

    monkeypatch.setattr(aioweb.StreamResponse, "prepare", prepare_late)
    speak = await says(SSE + chunk(b"data: 1\n\n") + b"5\r\nda")
    daemon = await run_daemon(config(await run_raw(speak)))
    assert (await broken_stream(daemon)).startswith(b"data: 1\n\ndata: ")


async def test_a_stream_that_falls_silent(run_daemon: Fixture, run_raw: Fixture) -> None:
    speak = await says(SSE + chunk(b"data: 1\n\n"), then_waits=True)
    daemon = await run_daemon(config(await run_raw(speak)))
    received = await broken_stream(daemon)
    assert b"upstream_timeout" in received
    assert b"idle_seconds" in received


async def test_a_stream_over_its_total(run_daemon: Fixture, run_raw: Fixture) -> None:
    timeouts = Timeouts(first_byte_seconds=5.0, idle_seconds=5.0, total_seconds=0.2)
    speak = await says(SSE + chunk(b"data: 1\n\n"), then_waits=True)
    daemon = await run_daemon(config(await run_raw(speak), timeouts))
    assert b"total_seconds" in await broken_stream(daemon)


async def test_the_total_counts_from_the_start(run_daemon: Fixture, run_raw: Fixture) -> None:
    timeouts = Timeouts(first_byte_seconds=30.0, idle_seconds=30.0, total_seconds=0.2)
    daemon = await run_daemon(config(await run_raw(await says(b"", then_waits=True)), timeouts))
    status, body, _ = await daemon.chat(ASK)
    assert (status, body["error"]["code"]) == (504, "upstream_timeout")
    assert "total_seconds" in body["error"]["message"]


async def test_a_cut_answer_that_is_no_stream(run_daemon: Fixture, run_raw: Fixture) -> None:
    speak = await says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")
    daemon = await run_daemon(config(await run_raw(speak)))
    assert await broken_stream(daemon) in (b"{", b"")


async def test_a_line_of_50_mb_passes(run_daemon: Fixture, run_raw: Fixture) -> None:
    line = b"data: " + b"x" * (50 << 20) + b"\n\n"
    daemon = await run_daemon(
        config(await run_raw(await says(SSE + chunk(line) + b"0\r\n\r\n")), Timeouts())
    )
    size = 0
    async for piece in stream(daemon):
        size += len(piece)
    assert size == len(line)


async def test_a_body_of_50_mb_passes(run_daemon: Fixture, run_upstream: Fixture) -> None:
    upstream = await run_upstream()
    daemon = await run_daemon(upstream.config)
    raw = json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": "x" * (50 << 20)}]}
    ).encode()
    assert (await daemon.chat(raw))[0] == 200
    assert upstream.seen[0].body == raw


async def test_a_cut_stream_with_a_length_never_ends_where_a_whole_one_would(
    run_daemon: Fixture, run_raw: Fixture
) -> None:
    events = b"data: 1\n\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 12\r\n\r\n"
    daemon = await run_daemon(config(await run_raw(await says(head + events))))
    assert b"upstream_cut" in await broken_stream(daemon)


async def test_a_stream_without_framing_that_ends_inside_an_event_was_cut(
    run_daemon: Fixture, run_raw: Fixture
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    daemon = await run_daemon(config(await run_raw(await says(head + b"data: 1\n\ndata: ha"))))
    received = await broken_stream(daemon)
    assert received.startswith(b"data: 1\n\ndata: {")
    assert b"upstream_cut" in received


@pytest.mark.parametrize("status", [b"101 Switching Protocols", b"099 Early", b"999 Late"])
async def test_a_status_that_ends_no_request_is_garbage(
    run_daemon: Fixture, run_raw: Fixture, status: bytes
) -> None:
    answer = b"HTTP/1.1 " + status + b"\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    daemon = await run_daemon(config(await run_raw(await says(answer))))
    code, body, _ = await daemon.chat(ASK)
    assert (code, body["error"]["code"]) == (502, "upstream_garbage")


async def test_an_upstream_that_reads_nothing_holds_no_connection(
    run_daemon: Fixture, run_raw: Fixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing alone would wait for it to take what is buffered."""
    ended, lost = asyncio.Event(), ResponseHandler.connection_lost

    def connection_lost(handler: Any, error: BaseException | None) -> None:
        lost(handler, error)
        ended.set()

    monkeypatch.setattr(ResponseHandler, "connection_lost", connection_lost)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.wait_for(ended.wait(), 5)

    daemon = await run_daemon(config(await run_raw(speak)))
    digest = daemon.blobs.add(b"x" * (20 << 20))
    part = {"type": "image_url", "image_url": {"url": f"blob:{digest}"}}
    status, body, _ = await daemon.chat(
        {"model": "m", "messages": [{"role": "user", "content": [part]}]}
    )
    assert (status, body["error"]["code"]) == (504, "upstream_timeout")
    await asyncio.wait_for(ended.wait(), 2)
