"""`scrub` and `check` on a folder, and behind a server that has it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck.client import Client
from coatcheck.protocol import Digest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system


def blob_file(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex


@pytest.mark.parametrize("settings", ["", "workers = 2\n"])
def test_behind_a_server_and_on_its_folder(serve: Fixture, run: Fixture, settings: str) -> None:
    served = serve(settings)
    where = ("--data", served.folder)
    with Client(served.url) as client:
        good, bad = client.put(b"good").digest, client.put(b"bad").digest
        assert run("check", *where).code == 0
        clean = run("scrub", "--json", "--rate", "50MB/s", "--restart", *where)
        assert clean.code == 0, clean.err
        assert json.loads(clean.out)["checked_blobs"] == 2
        blob_file(served.folder, bad).write_bytes(b"bat")
        found = run("scrub", "--restart", "--json", *where)
        assert found.code == 1
        assert json.loads(found.out)["damaged_blobs"] == 1
        assert client.missing([good, bad]) == [bad]
        client.put(b"bad")
    assert run("scrub", "--rotate-seed", *where).code == 0
    assert served.stop() == 0

    blob_file(served.folder, good).unlink()
    found = run("check", *where)
    # Workers leave no mark of a clean end, so opening the folder may have put it right already.
    if found.code or not settings:
        assert found.code == 1
        assert "blobs whose bytes are gone: coatcheck scrub puts it right" in found.out
        assert good in found.out
    assert run("scrub", *where).code in ((0, 1) if settings else (1,))
    again = run("check", "--json", *where)
    assert (again.code, json.loads(again.out)) == (0, {"findings": []})


def test_a_lost_index_is_made_anew_at_the_start(serve: Fixture, run: Fixture) -> None:
    served = serve()
    with Client(served.url) as client:
        digest = client.put(b"bytes").digest
    assert served.stop() == 0
    for path in served.folder.glob("index.sqlite*"):
        path.unlink()
    refused = run("keys", "create", "--data", served.folder)
    assert refused.code == 1
    assert "start the server" in refused.err
    checked = run("check", "--data", served.folder)
    assert checked.code == 0, checked.err
    assert (served.folder / "index.sqlite").exists()
    assert blob_file(served.folder, digest).exists()


def test_a_rate_that_is_none(run: Fixture, tmp_path: Path) -> None:
    for rate in ("fast", "1k", "-5m"):
        assert run("scrub", "--rate", rate, "--data", tmp_path).code == 2
