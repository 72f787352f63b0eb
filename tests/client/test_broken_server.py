"""Servers that are gone, silent, wrong or cut off; files that change. Nothing is kept of it."""

from __future__ import annotations

import io
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from coatcheck.client import (
    Client,
    ClientClosedError,
    ConnectionFailedError,
    DigestMismatchError,
    FileChangedError,
    InvalidAnswerError,
    InvalidArgumentError,
    ServerError,
    TimedOutError,
)
from coatcheck.protocol import Descriptor, Digest, HoldEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client.conftest import FakeServer, MakeClient

DATA = bytes(range(256)) * 4096


class Changing(io.BytesIO):
    """A file whose second reading differs, as when another program writes it meanwhile."""

    def __init__(self, data: bytes, later: bytes) -> None:
        super().__init__(data)
        self._later = later

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if self._later:
            super().seek(0)
            self.truncate()
            self.write(self._later)
            self._later = b""
        return super().seek(offset, whence)


@pytest.mark.parametrize(
    "later",
    [DATA[:-1] + b"!", b"!" + DATA[1:], DATA[:-1], DATA[:300_000], DATA + b"!"],
    ids=["last byte", "first byte", "one shorter", "much shorter", "longer"],
)
def test_a_file_that_changes_meanwhile_is_not_stored(
    client: Client, server: FakeServer, later: bytes
) -> None:
    with pytest.raises(FileChangedError) as caught:
        client.put(Changing(DATA, later))
    assert caught.value.retryable
    assert server.upload_broke.wait(5)
    assert server.blobs == {}
    assert client.put(DATA).size == len(DATA)


def test_an_error_in_the_callers_callback_is_the_callers(
    client: Client, server: FakeServer
) -> None:
    def stop(sent: int, total: int) -> None:
        raise KeyError(f"{sent} of {total}")

    with pytest.raises(KeyError):
        client.put(DATA, progress=stop)
    assert server.upload_broke.wait(5)
    assert server.blobs == {}


def test_other_bytes_than_asked_for_are_not_shown(
    client: Client, server: FakeServer, tmp_path: Path
) -> None:
    digest = server.put(DATA)
    target = tmp_path / "target"
    target.write_bytes(b"before")
    for wrong in (DATA[:-1] + b"!", DATA[:-1], DATA + b"!"):
        server.wrong_bytes = wrong
        with pytest.raises(DigestMismatchError):
            client.get(digest)
        with pytest.raises(DigestMismatchError):
            client.get(digest, target)
        with pytest.raises(DigestMismatchError):
            client.get(digest, io.BytesIO())
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


def test_another_size_than_described_is_refused_at_the_head(
    client: Client, server: FakeServer
) -> None:
    digest = server.put(DATA)
    described = Descriptor.of(digest=digest, size=7, media_type="image/png")
    with pytest.raises(DigestMismatchError, match="7 bytes"):
        client.get(described)


