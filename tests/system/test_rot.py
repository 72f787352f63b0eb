"""Bits that flip under a running store and a running daemon: never served, healed, and told."""

import asyncio
import io
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coatcheck.protocol import PIECE_BYTES, Digest

from .deployment import run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

SIZES = (1, 20_000, PIECE_BYTES - 1, PIECE_BYTES, 9_000_000)
BLOBS = {Digest.of(data): data for data in map(random.Random(2).randbytes, SIZES)}


def flip(path: Path, draw: random.Random) -> None:
    """Change one bit, as a failing disk would."""
    with path.open("r+b") as file:
        file.seek(draw.randrange(path.stat().st_size))
        at = file.tell()
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << draw.randrange(8)]))


async def get(http: aiohttp.ClientSession, url: str, digest: Digest) -> tuple[int, bytes, bool]:
    """Return the status, the bytes that came, and whether the answer ended well."""
    came = bytearray()
    async with http.get(f"{url}/v1/blobs/{digest}") as answer:
        try:
            async for chunk in answer.content.iter_any():
                came += chunk
        except aiohttp.ClientError:
            return answer.status, bytes(came), False
        return answer.status, bytes(came), True


async def failures(http: aiohttp.ClientSession, url: str, place: str) -> int:
    """Return what the metric says."""
    async with http.get(f"{url}/metrics") as answer:
        text = await answer.text()
    name = rf'^coatcheck_verification_failures_total{{place="{place}"}} (\S+)$'
    found = re.search(name, text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def test_bits_that_flip_are_never_served(serve: Fixture, tmp_path: Path) -> None:
    draw = random.Random(4)
    served = await asyncio.to_thread(serve)
    store, cache = tmp_path / "data" / "blobs" / "sha256", tmp_path / "cache" / "blobs"
    async with (
        run_daemon(tmp_path, served.url, None) as daemon,
        aiohttp.ClientSession() as http,
    ):
        for count, (digest, data) in enumerate(BLOBS.items(), start=1):
            url = f"{served.url}/v1/blobs/{digest}"
            async with http.put(url, data=io.BytesIO(data)) as answer:
                assert answer.status == 201
            for _ in range(2):  # the daemon has it, and has just read it
                assert await get(http, daemon.url, digest) == (200, data, True)

            await asyncio.to_thread(flip, cache / digest.hex, draw)
            assert await get(http, daemon.url, digest) == (200, data, True)
            assert await failures(http, daemon.url, "cache") == count
            async with http.get(f"{daemon.url}/admin/api/cache") as answer:
                told = await answer.json()
            assert told["totals"]["healed"] == count
            assert told["heals"][0]["digest"] == digest

            await asyncio.to_thread(flip, store / digest.hex[:2] / digest.hex, draw)
            status, came, is_whole = await get(http, served.url, digest)
            if status == 200:  # it begins well, and breaks before the damage
                assert not is_whole
                assert data.startswith(came)
                assert len(came) < len(data)
            else:
                assert (status, is_whole) == (404, True)
            assert (await get(http, served.url, digest))[0] == 404
            assert await failures(http, served.url, "store") == count
            async with http.put(url, data=io.BytesIO(data)) as answer:
                assert answer.status == 201
            assert await get(http, served.url, digest) == (200, data, True)
    said = (tmp_path / "serve.log").read_text("utf-8")
    assert said.count("is in quarantine") == len(BLOBS)
    said = (tmp_path / "daemon.log").read_text("utf-8")
    assert said.count("it is fetched again") == len(BLOBS)
