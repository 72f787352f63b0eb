"""An upstream's image policy and its models, through `serve` and a daemon with a cache of its own."""

import asyncio
import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from PIL import Image

from coatcheck.cli.photograph import photograph
from coatcheck.protocol import Digest

from .deployment import run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

SETTINGS = """
[[upstream]]
name = "vision"
base_url = "{url}/v1"
models = ["gpt-*"]

[upstream.images]
fit = "provider"
"""
LISTED = json.dumps({"data": [{"id": "gpt-4o"}, {"id": "other"}]}).encode()


@pytest.fixture(scope="module")
def photo() -> bytes:
    """A photograph of 2.6 MB."""
    return photograph(7)


@pytest.fixture(scope="module")
def recorder(run_recorder: Fixture) -> Any:
    return run_recorder()


@pytest.fixture(scope="module")
def http() -> Iterator[urllib3.PoolManager]:
    with urllib3.PoolManager(retries=False) as pool:
        yield pool


class Asking:
    """A client of one server, whose upstream is recorded."""

    def __init__(self, http: urllib3.PoolManager, url: str, recorder: Any) -> None:
        self._http, self._url, self._recorder = http, url, recorder

    def put(self, data: bytes) -> str:
        answer = self._http.request("POST", f"{self._url}/v1/blobs", body=data)
        assert answer.status == 201, answer.data
        return str(answer.json()["ref"])

    def delete(self, digest: Digest) -> None:
        assert self._http.request("DELETE", f"{self._url}/v1/blobs/{digest}").status == 200

    def turn(self, *urls: str) -> tuple[int, Any, list[bytes]]:
        """Return status and headers of a turn with images, and those that the upstream got."""
        parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": parts}]}
        self._recorder.seen.clear()
        answer = self._http.request("POST", f"{self._url}/v1/chat/completions", json=body)
        if not self._recorder.seen:
            return answer.status, answer.headers, []
        sent = json.loads(self._recorder.seen[0].body)["messages"][0]["content"]
        data = [part["image_url"]["url"].partition(",")[2] for part in sent]
        return answer.status, answer.headers, list(map(base64.b64decode, data))

    def count(self, outcome: str) -> int:
        """Return how many variants had an outcome."""
        text = self._http.request("GET", f"{self._url}/metrics").data.decode()
        name = "coatcheck_image_variants_total"
        found = re.search(rf'^{name}{{outcome="{outcome}"}} (\d+)', text, re.MULTILINE)
        return int(found[1]) if found else 0


async def test_a_photo_goes_as_large_as_the_provider_uses_it_and_is_made_once(
    serve_long: Fixture, recorder: Any, http: Any, photo: bytes, tmp_path: Path
) -> None:
    settings = SETTINGS.format(url=recorder.url)
    served = await asyncio.to_thread(serve_long, settings, tmp_path / "data")
    here = Asking(http, served.url, recorder)
    ref = await asyncio.to_thread(here.put, photo)
    url = f"data:image/jpeg;base64,{base64.b64encode(photo).decode()}"
    small = base64.b64encode(photograph(8, 30_000)).decode()

    def ask(asking: Asking) -> bytes:
        status, headers, sent = asking.turn(ref, f"data:image/jpeg;base64,{small}", url)
        assert status == 200
        assert base64.b64decode(small) == sent[1]
        assert sent[0] == sent[2]
        image = Image.open(io.BytesIO(sent[0]))
        assert (image.format, min(image.size)) == ("JPEG", 768)
        assert len(sent[0]) < len(photo) / 4
        scale = f"{max(image.size) / max(Image.open(io.BytesIO(photo)).size):.6g}"
        told = [f"messages.0.content.{at}.image_url;{scale}" for at in (0, 2)]
        assert headers["Coatcheck-Image-Scale"] == ", ".join(told)
        return sent[0]

    variant = await asyncio.to_thread(ask, here)
    assert await asyncio.to_thread(ask, here) == variant
    assert here.count("made") == 1
    assert here.count("found") == 1

    for made in (1, 0):  # the second time in another process, with the same folder
        async with run_daemon(tmp_path, served.url, None, settings) as daemon:
            there = Asking(http, daemon.url, recorder)
            assert await asyncio.to_thread(ask, there) == variant
            assert await asyncio.to_thread(there.count, "made") == made
            if not made:
                await asyncio.to_thread(_list, http, daemon.url, recorder)
                await asyncio.to_thread(there.delete, Digest.of(photo))
                assert (await asyncio.to_thread(there.turn, ref))[0] == 404
            assert await asyncio.to_thread(daemon.stop) == 0
    assert here.turn(ref)[0] == 404
    assert await asyncio.to_thread(served.stop) == 0


def _list(http: urllib3.PoolManager, url: str, recorder: Any) -> None:
    """Ask a daemon for its models."""
    recorder.answers = [
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(LISTED), LISTED),
    ]
    answer = http.request("GET", f"{url}/v1/models").json()
    assert [entry["id"] for entry in answer["data"]] == ["gpt-4o", "echo"]