def test_what_progress_of_a_download_raises_reaches_the_caller(
    client: Client, server: FakeServer, tmp_path: Path
) -> None:
    def stop(received: int, total: int) -> None:
        raise KeyError(f"{received} of {total}")

    with pytest.raises(KeyError):
        client.get(server.put(DATA), tmp_path / "target", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_is_cut_leaves_nothing(
    client: Client, server: FakeServer, tmp_path: Path
) -> None:
    digest = server.put(DATA)
    server.is_cut = True
    with pytest.raises(ConnectionFailedError):
        client.get(digest, tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("call", ["put", "get", "stat", "chat"])
def test_a_server_that_is_gone_is_a_failed_connection(make_client: MakeClient, call: str) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ConnectionFailedError) as caught:
        _call(make_client(f"http://127.0.0.1:{port}"), call)
    assert caught.value.retryable


@pytest.mark.parametrize("call", ["put", "get", "stat", "chat"])
def test_a_silent_server_times_out(make_client: MakeClient, server: FakeServer, call: str) -> None:
    server.hangs = True
    with pytest.raises(TimedOutError):
        _call(make_client(server.base_url, idle_seconds=0.1), call)


def test_a_server_that_stops_reading_times_out(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        client = make_client(f"http://127.0.0.1:{port}", connect_seconds=0.2, idle_seconds=0.2)
        big = "x" * 16_000_000  # more than the sockets' buffers take
        with pytest.raises(ConnectionFailedError):
            client.chat(model="m", messages=[{"role": "user", "content": big}])


def test_a_server_that_hangs_up_is_a_failed_connection(make_client: MakeClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = make_client(f"http://127.0.0.1:{listener.getsockname()[1]}", idle_seconds=5)
        listener.close()
        with pytest.raises(ConnectionFailedError):
            client.stat(Digest.of(b""))


@pytest.mark.parametrize("status", [301, 400, 401, 403, 413, 500, 503, 507])
def test_a_refusal_without_a_code_is_told_by_its_status(
    client: Client, server: FakeServer, status: int
) -> None:
    server.wrong_answer = lambda: web.Response(status=status, text="<html>no</html>")
    with pytest.raises(ServerError, match=str(status)) as caught:
        client.missing([Digest.of(b"")])
    assert (caught.value.status, caught.value.code) == (status, None)
    assert caught.value.retryable == (status in (500, 503))


def test_a_redirect_is_not_followed(client: Client, server: FakeServer) -> None:
    server.wrong_answer = lambda: web.Response(status=307, headers={"Location": "/v1/blobs"})
    with pytest.raises(ServerError):
        client.get(Digest.of(b""))
    assert len(server.seen) == 1


def test_a_refusal_says_its_code_and_whether_to_retry(client: Client, server: FakeServer) -> None:
    server.wrong_answer = lambda: web.json_response(
        {"code": "store_full", "title": "Full", "detail": "no room for 7 bytes"},
        status=503,
        headers={"x-should-retry": "false"},
    )
    with pytest.raises(ServerError, match="no room for 7 bytes") as caught:
        client.missing([Digest.of(b"")])
    assert (caught.value.code, caught.value.retryable) == ("store_full", False)


def test_a_delete_names_what_still_holds_the_blob(client: Client, server: FakeServer) -> None:
    digest = server.put(DATA)
    server.held.add(digest)
    assert client.delete(digest).holds == (HoldEntry(kind="file", name="file-cc", expires_at=7),)
    assert client.stat(digest) is not None


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"missing": 7}', b'{"missing": [7]}', b'{"missing": ["x"]}', b"\xff"],
)
def test_an_answer_off_the_protocol_is_the_servers_fault(
    client: Client, server: FakeServer, answer: bytes
) -> None:
    server.wrong_answer = lambda: web.Response(body=answer)
    with pytest.raises(InvalidAnswerError):
        client.missing([Digest.of(b"")])


def test_a_closed_client_says_so(make_client: MakeClient, server: FakeServer) -> None:
    client = make_client(server.base_url)
    client.stat(Digest.of(b""))
    client.close()
    client.close()
    with pytest.raises(ClientClosedError):
        client.stat(Digest.of(b""))


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "127.0.0.1:8420",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:8420/v1",
        "http://user@127.0.0.1",
        "http://127.0.0.1/?a",
        "http://127.0.0.1:port",
        "http://[::1",
        "http://cöat",
    ],
)
def test_a_base_url_that_is_no_origin_is_refused(make_client: MakeClient, base_url: str) -> None:
    with pytest.raises(InvalidArgumentError):
        make_client(base_url)


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "schlüssel"])
def test_a_key_that_is_no_header_is_refused(make_client: MakeClient, key: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        make_client("http://127.0.0.1", key)
    assert not key or key not in str(caught.value)


def _call(client: Client, name: str) -> None:
    calls: dict[str, Callable[[], object]] = {
        "put": lambda: client.put(b"x"),
        "get": lambda: client.get(Digest.of(b"")),
        "stat": lambda: client.stat(Digest.of(b"")),
        "chat": lambda: client.chat(model="m", messages=[{"role": "user", "content": "x"}]),
    }
    calls[name]()
