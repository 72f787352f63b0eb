"""Whole bodies: the same bytes, wherever they lie."""

import asyncio
import hashlib
import mmap
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO

import pytest
from aiohttp import ClientSession, web

from coatcheck.web import Limits, Route, Server, read_whole

Serve = Callable[..., Awaitable[Server]]
Talk = Callable[[Server, bytes], Awaitable[bytes]]
MIB = 1024 * 1024
BOUND = 12 * MIB


class Reader:
    """A handler that reads a whole body, and says in what it lies."""

    def __init__(self) -> None:
        self.kinds: list[type] = []

    async def read(self, request: web.Request) -> web.StreamResponse:
        whole = await read_whole(request, BOUND)
        self.kinds.append(type(whole))
        return web.Response(text=hashlib.sha256(whole).hexdigest())


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def server(serve: Serve, reader: Reader) -> Server:
    return await serve([Route("POST", "/", reader.read, scope=None)], Limits(linger_seconds=0.1))


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        (0, bytes),
        (1, bytes),
        (1_000_000, bytes),
        (4 * MIB, bytes),
        (8 * MIB + 1, mmap.mmap),
        (BOUND, mmap.mmap),
    ],
)
async def test_a_body_arrives_whole(
    server: Server, http: ClientSession, reader: Reader, size: int, kind: type
) -> None:
    data = bytes(range(251)) * (size // 251 + 1)
    async with http.post(server.address.url, data=BytesIO(data[:size])) as answer:
        assert await answer.text() == hashlib.sha256(data[:size]).hexdigest()
    assert reader.kinds == [kind]


async def test_a_body_without_a_length_arrives_whole(
    server: Server, http: ClientSession, reader: Reader
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(90):
            yield bytes([number]) * 100_000

    data = b"".join([piece async for piece in pieces()])
    async with http.post(server.address.url, data=pieces()) as answer:
        assert await answer.text() == hashlib.sha256(data).hexdigest()
    assert reader.kinds == [bytes]


async def test_its_bound_is_kept(server: Server, http: ClientSession, reader: Reader) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(13):
            yield b"x" * MIB

    for data in (BytesIO(b"x" * (BOUND + 1)), pieces()):
        async with http.post(server.address.url, data=data) as answer:
            assert answer.status == 413
    assert not reader.kinds


async def test_one_that_is_cut_off_behind_its_beginning_is_none(
    server: Server, reader: Reader
) -> None:
    incoming, outgoing = await asyncio.open_connection(server.address.host, server.address.port)
    outgoing.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000\r\n\r\n")
    outgoing.write(b"x" * 8_999_999)
    outgoing.write_eof()
    assert (await incoming.readline()).startswith(b"HTTP/1.1 400 ")
    outgoing.close()
    await outgoing.wait_closed()
    assert not reader.kinds
