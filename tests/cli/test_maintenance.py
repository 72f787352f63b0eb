"""What a command makes of a server's answer to work on a whole store."""

import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from coatcheck import api
from coatcheck.cli.errors import UnansweredWorkError
from coatcheck.cli.maintenance import Place
from coatcheck.cli.settings import Settings


@pytest.fixture(params=[b"<html>\n", b"[]\n", b"\xff\n", b""])
def stranger(request: pytest.FixtureRequest) -> Generator[str]:
    """Serve something else with status 200, and yield its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(request.param)))
            self.end_headers()
            self.wfile.write(request.param)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_server_that_is_no_store_is_told_in_words(stranger: str) -> None:
    place = Place(Settings(), stranger, None)
    with pytest.raises(UnansweredWorkError, match=stranger):
        list(place.run(api.SWEEP, api.SweepRequest()))
