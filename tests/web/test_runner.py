"""The server: deadlines, caps, counts, and a stop that leaves nothing."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import ClientError, ClientSession, web

from coatcheck.web import (
    AddressError,
    BoundAddress,
    Limits,
    NotLoopbackError,
    NotStartedError,
    Principal,
    Route,
    Server,
    build_app,
    connection_of,
    read_body,
)

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]
TINY = Limits(header_seconds=0.08, write_seconds=0.08, linger_seconds=0.1)
REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"


async def hello(request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await read_body(request, 1_000_000))


HELLO = Route("GET", "/hello", hello, scope="read")
ECHO = Route("POST", "/echo", echo, scope=None)


async def test_start_returns_the_real_port(serve: Serve, http: ClientSession) -> None:
    server = await serve([HELLO])
    async with http.get(f"{server.address.url}/hello") as answer:
        assert (answer.status, await answer.text()) == (200, "hello")


async def test_without_keys_only_loopback_is_served() -> None:
    server = Server(build_app([HELLO]))
    with pytest.raises(NotLoopbackError):
        await server.start("0.0.0.0", 0)


class NoKeyIsValid:
    is_open = False

    async def identify(self, secret: str | None) -> Principal | None:
        return None


async def test_with_keys_any_address_is_served(http: ClientSession) -> None:
    server = Server(build_app([HELLO], keyring=NoKeyIsValid()))
    address = await server.start("0.0.0.0", 0)
    try:
        url = f"http://127.0.0.1:{address.port}/hello"
        async with http.get(url, headers={"Host": "coatcheck.example"}) as answer:
            assert answer.status == 401
    finally:
        await server.stop(0)


async def test_a_taken_address_is_an_error_that_names_it(serve: Serve) -> None:
    server = await serve([HELLO])
    with pytest.raises(AddressError, match=str(server.address.port)):
        await Server(build_app([HELLO])).start("127.0.0.1", server.address.port)


def test_an_address_before_the_start_is_an_error() -> None:
    with pytest.raises(NotStartedError):
        _ = Server(build_app([])).address


def test_an_ipv6_address_has_brackets_in_its_url() -> None:
    assert BoundAddress("::1", 8420).url == "http://[::1]:8420"


@pytest.mark.parametrize("start", [b"", b"GET /hello HTTP/1.1\r\nHost: local"])
async def test_a_header_that_does_not_come_closes_the_connection(
    serve: Serve, talk: Talk, start: bytes
) -> None:
    server = await serve([HELLO], TINY)
    async with asyncio.timeout(5):
        answer = await talk(server, start)
    assert answer.startswith(b"HTTP/1.1 408 ") == bool(start)
    assert (b"header_timeout" in answer) == bool(start)


async def test_dribbled_headers_are_cut_off_on_a_kept_connection_too(serve: Serve) -> None:
    server = await serve([HELLO], TINY)
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(REQUEST)
    await reader.readuntil(b"hello")

    refused = asyncio.ensure_future(reader.readuntil(b" 408 "))
    writer.write(b"GET /hello HTTP/1.1\r\nX: ")
    while not (await asyncio.wait([refused], timeout=0.005))[0]:
        writer.write(b"x")
    await refused
    with contextlib.suppress(ConnectionResetError):  # what was written last meets a closed socket
        await reader.read()
    writer.close()


async def test_a_slow_handler_is_not_a_slow_header(serve: Serve, talk: Talk) -> None:
    release = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    server = await serve([Route("GET", "/slow", slow, scope=None)], TINY)
    asking = asyncio.ensure_future(talk(server, b"GET /slow HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    done, _ = await asyncio.wait([asking], timeout=0.3)
    assert not done
    release.set()
    assert (await asking).endswith(b"late")


async def test_a_reader_that_takes_nothing_is_aborted(serve: Serve) -> None:
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(bytes(256 * 1024))
        except asyncio.CancelledError:
            outcome.set_result("cancelled")
            raise

    server = await serve([Route("GET", "/endless", endless, scope=None)], TINY)
    reader, writer = await asyncio.open_connection(
        server.address.host, server.address.port, limit=1024
    )
    writer.write(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n")
    async with asyncio.timeout(5):
        assert await outcome == "cancelled"
    assert not reader.at_eof()
    writer.close()


async def test_a_reader_that_keeps_reading_is_left_alone(serve: Serve, http: ClientSession) -> None:
    async def stepwise(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(40):
            await response.write(bytes(256 * 1024))
        return response

    server = await serve([Route("GET", "/long", stepwise, scope=None)], TINY)
    async with http.get(f"{server.address.url}/long") as answer:
        assert len(await answer.read()) == 40 * 256 * 1024


async def test_connections_over_the_limit_are_told_to_try_again(
    serve: Serve, talk: Talk, http: ClientSession
) -> None:
    server = await serve([HELLO], Limits(max_connections=1))
    async with http.get(f"{server.address.url}/hello"):
        answer = await talk(server, b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"too_many_connections" in answer
        assert b"x-should-retry" not in answer


async def test_bytes_are_counted_at_the_socket(serve: Serve, talk: Talk) -> None:
    server = await serve([ECHO])
    request = (
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        b"Content-Length: 5\r\n\r\nabcde"
    )
    answer = await talk(server, request)
    traffic = server.traffic
    assert (traffic.bytes_in, traffic.bytes_out) == (len(request), len(answer))
    assert (traffic.connections, traffic.live) == (1, 0)


async def test_a_handler_sees_its_own_connection_counted(serve: Serve, talk: Talk) -> None:
    async def counted(request: web.Request) -> web.StreamResponse:
        return web.Response(text=str(connection_of(request).bytes_in))

    server = await serve([Route("GET", "/counted", counted, scope=None)])
    request = b"GET /counted HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert (await talk(server, request)).endswith(b"\r\n\r\n" + str(len(request)).encode())


async def test_views_written_by_a_handler_may_be_reused_at_once(
    serve: Serve, http: ClientSession
) -> None:
    async def reuse(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(64 * 65536)})
        await response.prepare(request)
        buffer = bytearray(65536)
        for value in range(64):
            buffer[:] = bytes([value]) * len(buffer)
            await response.write(memoryview(buffer))
        return response

    server = await serve([Route("GET", "/reuse", reuse, scope=None)])
    async with http.get(f"{server.address.url}/reuse") as answer:
        body = await answer.read()
    assert body == b"".join(bytes([value]) * 65536 for value in range(64))


async def test_a_client_that_goes_away_cancels_its_handler(serve: Serve) -> None:
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    server = await serve([Route("GET", "/wait", wait, scope=None)])
    _, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await begun.wait()
    writer.close()
    async with asyncio.timeout(5):
        await cancelled.wait()


@pytest.mark.parametrize("kept", [REQUEST, b""], ids=["kept", "fresh"])
async def test_an_idle_client_that_leaves_is_let_go_at_once(serve: Serve, kept: bytes) -> None:
    server = await serve([HELLO])
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(kept)
    if kept:
        await reader.readuntil(b"hello")
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()


async def test_a_client_that_leaves_inside_a_header_is_let_go(serve: Serve, talk: Talk) -> None:
    server = await serve([HELLO], TINY)
    reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
    writer.write(b"GET /hello HT")
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_client_that_closes_its_half_after_a_request_is_gone(serve: Serve) -> None:
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    server = await serve([Route("GET", "/wait", wait, scope=None)])
    for wait_first in (True, False):
        begun.clear()
        cancelled.clear()
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        writer.write(b"GET /wait HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if wait_first:
            await begun.wait()
        writer.write_eof()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
            if wait_first:
                await cancelled.wait()
        writer.close()


async def test_pipelined_requests_are_answered_in_turn(serve: Serve, talk: Talk) -> None:
    server = await serve([HELLO])
    answer = await talk(server, REQUEST * 3 + b"GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert answer.count(b"\r\n\r\nhello") == 4


async def test_an_unread_body_is_dropped_before_the_next_request(serve: Serve, talk: Talk) -> None:
    server = await serve([Route("POST", "/ignore", hello, scope="read"), HELLO], TINY)
    request = b"POST /ignore HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n"
    last = b"GET /hello HTTP/1.0\r\nHost: localhost\r\n\r\n"
    answer = await talk(server, request + b"x" * 300_000 + last)
    assert answer.count(b"\r\n\r\nhello") == 2


async def test_stop_lets_a_running_request_end(http: ClientSession) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        begun.set()
        await release.wait()
        return web.Response(text="whole")

    server = Server(build_app([Route("GET", "/slow", slow, scope=None)]))
    address = await server.start()
    asking = asyncio.ensure_future(http.get(f"{address.url}/slow"))
    await begun.wait()
    stopping = asyncio.ensure_future(server.stop(drain_seconds=5))
    await asyncio.wait([stopping], timeout=0.02)
    release.set()
    await stopping
    async with await asking as answer:
        assert await answer.text() == "whole"
    with pytest.raises(ClientError):
        await http.get(f"{address.url}/slow")


async def test_every_stop_returns_when_the_server_is_stopped(http: ClientSession) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        begun.set()
        await release.wait()
        return web.Response(text="whole")

    server = Server(build_app([Route("GET", "/slow", slow, scope=None)]))
    address = await server.start()
    asking = asyncio.ensure_future(http.get(f"{address.url}/slow"))
    await begun.wait()
    first, second, third = (asyncio.ensure_future(server.stop(5)) for _ in range(3))
    await asyncio.wait([first, second, third], timeout=0.02)
    first.cancel()
    done, _ = await asyncio.wait([first, second, third], timeout=0.02)
    assert done == {first}
    release.set()
    await asyncio.gather(second, third)
    assert server.traffic.live == 0
    async with await asking as answer:
        assert await answer.text() == "whole"


async def test_a_cancelled_stop_is_finished_all_the_same(serve: Serve) -> None:
    before = asyncio.all_tasks()
    server = await serve([HELLO])
    _, idle = await asyncio.open_connection(server.address.host, server.address.port)
    stopping = asyncio.ensure_future(server.stop())
    await asyncio.wait([stopping], timeout=0)
    stopping.cancel()
    await server.stop()
    assert asyncio.all_tasks() == before
    assert server.traffic.live == 0
    idle.close()


async def test_stop_cancels_what_does_not_end_and_leaves_no_task(http: ClientSession) -> None:
    begun = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    before = asyncio.all_tasks()
    server = Server(build_app([Route("GET", "/never", never, scope=None), HELLO]))
    address = await server.start()
    async with http.get(f"{address.url}/hello"):
        pass
    _, idle = await asyncio.open_connection(address.host, address.port)
    _, busy = await asyncio.open_connection(address.host, address.port)
    busy.write(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await begun.wait()
    await server.stop(drain_seconds=0.01)
    await server.stop()
    assert asyncio.all_tasks() == before
    assert server.traffic.live == 0
    idle.close()
    busy.close()


async def test_a_later_stop_can_shorten_the_drain_and_not_lengthen_it(http: ClientSession) -> None:
    begun = asyncio.Event()

    async def never(request: web.Request) -> web.StreamResponse:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = Server(build_app([Route("GET", "/never", never, scope=None)]))
    address = await server.start()
    _, busy = await asyncio.open_connection(address.host, address.port)
    busy.write(b"GET /never HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await begun.wait()
    patient = asyncio.ensure_future(server.stop(3600))
    await asyncio.wait([patient], timeout=0.02)
    async with asyncio.timeout(5):
        await asyncio.gather(patient, server.stop(0), server.stop(3600))
    assert server.traffic.live == 0
    busy.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"nonsense\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        (
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        ),
        (
            b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n"
            b"Content-Length: 6\r\n\r\nabcdef"
        ),
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: +5\r\n\r\nabcde",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: a\x00b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nX: a\r\n b\r\n\r\n",
        b"GET /hello HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    ],
    ids=[
        "no-http",
        "long-header",
        "length-and-chunked",
        "two-lengths",
        "plus-length",
        "negative-length",
        "space-before-colon",
        "nul",
        "folded",
        "two-hosts",
    ],
)
async def test_smuggling_shapes_are_refused_and_the_connection_closed(
    serve: Serve, talk: Talk, request_bytes: bytes
) -> None:
    server = await serve([HELLO, ECHO])
    answer = await talk(server, request_bytes + REQUEST)
    assert answer[8:13] == b" 400 "
    assert b"http_malformed" in answer
    assert answer.count(b"\r\n\r\n") == 1


class Troubled(socket.socket):
    """A socket whose next connection is broken before it is given."""

    error = errno.EPROTO

    def accept(self) -> tuple[socket.socket, object]:
        error, self.error = self.error, 0
        if error:
            raise OSError(error, os.strerror(error))
        return super().accept()


@pytest.mark.parametrize("error", [errno.EPROTO, errno.ENETDOWN, errno.EHOSTUNREACH, errno.EPERM])
async def test_a_connection_that_is_broken_before_it_is_accepted_is_nobodys(
    http: ClientSession, error: int
) -> None:
    loop = asyncio.get_running_loop()
    raised: list[object] = []
    loop.set_exception_handler(lambda _loop, context: raised.append(context))
    bound = Troubled()
    bound.error = error
    bound.bind(("127.0.0.1", 0))
    bound.listen()
    bound.setblocking(False)
    port = bound.getsockname()[1]
    server = Server(build_app([HELLO]))
    await server.serve([bound])
    try:
        async with http.get(f"http://127.0.0.1:{port}/hello") as answer:
            assert answer.status == 200
    finally:
        await server.stop(0)
    assert raised == []
