"""What the folders' tests share: the vectors, clients, and how hard properties are tried.

`COATCHECK_NIGHTLY` tries each property ten times as often.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import socketserver
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from aiohttp import ClientSession
from hypothesis import settings

from coatcheck.web import Server

# A worker collects garbage at its end and writes what it covered: on a busy machine that takes longer
# than the ten seconds after which xdist kills it, and half of the coverage is gone.
importlib.import_module("xdist.workermanage").NodeManager.EXIT_TIMEOUT = 120

if "PYTEST_XDIST_WORKER" in os.environ:
    # This process is measured by now; the servers that tests start are not to be.
    os.environ.pop("COVERAGE_PROCESS_START", None)


def pytest_collection_finish() -> None:
    """Keep thousands of collected tests out of the garbage collector's way."""
    gc.freeze()


settings.register_profile("day", deadline=None)
settings.register_profile("night", deadline=None, max_examples=1000)
settings.load_profile("night" if os.environ.get("COATCHECK_NIGHTLY") else "day")

_VECTORS = Path(__file__).parent / "vectors"


@pytest.fixture(scope="session")
def vectors() -> Callable[[str], Any]:
    """Read one file of `tests/vectors`."""

    def read(name: str) -> Any:
        return json.loads((_VECTORS / f"{name}.json").read_text("utf-8"))

    return read


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """A client that inflates nothing by itself."""
    async with ClientSession(auto_decompress=False) as session:
        yield session


@pytest.fixture
def talk() -> Callable[[Server, bytes], Awaitable[bytes]]:
    """Send bytes on a new connection, and read until the server closes it."""

    async def send(server: Server, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(server.address.host, server.address.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()
            await writer.wait_closed()

    return send


@dataclass(frozen=True)
class Recorded:
    """A request as it came over the wire, its body out of its framing."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    is_chunked: bool

    def get(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@dataclass
class Recorder:
    """A server on loopback that keeps what it is sent, and answers with the bytes it is told."""

    url: str = ""
    seen: list[Recorded] = field(default_factory=list[Recorded])
    answer: bytes = OK
    answers: list[bytes] = field(default_factory=list[bytes])
    """Said once each, before `answer`."""
    bytes_read: int = 0
    keeps_bodies: bool = True
    hangs_up: bool = False
    """Whether it ends each connection after one answer."""

    def serve(self, reader: BinaryIO, writer: BinaryIO) -> None:
        """Answer the requests of one connection."""
        while head := self._read_head(reader):
            request_line, *lines = head.decode("latin-1").split("\r\n")
            method, target, _ = request_line.split(" ")
            pairs = (line.split(": ", 1) for line in lines)
            headers = [(name, value) for name, value in pairs]
            names = {name.lower(): value for name, value in headers}
            is_chunked = names.get("transfer-encoding") == "chunked"
            body = (
                self._read_chunks(reader)
                if is_chunked
                else self._read(reader, int(names.get("content-length", "0")))
            )
            request = Recorded(method, target, headers, body, is_chunked)
            self.seen.append(request)
            writer.write(self.answers.pop(0) if self.answers else self.answer)
            writer.flush()
            if self.hangs_up:
                return

    def _read_head(self, reader: BinaryIO) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (line := reader.readline()):
                return b""
            head += line
        return head[:-4]

    def _read(self, reader: BinaryIO, size: int) -> bytes:
        kept = bytearray()
        while size > 0 and (piece := reader.read(min(size, 65536))):
            size -= len(piece)
            self.bytes_read += len(piece)
            if self.keeps_bodies:
                kept += piece
        return bytes(kept)

    def _read_chunks(self, reader: BinaryIO) -> bytes:
        body = b""
        while size := int(reader.readline().split(b";")[0], 16):
            body += self._read(reader, size)
            reader.readline()
        while reader.readline() not in (b"\r\n", b""):  # trailers
            pass
        return body


@pytest.fixture(scope="module")
def run_recorder() -> Iterator[Callable[[], Recorder]]:
    """Start recorders, each in a thread of its own."""
    servers: list[socketserver.ThreadingTCPServer] = []

    def run() -> Recorder:
        recorder = Recorder()

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    recorder.serve(self.rfile, self.wfile)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        recorder.url = f"http://127.0.0.1:{server.server_address[1]}"
        return recorder

    yield run
    for server in servers:
        server.shutdown()
        server.server_close()
