"""A model provider that costs next to nothing: it counts and hashes what it gets, and answers.

Run with `python -m bench.upstream`; it prints one line with its address. It reads each request's
whole body before it answers with `{"bytes": .., "xxh3": ..}` in the form of a chat completion.
The request header `X-Bench-Answer: sse-line 50000000` asks for a stream with one line of that
many bytes instead. It is written on bare asyncio so that what is measured is what is in front of
it.
"""

import asyncio
import json
import signal
from collections.abc import Iterator

import xxhash

ANSWER_HEADER = "X-Bench-Answer"
SSE_LINE = "sse-line"

_BUFFER_BYTES = 1024 * 1024
_CHUNK_BYTES = 64 * 1024


class Provider(asyncio.BufferedProtocol):
    """One kept-alive connection."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._head = bytearray()
        self._pieces: Iterator[bytes] = iter(())
        self._is_paused = False
        self._begin()

    def _begin(self) -> None:
        self._head.clear()
        self._fields: dict[str, str] | None = None
        self._body_left = 0
        self._body_bytes = 0
        self._hash = xxhash.xxh3_64()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._buffer[:nbytes]
        if self._fields is None:
            data = self._read_head(data)
        if self._fields is None:
            return
        self._hash.update(data)
        self._body_bytes += len(data)
        if self._body_bytes >= self._body_left:
            self._pieces = self._answer(self._fields)
            self._begin()
            self._write()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        self._write()

    def _write(self) -> None:
        """Write what is left of the answer, as long as the other side takes it."""
        while not self._is_paused and (piece := next(self._pieces, None)) is not None:
            self._transport.write(piece)

    def _read_head(self, data: memoryview) -> memoryview:
        """Collect the head; return what of `data` belongs to the body."""
        before = len(self._head)
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            return data[:0]
        lines = self._head[:end].decode("latin-1").split("\r\n")[1:]
        self._fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self._body_left = int(self._fields.get("content-length", "0"))
        return data[end + 4 - before :]

    def _answer(self, fields: dict[str, str]) -> Iterator[bytes]:
        kind, _, size = fields.get(ANSWER_HEADER.lower(), "").partition(" ")
        if kind == SSE_LINE:
            return _sse_answer(int(size))
        return _json_answer({"bytes": self._body_bytes, "xxh3": self._hash.hexdigest()})


def _json_answer(told: dict[str, object]) -> Iterator[bytes]:
    message = {"role": "assistant", "content": json.dumps(told)}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    body = json.dumps({"id": "bench", "object": "chat.completion", "choices": choices}).encode()
    yield b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
    yield b"Content-Length: %d\r\n\r\n" % len(body)
    yield body


def _sse_answer(line_bytes: int) -> Iterator[bytes]:
    before = b'data: {"id":"bench","choices":[{"index":0,"delta":{"content":"'
    after = b'"}}]}'
    yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
    yield b"Transfer-Encoding: chunked\r\n\r\n"
    yield _chunk(before)
    left = line_bytes - len(before) - len(after)
    filling = b"x" * _CHUNK_BYTES
    while left > 0:
        yield _chunk(filling[:left])
        left -= _CHUNK_BYTES
    yield _chunk(after + b"\n\ndata: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(Provider, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(_main())
