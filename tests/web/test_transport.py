"""Bytes reach a socket in order and whole, whatever it takes at once."""

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from coatcheck.web.transport import CountedTransport

SIZE = 3_000_000


@asynccontextmanager
async def pair() -> AsyncGenerator[tuple[CountedTransport, socket.socket]]:
    """Yield one end as a transport, the other as a plain socket that waits."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    try:
        with theirs:
            yield CountedTransport(transport), theirs
    finally:
        transport.close()


def read(peer: socket.socket, count: int) -> bytes:
    """Read so many bytes."""
    data = bytearray()
    while len(data) < count:
        data += peer.recv(1 << 20)
    return bytes(data)


async def test_a_buffer_may_be_reused_as_soon_as_it_was_written() -> None:
    async with pair() as (transport, peer):
        buffer = bytearray(b"x" * SIZE)
        transport.write(memoryview(buffer))
        buffer[:] = b"y" * SIZE
        assert await asyncio.to_thread(read, peer, SIZE) == b"x" * SIZE


async def test_what_waits_is_not_overtaken() -> None:
    async with pair() as (transport, peer):
        transport.write(b"1" * SIZE)
        assert transport.get_write_buffer_size()
        transport.write(memoryview(b"2" * 1000))
        transport.writelines([b"3" * 1000, b"", bytearray(b"4" * 1000)])
        whole = b"1" * SIZE + b"2" * 1000 + b"3" * 1000 + b"4" * 1000
        assert transport.bytes_out == len(whole)
        assert await asyncio.to_thread(read, peer, len(whole)) == whole


async def test_parts_of_which_the_socket_takes_some_follow_each_other() -> None:
    async with pair() as (transport, peer):
        parts = [bytes([number]) * 100_000 for number in range(20)]
        transport.writelines(iter(parts))
        assert transport.get_write_buffer_size()
        assert await asyncio.to_thread(read, peer, 2_000_000) == b"".join(parts)


async def test_writing_to_a_reader_that_left_does_not_raise() -> None:
    async with pair() as (transport, peer):
        peer.close()
        for _ in range(3):
            transport.write(memoryview(b"x" * 1000))
            await asyncio.sleep(0)
        assert transport.bytes_out == 3000
