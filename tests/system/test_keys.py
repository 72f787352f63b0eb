"""Keys from the command line, beside servers in processes of their own."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PATIENCE_SECONDS = 30
PAUSE_SECONDS = 0.05


def status(url: str, key: str | None = None) -> int:
    """Ask for the list of blobs, and return the status."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/blobs", headers=headers)):
            return 200
    except urllib.error.HTTPError as error:
        return error.code


def await_status(url: str, key: str | None, expected: int) -> None:
    """Ask until the status is as expected."""
    end = time.monotonic() + PATIENCE_SECONDS
    while (found := status(url, key)) != expected:
        assert time.monotonic() < end, found
        time.sleep(PAUSE_SECONDS)


def test_a_running_server_learns_of_keys(serve: Fixture, run: Fixture) -> None:
    served = serve()
    assert status(served.url) == 200
    made = run("keys", "create", "--data", served.folder)
    assert made.code == 0, made.err
    key = made.out.strip()
    await_status(served.url, None, 401)
    assert status(served.url, key) == 200
    refused = run("ls", url=served.url)
    assert (refused.code, refused.out) == (4, "")
    revoked = run("keys", "revoke", key.split("_")[1], "--data", served.folder)
    assert revoked.code == 0, revoked.err
    await_status(served.url, key, 401)
    assert status(served.url) == 401  # the last key is gone, and the door stays shut
    assert served.stop() == 0


def test_other_addresses_are_served_once_there_is_a_key(
    serve: Fixture, run: Fixture, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    arguments = ("serve", "--host", "0.0.0.0", "--port", "0", "--data", data)
    refused = run(*arguments)
    assert refused.code == 1
    assert "coatcheck keys create" in refused.err
    assert not data.exists()
    key = run("keys", "create", "--data", data, "--expires", "1h").out.strip()
    served = serve('host = "0.0.0.0"\n', data)
    url = served.url.replace("0.0.0.0", "127.0.0.1")
    assert (status(url), status(url, key)) == (401, 200)
    assert served.stop() == 0
