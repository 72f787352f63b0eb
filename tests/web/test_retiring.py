"""A server that ends: what it has begun ends well, and clients go on elsewhere."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count

import pytest
from aiohttp import ClientSession, TCPConnector, web

from coatcheck.web import (
    BALANCE_BYTES,
    Balance,
    Listening,
    Route,
    Server,
    build_app,
    listen,
    read_body,
)

REQUEST = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nfirst"

Serve = Callable[[], Awaitable[Server]]


async def hello(request: web.Request) -> web.StreamResponse:
    return web.Response(text="hello")


async def echo(request: web.Request) -> web.StreamResponse:
    return web.Response(body=await read_body(request, 1000))


@pytest.fixture
def go_on() -> asyncio.Event:
    """Lets `/begun` end."""
    return asyncio.Event()


@pytest.fixture
async def listening() -> AsyncIterator[Listening]:
    """Sockets that several servers share, each by a copy of its own, as processes have them."""
    bound = await listen("127.0.0.1", 0)
    yield bound
    bound.close()


@pytest.fixture
def balances() -> Iterator[Iterator[Balance]]:
    """The view that each next server has of what all have."""
    memory = os.memfd_create("test")
    os.ftruncate(memory, BALANCE_BYTES)
    given: list[Balance] = []

    def give() -> Iterator[Balance]:
        for slot in count():
            given.append(Balance(memory, slot))
            yield given[-1]

    yield give()
    for balance in given:
        balance.close()
    os.close(memory)


@pytest.fixture
async def serve(
    listening: Listening, go_on: asyncio.Event, balances: Iterator[Balance]
) -> AsyncIterator[Serve]:
    """Start one more server on the sockets."""
    servers: list[Server] = []

    async def begun(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 10
        await response.prepare(request)
        await response.write(b"first")
        await go_on.wait()
        await response.write(b"-last")
        return response

    async def start() -> Server:
        routes = [
            Route("GET", "/hello", hello, scope=None),
            Route("GET", "/begun", begun, scope=None),
            Route("POST", "/echo", echo, scope=None),
        ]
        server = Server(build_app(routes))
        servers.append(server)
        sockets = [bound.dup() for bound in listening.sockets]
        await server.serve(sockets, balance=next(balances))
        return server

    yield start
    for server in servers:
        await server.stop(0)


Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def connect(listening: Listening) -> AsyncIterator[Callable[[], Awaitable[Pair]]]:
    writers: list[asyncio.StreamWriter] = []

    async def open_one() -> Pair:
        pair = await asyncio.open_connection(listening.address.host, listening.address.port)
        writers.append(pair[1])
        return pair

    yield open_one
    for writer in writers:
        writer.close()


Connect = Callable[[], Awaitable[Pair]]


async def ask(pair: Pair, request: bytes = REQUEST) -> bytes:
    """Send a request and return the answer's header."""
    pair[1].write(request)
    return await pair[0].readuntil(b"\r\n\r\n")


@pytest.mark.parametrize("is_gentle", [False, True])
async def test_an_upload_that_runs_is_received_to_its_end(
    serve: Serve, connect: Connect, is_gentle: bool
) -> None:
    server = await serve()
    pair = await connect()
    pair[1].write(HALF)
    while not server.traffic.bytes_in:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0)
    ending = asyncio.create_task(server.retire(5) if is_gentle else server.stop(5))
    await asyncio.wait([ending], timeout=0.02)
    pair[1].write(b"-last")
    answer = await pair[0].read()
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.endswith(b"first-last")
    await ending


async def test_a_stop_ends_a_connection_whose_answer_had_begun(
    serve: Serve, connect: Connect, go_on: asyncio.Event
) -> None:
    server = await serve()
    pair = await connect()
    await ask(pair, REQUEST.replace(b"hello", b"begun"))
    stopping = asyncio.create_task(server.stop(5))
    await asyncio.wait([stopping], timeout=0.02)
    go_on.set()
    assert await pair[0].read() == b"first-last"
    await stopping


async def test_who_was_accepted_before_a_retirement_is_answered(
    serve: Serve, connect: Connect
) -> None:
    server = await serve()
    fresh, used = await connect(), await connect()
    await ask(used)
    await used[0].readexactly(5)
    while server.traffic.live < 2:  # noqa: ASYNC110 - the server has no event for it
        await asyncio.sleep(0)
    retiring = asyncio.create_task(server.retire(5))
    await asyncio.wait([retiring], timeout=0.02)
    for pair in (fresh, used):
        assert b"\r\nConnection: close\r\n" in await ask(pair)
        assert await pair[0].read() == b"hello"
    await retiring  # as soon as the last one has left


async def test_idle_clients_keep_a_retirement_no_longer_than_it_says(
    serve: Serve, connect: Connect
) -> None:
    server = await serve()
    pair = await connect()
    await ask(pair)
    await server.retire(0.05)
    await server.stop(5)
    assert await pair[0].read() == b"hello"


async def test_who_waits_in_the_queue_gets_the_next_server(serve: Serve, connect: Connect) -> None:
    first = await serve()
    await first.stop(0)
    waiting = [await connect() for _ in range(20)]  # nobody accepts
    second = await serve()
    for pair in waiting:
        assert (await ask(pair)).startswith(b"HTTP/1.1 200")
    assert second.traffic.connections == 20


async def test_a_change_of_servers_loses_no_request(serve: Serve, listening: Listening) -> None:
    async def hammer(keep_alive: bool) -> None:
        connector = TCPConnector(force_close=not keep_alive)
        async with ClientSession(connector=connector) as session:
            while not done.is_set():  # a POST is never sent twice
                async with session.post(f"{listening.address.url}/echo", data=b"x") as answer:
                    assert await answer.read() == b"x"

    done = asyncio.Event()
    before = await serve()
    hammering = [asyncio.create_task(hammer(index % 2 == 0)) for index in range(8)]
    for _ in range(10):
        after = await serve()
        await before.retire(5)
        await before.stop(5)
        before = after
    done.set()
    await asyncio.gather(*hammering)


async def test_connections_spread_over_servers_that_share_a_socket(
    serve: Serve, connect: Connect
) -> None:
    one, other = await serve(), await serve()
    for at_once in (1, 6, 1):
        for pair in [await connect() for _ in range(at_once)]:
            await ask(pair)
    assert (one.traffic.connections, other.traffic.connections) == (4, 4)
    await one.retire(0)
    for pair in [await connect() for _ in range(8)]:  # nothing is left to one that retires
        await ask(pair)
    assert (one.traffic.connections, other.traffic.connections) == (4, 12)


async def test_one_that_does_not_come_to_it_is_waited_for_no_longer_than_a_moment(
    serve: Serve, connect: Connect, balances: Iterator[Balance]
) -> None:
    server = await serve()
    next(balances).report(0)  # alive, and never accepts
    for pair in [await connect() for _ in range(4)]:
        await ask(pair)
    assert server.traffic.connections == 4


async def test_a_stop_may_be_asked_of_a_server_that_never_started() -> None:
    server = Server(build_app([]))
    await server.retire(1)
    await server.stop()


async def test_sockets_are_closed_at_the_stop(serve: Serve, listening: Listening) -> None:
    server = await serve()
    listening.close()
    await server.stop(0)
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect((listening.address.host, listening.address.port))
