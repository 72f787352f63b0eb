"""Many uploads of one digest at once: of the right bytes, and of others."""

import asyncio
import io
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coatcheck.protocol import Digest

from .deployment import make_keys

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

RIGHT = random.Random(5).randbytes(300_000)
DIGEST = Digest.of(RIGHT)


def files(folder: Path) -> list[str]:
    """Return the names of all blobs, and of what is left of uploads."""
    blobs = [path for path in (folder / "blobs").rglob("*") if path.is_file()]
    return sorted(path.name for path in [*blobs, *(folder / "spool").rglob("*.part")])


async def test_a_hundred_uploads_of_the_same_bytes_make_one_blob(
    serve: Fixture, tmp_path: Path
) -> None:
    _, keys = await make_keys(tmp_path / "data", "alice", "bob")
    served = await asyncio.to_thread(serve)

    async def upload(http: aiohttp.ClientSession, number: int) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {keys[number % 2]}"}
        how = ("PUT", f"/{DIGEST}") if number % 4 < 2 else ("POST", "")
        async with http.request(
            how[0], f"{served.url}/v1/blobs{how[1]}", data=io.BytesIO(RIGHT), headers=headers
        ) as answer:
            return answer.status, (await answer.json())["digest"]

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        told = await asyncio.gather(*(upload(http, number) for number in range(100)))
        assert Counter(told) == {(201, DIGEST): 100}
        for key in keys:
            headers = {"Authorization": f"Bearer {key}"}
            async with http.get(f"{served.url}/v1/blobs", headers=headers) as answer:
                assert [blob["digest"] for blob in (await answer.json())["blobs"]] == [DIGEST]
            async with http.get(f"{served.url}/v1/blobs/{DIGEST}", headers=headers) as answer:
                assert await answer.read() == RIGHT
    assert files(served.folder) == [DIGEST.hex]


async def test_of_many_bodies_under_one_digest_the_right_one_alone_lands(serve: Fixture) -> None:
    served = await asyncio.to_thread(serve)
    wrong = [random.Random(seed).randbytes(300_000 - seed % 3) for seed in range(100, 140)]
    bodies = [*wrong[:20], RIGHT, *wrong[20:]]

    async def upload(http: aiohttp.ClientSession, body: bytes) -> tuple[bool, int, str]:
        async with http.put(f"{served.url}/v1/blobs/{DIGEST}", data=io.BytesIO(body)) as answer:
            told = await answer.json(content_type=None)
            return body is RIGHT, answer.status, told.get("code", "")

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        told = await asyncio.gather(*(upload(http, body) for body in bodies))
        assert Counter(told) == {(True, 201, ""): 1, (False, 422, "digest_mismatch"): 40}
        async with http.get(f"{served.url}/v1/blobs/{DIGEST}") as answer:
            assert await answer.read() == RIGHT
        everything = [Digest.of(body) for body in bodies]
        async with http.post(
            f"{served.url}/v1/blobs/missing", json={"digests": everything}
        ) as answer:
            missing = (await answer.json())["missing"]
    assert set(missing) == {Digest.of(body) for body in wrong}
    assert files(served.folder) == [DIGEST.hex]
