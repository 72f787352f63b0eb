import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from coatcheck.cli.shaping_proxy import LinkShape, ShapingProxy, Traffic

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def server(handle: Handler) -> AsyncGenerator[int]:
    tasks = set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.create_task(serve(reader, writer)))

    listener = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def client(proxy: ShapingProxy) -> AsyncGenerator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.write(b"done")


async def test_bytes_pass_unchanged_and_are_counted_exactly() -> None:
    sent = bytes(range(256)) * 4096
    async with server(echo) as port, ShapingProxy(port, LinkShape()) as proxy:
        for size in (len(sent), 1000):
            async with client(proxy) as (reader, writer):
                writer.write(sent[:size])
                writer.write_eof()
                assert await reader.read() == sent[:size]
        assert proxy.connections == (Traffic(len(sent), len(sent)), Traffic(1000, 1000))
        assert proxy.total == Traffic(len(sent) + 1000, len(sent) + 1000)


@pytest.mark.alone
async def test_the_uplink_rate_is_shared_by_all_connections() -> None:
    clock = asyncio.get_running_loop().time
    shape = LinkShape(uplink_bits_per_second=8e6)
    async with server(swallow) as port, ShapingProxy(port, shape) as proxy:

        async def send() -> None:
            async with client(proxy) as (reader, writer):
                writer.write(bytes(100_000))
                writer.write_eof()
                assert await reader.read() == b"done"

        began = clock()
        await asyncio.gather(send(), send(), send())
        assert 0.25 < clock() - began < 0.6


@pytest.mark.alone
async def test_the_downlink_has_its_own_rate() -> None:
    clock = asyncio.get_running_loop().time
    shape = LinkShape(downlink_bits_per_second=8e6)
    async with server(echo) as port, ShapingProxy(port, shape) as proxy, client(proxy) as streams:
        reader, writer = streams
        began = clock()
        writer.write(bytes(200_000))
        writer.write_eof()
        assert len(await reader.read()) == 200_000
        assert 0.18 < clock() - began < 0.6


@pytest.mark.alone
async def test_the_delay_is_added_to_a_round_trip() -> None:
    clock = asyncio.get_running_loop().time
    shape = LinkShape(round_trip_seconds=0.1)
    async with server(echo) as port, ShapingProxy(port, shape) as proxy, client(proxy) as streams:
        reader, writer = streams
        began = clock()
        writer.write(b"ping")
        assert await reader.readexactly(4) == b"ping"
        assert 0.095 < clock() - began < 0.3


@pytest.mark.alone
async def test_the_delay_does_not_lower_the_rate() -> None:
    clock = asyncio.get_running_loop().time
    shape = LinkShape(uplink_bits_per_second=16e6, round_trip_seconds=0.1)
    async with (
        server(swallow) as port,
        ShapingProxy(port, shape) as proxy,
        client(proxy) as streams,
    ):
        reader, writer = streams
        began = clock()
        writer.write(bytes(400_000))
        writer.write_eof()
        assert await reader.read() == b"done"
        assert 0.28 < clock() - began < 0.6


async def test_a_reader_that_stops_holds_the_sender() -> None:
    stopped = asyncio.Event()
    taken = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal taken
        try:
            while True:
                async with asyncio.timeout(0.2):
                    writer.write(bytes(65536))
                    await writer.drain()
                taken += 65536
        except TimeoutError:
            stopped.set()

    async with server(pour) as port, ShapingProxy(port, LinkShape()) as proxy:
        async with client(proxy):
            await stopped.wait()
        assert taken < 64 * 1024 * 1024


async def test_a_body_over_the_limit_gets_413_and_the_server_none_of_it() -> None:
    received = bytearray()

    async def collect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            received.extend(data)

    shape = LinkShape(body_limit_bytes=1000, round_trip_seconds=0.01)
    request = b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 500000\r\n\r\n"
    async with server(collect) as port, ShapingProxy(port, shape) as proxy:
        async with client(proxy) as (reader, writer):
            writer.write(request + bytes(500_000))
            answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")
        assert proxy.total.down == len(answer)
    assert not received


async def test_a_client_that_sends_all_before_it_reads_still_gets_the_413() -> None:
    request = b"POST / HTTP/1.1\r\nContent-Length: 5000000\r\n\r\n" + bytes(5_000_000)

    def send_then_read(port: int) -> bytes:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(request)
            with connection.makefile("rb") as answer:
                return answer.read()

    shape = LinkShape(body_limit_bytes=1000)
    async with server(swallow) as port, ShapingProxy(port, shape) as proxy:
        answer = await asyncio.to_thread(send_then_read, proxy.port)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"</html>\r\n")


async def test_requests_before_the_refused_one_are_answered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    shape = LinkShape(body_limit_bytes=10)
    async with server(answer) as port, ShapingProxy(port, shape) as proxy, client(proxy) as streams:
        reader, writer = streams
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 204 " in await reader.readuntil(b"\r\n\r\n")
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\n")
        refusal = await reader.read()
        assert refusal.startswith(b"HTTP/1.1 413 ")
        assert proxy.carried == Traffic(27, 27)
        assert proxy.total == Traffic(27 + 39, 27 + len(refusal))


async def test_the_client_sees_the_end_when_the_server_ends() -> None:
    async def part(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half of it")

    shape = LinkShape()
    async with server(part) as port, ShapingProxy(port, shape) as proxy, client(proxy) as streams:
        assert await streams[0].read() == b"half of it"


async def test_the_server_sees_the_end_when_the_client_is_gone() -> None:
    ended = asyncio.Event()

    async def wait_for_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        assert await reader.read() == b""
        ended.set()

    async with server(wait_for_the_end) as port, ShapingProxy(port, LinkShape()) as proxy:
        async with client(proxy) as (reader, _):
            await reader.readexactly(5)
        await ended.wait()


async def test_a_server_that_is_down_closes_the_client() -> None:
    async with server(echo) as port:
        pass
    async with ShapingProxy(port, LinkShape()) as proxy, client(proxy) as (reader, _):
        assert await reader.read() == b""


@pytest.mark.parametrize("body_limit", [None, 100])
async def test_closing_leaves_no_task_and_no_connection(body_limit: int | None) -> None:
    before = asyncio.all_tasks()
    async with server(echo) as port:
        async with ShapingProxy(port, LinkShape(body_limit_bytes=body_limit)) as proxy:
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(4)
        assert len(await reader.read()) < 20
        writer.close()
    assert asyncio.all_tasks() == before
