"""`erase` on a folder, behind a server, and behind workers."""

import base64
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import urllib3
from PIL import Image

from coatcheck.client import Client
from coatcheck.protocol import Digest

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PAUSE_SECONDS = 0.02


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(out, "PNG")
    return out.getvalue()


SECRET = picture()
SHOWN = f"data:image/png;base64,{base64.b64encode(SECRET).decode()}"


def blob_file(folder: Path, digest: Digest) -> Path:
    return folder / "blobs" / "sha256" / digest.hex[:2] / digest.hex


def names(folder: Path, text: bytes) -> list[str]:
    """Return the names of all files below a folder that contain a text."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path.name for path in files if text in path.read_bytes())


def talk(url: str) -> Digest:
    """Show something in a turn that is kept, and return its digest."""
    part = {"type": "image_url", "image_url": {"url": SHOWN}}
    message = {"role": "user", "content": [part, {"type": "text", "text": "this is ann-name"}]}
    with Client(url) as client:
        assert client.chat(model="echo", messages=[message], user="ann").prompt is not None
    return Digest.of(SECRET)


def test_an_end_user_of_a_folder(serve: Fixture, run: Fixture) -> None:
    served = serve()
    digest = talk(served.url)
    with Client(served.url) as client:
        bobs = client.put(b"what Bob showed", end_user="bob").digest
    assert served.stop() == 0
    assert names(served.folder, b"ann-name") == ["prompts.sqlite"]
    erasing = ("erase", "--tenant", "default", "--end-user", "ann", "--data", served.folder)
    unsure = run(*erasing)
    assert (unsure.code, unsure.out) == (2, "")
    assert "--yes" in unsure.err
    assert blob_file(served.folder, digest).exists()
    erased = run(*erasing, "--yes", "--json")
    assert erased.code == 0, erased.err
    assert json.loads(erased.out) == {
        "verified": True,
        "rewritten": True,
        "ended_grants": 1,
        "kept_grants": 0,
        "removed_blobs": 1,
        "removed_bytes": len(SECRET),
        "removed_prompts": 2,  # what was asked, and what was answered
        "removed_uploads": 0,
        "left": {"rows": 0, "files": 0, "databases": 0, "keys": 0},
    }
    assert not blob_file(served.folder, digest).exists()
    assert blob_file(served.folder, bobs).exists()
    assert names(served.folder, b"ann-name") == []
    assert names(served.folder, digest.hex.encode()) == []
    again = run(*erasing, "--yes")
    assert again.code == 0
    assert "0  blobs removed" in again.out


@pytest.mark.parametrize("workers", [1, 2])
def test_a_tenant_behind_its_server(serve: Fixture, run: Fixture, workers: int) -> None:
    served = serve(f"workers = {workers}\n")
    digest = talk(served.url)
    where = ("--data", served.folder)
    erased = run("erase", "--tenant", "default", "--yes", *where)
    assert erased.code == 0, erased.err
    assert "1  blobs removed" in erased.out
    assert not blob_file(served.folder, digest).exists()
    assert names(served.folder, b"ann-name") == []
    with Client(served.url) as client:
        assert client.stat(digest) is None
        assert client.put(SECRET).digest == digest  # a tenant may come back
    assert served.stop() == 0


def test_what_cannot_be_meant_erases_nothing(serve: Fixture, run: Fixture) -> None:
    served = serve()
    with Client(served.url) as client:
        digest = client.put(SECRET).digest
    where = ("--data", served.folder, "--yes")
    assert run("erase", "--tenant", "no tenant", *where).code == 2
    assert run("erase", "--tenant", "default", "--end-user", " ann", *where).code == 2
    for body in (
        {"tenant": "default", "enduser": "ann"},
        {"tenant": "default", "end_user": ""},
        {"end_user": "ann"},
    ):
        answer = urllib3.request("POST", f"{served.url}/admin/api/erase", json=body)
        assert answer.status == 400
    assert blob_file(served.folder, digest).exists()
    assert served.stop() == 0


def test_keys_are_left_and_said(serve: Fixture, run: Fixture) -> None:
    served = serve()
    where = ("--data", served.folder)
    key = run("keys", "create", "--scope", "admin", *where).out.strip()
    unsigned = ("erase", "--tenant", "default", "--yes", *where)
    while (refused := run(*unsigned)).code == 0:  # until the server has learned of the key
        time.sleep(PAUSE_SECONDS)
    assert refused.code == 4
    erased = run("erase", "--tenant", "default", "--yes", *where, "--key", key)
    assert erased.code == 0, erased.err
    assert "1 keys of default are still valid" in erased.err
    assert served.stop() == 0
