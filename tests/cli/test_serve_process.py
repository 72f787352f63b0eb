import socket
from pathlib import Path

import aiohttp
import pytest

from coatcheck.cli.errors import ServerStartError
from coatcheck.cli.serve_process import serve_process


async def test_a_server_answers_until_it_is_left_and_then_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COATCHECK_PORT", "not even a number")
    async with (
        serve_process(tmp_path) as port,
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/healthz") as answer,
    ):
        assert answer.status == 200
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


async def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the data folder should be")
    with pytest.raises(
        ServerStartError, match=r"ended before it listened: coatcheck: .*File exists"
    ) as failed:
        async with serve_process(tmp_path):
            pass
    assert "Traceback" not in str(failed.value)
