"""`sweep` on a folder, and behind a server that has it; a server sweeps by itself too."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coatcheck.client import Client
from coatcheck.protocol import Digest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PAUSE_SECONDS = 0.02
SHORT = "lease_seconds = 1\nreview_seconds = 0\n"


def blob_file(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex


def test_on_a_folder_and_behind_its_server(serve: Fixture, run: Fixture) -> None:
    served = serve("review_seconds = 0\n")
    config = served.folder.parent / "settings.toml"
    where = ("--data", served.folder, "--config", config)
    with Client(served.url) as client:
        kept, gone = client.put(b"kept").digest, client.put(b"gone").digest
        client.delete(gone)
    told = run("sweep", "--dry-run", "--json", *where)
    assert told.code == 0, told.err
    said = json.loads(told.out)
    assert (said["blobs"], said["blobs_going"], said["bytes_going"]) == (2, 1, 4)
    reasons = {(line["of"], line["digest"]): line["reason"] for line in said["verdicts"]}
    assert reasons == {
        ("grant", kept): "held by lease",
        ("blob", kept): "1 grant",
        ("blob", gone): "condemned, and its review is over",
    }
    assert blob_file(served.folder, gone).exists()
    assert served.stop() == 0
    assert not (served.folder / "address").exists()

    again = run("sweep", "--dry-run", *where)
    assert "goes   blob" in again.out
    assert "0 of 1 grants and 1 of 2 blobs go, 4 bytes" in again.out
    swept = run("sweep", "--json", *where)
    assert json.loads(swept.out)["removed_blobs"] == 1
    assert not blob_file(served.folder, gone).exists()
    assert blob_file(served.folder, kept).exists()


def test_a_server_sweeps_by_itself(serve: Fixture) -> None:
    served = serve(SHORT + "sweep_seconds = 0.05\n")
    with Client(served.url) as client:
        digest = client.put(b"soon gone").digest
        client.delete(digest)
    path = blob_file(served.folder, digest)
    while path.exists():  # the test's timeout ends it
        time.sleep(PAUSE_SECONDS)  # the server needs the processor
    assert served.stop() == 0


def test_keys_and_wrong_places(serve: Fixture, run: Fixture, tmp_path: Path) -> None:
    served = serve()
    where = ("--data", served.folder)
    assert run("keys", "create", *where).code == 0
    while (refused := run("sweep", *where)).code == 0:  # until the server has learned of the key
        time.sleep(PAUSE_SECONDS)
    assert refused.code == 4
    assert "keys create --scope admin" in refused.err
    key = run("keys", "create", "--scope", "admin", *where).out.strip()
    assert run("sweep", *where, "--key", key).code == 0
    nowhere = run("sweep", "--data", tmp_path / "nowhere")
    assert (nowhere.code, nowhere.out) == (3, "")
    assert not (tmp_path / "nowhere").exists()
    assert run("sweep", "--url", "http://127.0.0.1:9").code == 5
    assert served.stop() == 0


def test_behind_workers(serve: Fixture, run: Fixture) -> None:
    served = serve("workers = 2\nreview_seconds = 0\n")
    with Client(served.url) as client:
        digest = client.put(b"gone").digest
        client.delete(digest)
    swept = run("sweep", "--data", served.folder, "--json")
    assert swept.code == 0, swept.err
    assert not blob_file(served.folder, digest).exists()
    assert served.stop() == 0
