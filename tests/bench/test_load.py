import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import pytest
from bench.caller import UnexpectedAnswerError
from bench.load import Load, Script
from bench.neighbour_scripts import Bodies, Coatcheck, Nginx, Registry, downloads, uploads

Answer = Callable[[str, bytes], bytes]


@asynccontextmanager
async def server(answer: Answer) -> AsyncGenerator[int]:
    """Answer each request by its first line and its body, in two parts."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                reply = answer(head.partition("\r\n")[0], await reader.readexactly(size))
                for part in (reply[:20], reply[20:]):
                    writer.write(part)
                    await writer.drain()
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listener:
        yield listener.sockets[0].getsockname()[1]


async def run(port: int, scripts: Callable[[], list[Script]]) -> None:
    """Run scripts, one on each connection, twice."""

    def work() -> None:
        with Load(port, len(scripts())) as load:
            for _ in range(2):
                assert load.run(scripts()) > 0

    await asyncio.to_thread(work)


def reply(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Said", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def test_each_connection_follows_its_script() -> None:
    seen: list[tuple[str, str]] = []

    def answer(line: str, body: bytes) -> bytes:
        seen.append((line, hashlib.sha256(body).hexdigest()))
        return reply(201)

    bodies = Bodies(b"x" * 3_000_000)
    async with server(answer) as port:
        await run(port, lambda: [uploads(Coatcheck(), bodies.next, 2) for _ in range(2)])
    assert {line for line, _ in seen} == {"POST /v1/blobs HTTP/1.1"}
    assert len(seen) == len({digest for _, digest in seen}) == 8


async def test_a_body_knows_its_digest() -> None:
    body = Bodies(b"common").next()
    assert body.sha256 == hashlib.sha256(body.common + body.salt).hexdigest()
    assert body.size == 6 + 16


async def test_a_registry_is_told_the_digest_where_it_said() -> None:
    seen: list[str] = []

    def answer(line: str, body: bytes) -> bytes:
        seen.append(line)
        place = "Location: http://127.0.0.1/v2/bench/blobs/uploads/7?_state=s"
        return reply(201) if body else reply(202, b"", place)

    body = Bodies(b"x").next()
    async with server(answer) as port:
        await run(port, lambda: [Registry().put(body)])
    path = f"/v2/bench/blobs/uploads/7?_state=s&digest=sha256:{body.sha256}"
    assert seen == ["POST /v2/bench/blobs/uploads/ HTTP/1.1", f"PUT {path} HTTP/1.1"] * 2


async def test_downloads_are_read_whole() -> None:
    body = Bodies(b"x" * 2_000_000).next()
    async with server(lambda line, received: reply(200, body.common + body.salt)) as port:
        await run(port, lambda: [downloads(Nginx(), body, 3)])


@pytest.mark.parametrize(
    "said",
    [
        reply(200, b"short"),
        reply(404),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"220 ftp.example ready\r\n\r\n",
    ],
)
async def test_other_answers_are_no_measurement(said: bytes) -> None:
    body = Bodies(b"x" * 100).next()
    async with server(lambda line, received: said) as port:
        with pytest.raises(UnexpectedAnswerError):
            await run(port, lambda: [downloads(Nginx(), body, 1)])
