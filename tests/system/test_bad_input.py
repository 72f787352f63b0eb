"""What bad input costs in memory, seen from outside the process."""

import json
import select
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
from bench import proc

from coatcheck.protocol import DIALECTS

from .conftest import Serve

pytestmark = pytest.mark.system

MEGABYTE = 1024 * 1024
MAX_REQUEST_BYTES = 16 * MEGABYTE
PATHS = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "anthropic.messages": "/v1/messages",
    "gemini.generate": "/v1beta/models/m:generateContent",
    "dify.llm": "/plugin/t/dispatch/llm/invoke",
}
IMAGES = {
    "openai.chat": ('{"type":"image_url","image_url":{"url":"', '"}}'),
    "openai.responses": ('{"type":"input_image","image_url":"', '"}'),
    "anthropic.messages": (
        '{"type":"image","source":{"type":"base64","media_type":"image/png","data":"',
        '"}}',
    ),
    "gemini.generate": ('{"inlineData":{"mimeType":"image/png","data":"', '"}}'),
    "dify.llm": (
        '{"type":"image","format":"png","mime_type":"image/png","url":"","base64_data":"',
        '"}',
    ),
}


@dataclass(frozen=True)
class Server:
    """A server's process and where it listens."""

    pid: int
    host: str
    port: int

    def reset_peak(self) -> int:
        """Let the peak of memory begin anew; return what is used now."""
        proc.reset_peak(self.pid)
        return proc.resident_bytes(self.pid)

    def added(self, before: int) -> int:
        """Return by how many bytes the peak rose."""
        return proc.peak_bytes(self.pid) - before

    def ask(self, path: str, fields: str, pieces: Iterable[bytes]) -> tuple[int, bytes, int]:
        """Send a body until the server answers; return status, answer, and bytes sent."""
        sent = 0
        with socket.create_connection((self.host, self.port), 30) as peer:
            head = f"POST {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n{fields}\r\n"
            peer.sendall(f"{head}Connection: close\r\n\r\n".encode())
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    readable, _, _ = select.select([peer], [peer], [], 30)
                    if readable:
                        return *_answer(peer), sent
                    count = peer.send(view)
                    view, sent = view[count:], sent + count
            return *_answer(peer), sent


def _answer(peer: socket.socket) -> tuple[int, bytes]:
    with peer.makefile("rb") as file:
        status = int(file.readline().split(b" ")[1])
        size, is_chunked = 0, False
        while (line := file.readline()) != b"\r\n":
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                size = int(value)
            is_chunked |= name.lower() == b"transfer-encoding"
        if is_chunked:
            size = int(file.readline(), 16)
        return status, file.read(size)  # the server waits for more to drop: it need not end here


@pytest.fixture(scope="module")
def server(serve_long: Serve) -> Server:
    """Serve, warmed up by a small turn."""
    served = serve_long(f"max_request_bytes = {MAX_REQUEST_BYTES}\n")
    url = urlsplit(served.url)
    assert url.hostname
    assert url.port
    server = Server(served.process.pid, url.hostname, url.port)
    for dialect, path in PATHS.items():
        assert server.ask(path, "Content-Length: 2", [b"{}"])[0] == told(dialect, 400)
    return server


def told(dialect: str, status: int) -> int:
    """Return the status with which a refusal comes."""
    return status if DIALECTS[dialect].provider.told_by(PATHS[dialect]) == "status" else 200


def code_of(dialect: str, answer: bytes) -> str:
    """Return the code of an error in the provider's shape."""
    value: Any = json.loads(answer.removeprefix(b"data:"))
    DIALECTS[dialect].provider.error_model.model_validate(value, strict=True)
    match dialect:
        case "anthropic.messages":
            return str(value["error"]["details"]["error_code"])
        case "gemini.generate":
            return str(value["error"]["details"][0]["code"])
        case "dify.llm":
            raised = json.loads(json.loads(value["message"])["message"])
            return str(raised["args"]["code"])
        case _:
            return str(value["error"]["code"])


def images(dialect: str, count: int, text: str) -> bytes:
    """Return a request of so many messages with an image each."""
    before, after = IMAGES[dialect]
    parts_key = "parts" if dialect == "gemini.generate" else "content"
    message = f'{{"role":"user","{parts_key}":[{before}{text}{after}]}}'
    messages = ",".join([message] * count)
    asked = f'{{"model":"m","max_tokens":9,"{DIALECTS[dialect].messages_key}":[{messages}]}}'
    return _framed(dialect, asked.encode())


def _framed(dialect: str, asked: bytes) -> bytes:
    frame = DIALECTS[dialect].provider.frame
    return asked if frame is None else b'{"user_id":"u","%b":%b}' % (frame.encode(), asked)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_image_of_200_mb_is_refused_before_it_is_read(server: Server, dialect: str) -> None:
    before = server.reset_peak()
    status, answer, sent = server.ask(
        PATHS[dialect], f"Content-Length: {200 * MEGABYTE}", [b"A" * MEGABYTE] * 200
    )
    assert (status, code_of(dialect, answer)) == (told(dialect, 413), "body_too_large")
    assert sent < 16 * MEGABYTE  # what the sockets hold, and what was dropped
    assert server.added(before) < 4 * MEGABYTE


@pytest.mark.parametrize("dialect", DIALECTS)
def test_one_of_unknown_length_is_refused_at_the_limit(server: Server, dialect: str) -> None:
    before = server.reset_peak()
    chunk = b"%x\r\n%b\r\n" % (MEGABYTE, b"A" * MEGABYTE)
    status, answer, sent = server.ask(PATHS[dialect], "Transfer-Encoding: chunked", [chunk] * 200)
    assert (status, code_of(dialect, answer)) == (told(dialect, 413), "body_too_large")
    assert sent < MAX_REQUEST_BYTES + 16 * MEGABYTE
    assert server.added(before) < 1.5 * MAX_REQUEST_BYTES


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("data:image/png;base64,AAA", "invalid_base64"),
        ("blob:sha256:x", "ref_invalid"),
        (f"blob:sha256:{'0' * 64}", "blob_not_found"),
    ],
)
def test_ten_thousand_messages(server: Server, dialect: str, text: str, code: str) -> None:
    body = images(dialect, 10_000, text)
    before = server.reset_peak()
    status, answer, _ = server.ask(PATHS[dialect], f"Content-Length: {len(body)}", [body])
    expected = told(dialect, 404 if code == "blob_not_found" else 400)
    assert (status, code_of(dialect, answer)) == (expected, code)
    assert server.added(before) < 64 * MEGABYTE


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("depth", [10_000, 1_000_000])
def test_depth(server: Server, dialect: str, depth: int) -> None:
    body = b'{"model":"m","' + DIALECTS[dialect].messages_key.encode() + b'":' + b'{"a":[' * depth
    before = server.reset_peak()
    status, answer, _ = server.ask(PATHS[dialect], f"Content-Length: {len(body)}", [body])
    assert (status, code_of(dialect, answer)) == (told(dialect, 400), "json_invalid")
    assert server.added(before) < 4 * len(body) + 4 * MEGABYTE
