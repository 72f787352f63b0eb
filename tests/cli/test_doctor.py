"""`doctor` against servers that listen in every way."""

import contextlib
import socket
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from coatcheck.cli.doctor import Finding, examine
from coatcheck.cli.origin import origin_to_ask
from coatcheck.cli.settings_flags import Flags


class Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        is_asked_well = self.path == "/readyz"
        self.send_response(200 if is_asked_well else 404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextlib.contextmanager
def ready(host: str) -> Generator[int]:
    with ThreadingHTTPServer((host, 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def found(check: str, **given: object) -> Finding:
    return next(item for item in examine(Flags(None, given)) if item.check == check)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "localhost"])
def test_a_server_is_asked_where_it_listens(host: str) -> None:
    with ready("127.0.0.1" if host == "localhost" else host) as port:
        finding = found("server", host=host, port=port)
    assert finding.is_ok, finding.detail


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("::1", "http://[::1]:8420"),
        ("::", "http://[::1]:8420"),
        ("2001:db8::1", "http://[2001:db8::1]:8420"),
        ("0.0.0.0", "http://127.0.0.1:8420"),
        ("192.0.2.7", "http://192.0.2.7:8420"),
    ],
)
def test_every_host_makes_a_url(host: str, origin: str) -> None:
    assert origin_to_ask(host, 8420) == origin


def test_a_port_that_is_picked_at_the_start_has_to_be_given() -> None:
    finding = found("server", port=0)
    assert not finding.is_ok
    assert "--port" in finding.detail


def test_a_server_that_is_not_there_is_told_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        finding = found("server", port=port)
    assert not finding.is_ok
    assert f"http://127.0.0.1:{port}/" in finding.detail


def test_the_data_folder_is_the_one_given(tmp_path: Path) -> None:
    assert str(tmp_path / "elsewhere") in found("data folder", data=tmp_path / "elsewhere").detail


@pytest.mark.parametrize("host", ["a" * 70, "127.0.0.1:1"])
def test_an_upstream_that_cannot_be_reached_is_told(tmp_path: Path, host: str) -> None:
    Path("coatcheck.toml").write_text(f'[[upstream]]\nname="far"\nbase_url="http://{host}/v1"')
    assert not found("upstream far").is_ok


def test_settings_that_cannot_be_read_are_a_finding() -> None:
    assert not found("settings", port=-1).is_ok
