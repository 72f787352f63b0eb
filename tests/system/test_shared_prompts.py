"""Two daemons over one store: a conversation goes on at either, whatever becomes of the other."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from coatcheck.protocol import Digest, JsonObject, canonical_json

from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

TOOLS: Any = [
    {"type": "function", "function": {"name": f"tool{n}", "description": "Look. " * 20}}
    for n in range(10)
]
NAMED = {"tools": str(Digest.of(canonical_json(TOOLS)))}


async def converse(url: str, key: str, said: str, parent: str | None, **more: Any) -> Any:
    """Take a turn that continues `parent`; return the answer and what it says is kept."""
    envelope: JsonObject = {"parent": parent, "append": [{"role": "user", "content": said}]}
    if "tools" not in more:
        envelope["fields"] = {**NAMED}
    body = {"model": "echo", **more, "coatcheck": envelope}
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as http,
        http.post(f"{url}/v1/chat/completions", json=body) as answer,
    ):
        told = await answer.json()
        assert answer.status == 200, told
        return told, answer.headers["Coatcheck-Prompt"]


async def test_a_conversation_goes_on_at_another_daemon_and_over_another_store_process(
    serve: Fixture, tmp_path: Path
) -> None:
    daemon_key, [alice] = await make_keys(tmp_path / "data", "alice")
    served = await asyncio.to_thread(serve, name="api")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with run_daemon(folders[1], served.url, daemon_key) as two:
        async with run_daemon(folders[0], served.url, daemon_key) as one:
            _, prompt = await converse(one.url, alice, "a", None, tools=TOOLS)
            for at in range(4):
                _, prompt = await converse((two, one)[at % 2].url, alice, f"b{at}", prompt)
            await asyncio.to_thread(one.kill)
        _, prompt = await converse(two.url, alice, "c", prompt)
        assert await asyncio.to_thread(served.stop) == 0
        # It knows both, and what cannot be written yet is written later, or was told to nobody else.
        _, ahead = await converse(two.url, alice, "d", prompt)
        assert ahead != prompt
        assert await asyncio.to_thread(two.stop) == 0
    served = await asyncio.to_thread(serve, name="api")
    async with run_daemon(folders[0], served.url, daemon_key) as three:
        told, _ = await converse(three.url, alice, "e", prompt)
        assert told["usage"]["prompt_tokens"] > 0
        assert await asyncio.to_thread(three.stop) == 0
