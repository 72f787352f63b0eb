"""Memory and pace of a large upload, in one request and resumable.

The bytes are made as they are sent, so that nothing but the server holds any. What the server says it
received is compared with what was sent.
"""

import hashlib
import json
import random
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse

from .caller import UnexpectedAnswerError
from .finding import Finding
from .server_process import ServerProcess

GIGABYTE = 1_000_000_000
MAX_MEGABYTES = 32.0
_CHUNK_BYTES = 1024 * 1024
_TIMEOUT_SECONDS = 120.0
_SMALL_BYTES = 100_000
_TUS = {"Tus-Resumable": "1.0.0"}
_TUS_BYTES = {**_TUS, "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}

SETTINGS = "max_blob_bytes = 2000000000\n"
"""What the server under measurement is told, besides."""


class _Body:
    """So many bytes, other ones in each chunk, and their digest when all were taken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._hasher = hashlib.sha256()

    @property
    def digest(self) -> str:
        """Return the digest of what was taken."""
        return f"sha256:{self._hasher.hexdigest()}"

    def __iter__(self) -> Iterator[bytes]:
        block = random.Random(self._size).randbytes(_CHUNK_BYTES)
        for at in range(0, self._size, _CHUNK_BYTES):
            chunk = (struct.pack(">Q", at) + block[8:])[: self._size - at]
            self._hasher.update(chunk)
            yield chunk


def measure_large_upload(
    start: Callable[[], ServerProcess], size: int = GIGABYTE
) -> Iterator[Finding]:
    """Yield the peak over idle of one upload each way, each in a server of its own.

    Raises:
        UnexpectedAnswerError: the server received other bytes than were sent, or refused them.
    """
    for name, send in (("POST", _post), ("tus", _tus)):
        with start() as server:
            send(server.port, _SMALL_BYTES)
            server.wait_until_idle()
            idle_bytes = server.reset_peak()
            began = time.perf_counter()
            send(server.port, size)
            seconds = time.perf_counter() - began
            added_bytes = server.peak_since(idle_bytes).added_bytes
        compared = f"idle {idle_bytes / 1e6:.1f} MB, {size / 1e6 / seconds:.0f} MB/s"
        yield Finding(
            f"{size / 1e6:g} MB by {name}, peak memory over idle",
            added_bytes / 1e6,
            MAX_MEGABYTES,
            "MB",
            compared,
        )


def _post(port: int, size: int) -> None:
    body = _Body(size)
    with closing(_connection(port)) as connection:
        headers = {"Content-Length": str(size)}
        connection.request("POST", "/v1/blobs", body, headers)
        answer = _answer(connection, 201)
        _compare(body.digest, json.loads(answer[1])["digest"])


def _tus(port: int, size: int) -> None:
    body = _Body(size)
    with closing(_connection(port)) as connection:
        connection.request("POST", "/v1/tus", headers={**_TUS, "Upload-Length": str(size)})
        path = _answer(connection, 201)[0].headers["Location"]
        connection.request("PATCH", path, body, {**_TUS_BYTES, "Content-Length": str(size)})
        _compare(body.digest, _answer(connection, 204)[0].headers["Coatcheck-Digest"])


def _connection(port: int) -> HTTPConnection:
    return HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)


def _answer(connection: HTTPConnection, status: int) -> tuple[HTTPResponse, bytes]:
    response = connection.getresponse()
    body = response.read()
    if response.status != status:
        raise UnexpectedAnswerError(f"an upload: {response.status} {body[:500]!r}")
    return response, body


def _compare(sent: str, received: str | None) -> None:
    if sent != received:
        raise UnexpectedAnswerError(f"sent {sent}, and the server received {received}")
