"""A daemon and its store as two processes: the store away, the daemon killed under load."""

import asyncio
import contextlib
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coatcheck.client import AsyncClient, ClientError
from coatcheck.protocol import Digest, JsonObject, Ref

from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8"
    "cfc000000301010018dd8db00000000049454e44ae426082"
)
MIB = 1024 * 1024


def turn(*refs: str) -> list[Any]:
    parts = [{"type": "image_url", "image_url": {"url": ref}} for ref in refs]
    return [{"role": "user", "content": [{"type": "text", "text": "Look."}, *parts]}]


async def post(url: str, key: str, messages: list[Any]) -> tuple[int, JsonObject, str | None]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
        http.post(
            f"{url}/v1/chat/completions", json={"model": "echo", "messages": messages}
        ) as answer,
    ):
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def readiness(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
        return answer.status, (await answer.json())["status"]


async def test_while_the_store_is_away_what_is_known_goes_on(
    serve: Fixture, tmp_path: Path
) -> None:
    daemon_key, [alice, bob] = await make_keys(tmp_path / "data", "alice", "bob")
    served = await asyncio.to_thread(serve)
    async with (
        run_daemon(tmp_path, served.url, daemon_key) as daemon,
        AsyncClient(daemon.url, alice) as client,
    ):
        assert await readiness(daemon.url) == (200, "ready")
        ref = (await client.put(PNG)).ref
        messages = turn(ref)
        answer = await client.chat(model="echo", messages=messages)
        messages += [answer.message, {"role": "user", "content": "And now?"}]
        assert await asyncio.to_thread(served.stop) == 0

        assert "1x1" in (await client.chat(model="echo", messages=messages)).text.replace(" ", "")
        assert (await post(daemon.url, alice, turn(ref)))[0] == 200
        assert await client.get(ref) == PNG
        assert await readiness(daemon.url) == (200, "degraded")

        unknown = str(Ref(Digest.of(b"unknown")))
        for key in (alice, bob):  # of bob's key nothing is known either
            status, told, retry_after = await post(daemon.url, key, turn(unknown))
            error = told["error"]
            assert isinstance(error, dict)
            assert (status, error["code"], retry_after) == (503, "store_unavailable", "1")
        said = (tmp_path / "daemon.log").read_text("utf-8")
        assert said.count("is away") == 1
        assert await asyncio.to_thread(daemon.stop) == 0


async def test_killed_under_load_the_cache_is_clean_after_a_restart(
    serve: Fixture, tmp_path: Path
) -> None:
    limit = 12 * MIB
    settings = f"max_cache_bytes = {limit}\nmin_free_bytes = 0"
    daemon_key, [alice] = await make_keys(tmp_path / "data", "alice")
    served = await asyncio.to_thread(serve, name="api")
    blobs = [random.Random(seed).randbytes(900_000 + 7 * seed) for seed in range(24)]
    async with AsyncClient(served.url, alice) as client:
        digests = [(await client.put(data)).digest for data in blobs]

    async def load(client: AsyncClient, seed: int) -> None:
        with contextlib.suppress(ClientError):
            while True:
                await client.get(random.Random(seed).choice(digests))
                seed += 100

    incoming = tmp_path / "cache" / "incoming"
    for seed in range(2):
        async with (
            run_daemon(tmp_path, served.url, daemon_key, settings) as daemon,
            AsyncClient(daemon.url, alice) as client,
        ):
            loads = [asyncio.create_task(load(client, seed * 8 + one)) for one in range(8)]
            while not await asyncio.to_thread(_has_begun, incoming):
                await asyncio.wait(loads, timeout=0.001)
            await asyncio.to_thread(daemon.kill)
            await asyncio.wait(loads)
    async with (
        run_daemon(tmp_path, served.url, daemon_key, settings) as daemon,
        AsyncClient(daemon.url, alice) as client,
    ):
        assert os.listdir(incoming) == []
        _assert_clean(tmp_path / "cache", limit)
        for digest, data in zip(digests, blobs, strict=True):
            assert await client.get(digest) == data
        _assert_clean(tmp_path / "cache", limit)
        assert await asyncio.to_thread(daemon.stop) == 0


def _has_begun(incoming: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return any(path.stat().st_size for path in incoming.iterdir())
    return False


def _assert_clean(cache: Path, limit: int) -> None:
    for path in (cache / "blobs").iterdir():
        assert Digest.of(path.read_bytes()).hex == path.name
    files = [path for path in cache.rglob("*") if path.is_file()]
    assert sum(path.stat().st_blocks * 512 for path in files) <= limit
