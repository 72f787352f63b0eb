import asyncio
import json

import pytest
import xxhash
from bench.upstream import Provider


async def ask(request: bytes, cut: int) -> bytes:
    """Send a request in two parts and return the whole answer to it."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Provider, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(request[:cut])
        await writer.drain()
        writer.write(request[cut:])
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    return answer


@pytest.mark.parametrize("cut", [0, 10, 60, 61, 300])
async def test_the_upstream_tells_what_it_received(cut: int) -> None:
    body = b"x" * 1000
    answer = await ask(b"POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 1000\r\n\r\n" + body, cut)
    _, _, document = answer.partition(b"\r\n\r\n")
    told = json.loads(json.loads(document)["choices"][0]["message"]["content"])
    assert told == {"bytes": 1000, "xxh3": xxhash.xxh3_64_hexdigest(body)}


async def test_the_upstream_streams_one_line_as_long_as_asked_for() -> None:
    answer = await ask(b"POST / HTTP/1.1\r\nX-Bench-Answer: sse-line 200000\r\n\r\n", 5)
    _, _, chunks = answer.partition(b"\r\n\r\n")
    body = bytearray()
    while chunks:
        size, _, rest = chunks.partition(b"\r\n")
        body += rest[: int(size, 16)]
        chunks = rest[int(size, 16) + 2 :]
    first, *others = bytes(body).split(b"\n\n")
    assert len(first) == 200_000
    assert json.loads(first.removeprefix(b"data: "))["choices"][0]["delta"]["content"]
    assert others == [b"data: [DONE]", b""]
