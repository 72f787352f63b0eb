"""The main job in figures: ten turns about three photographs, every byte counted at the sockets."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from coatcheck.cli.shaping_proxy import LinkShape, ShapingProxy
from coatcheck.client import AsyncClient, BlobNotFoundError
from coatcheck.protocol import Digest, JsonObject, decode_json, prompt_digests, ref_form
from coatcheck.protocol import dialect as named_dialect

from .deployment import make_keys, run_daemon

Fixture = Callable[..., Any]
pytestmark = pytest.mark.system

TURNS = 10
PHOTOGRAPHS = [b"\xff\xd8\xff" + random.Random(seed).randbytes(2_600_000) for seed in range(3)]
ANSWER = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"I see"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":" it."},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
MAX_HEADER_BYTES = 500  # of one answer


@asynccontextmanager
async def provider() -> AsyncGenerator[tuple[str, list[JsonObject]]]:
    """An upstream in this process; it keeps what it got."""
    seen: list[JsonObject] = []

    async def answer(request: web.Request) -> web.Response:
        body = decode_json(await request.read())
        assert isinstance(body, dict)
        seen.append(body)
        return web.Response(body=ANSWER, content_type="text/event-stream")

    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", seen
    finally:
        await runner.cleanup()


async def converse(
    url: str, key: str | None, photographs: list[bytes]
) -> tuple[list[Any], list[str]]:
    """Put the photographs, talk about them for ten turns, and count what that costs the client.

    Returns the messages of the last turn, and the refs.
    """
    port = int(url.rpartition(":")[2])
    async with (
        ShapingProxy(port, LinkShape()) as link,
        AsyncClient(link.url, key) as client,
    ):
        refs = [(await client.put(data)).ref for data in photographs]
        parts = [{"type": "image_url", "image_url": {"url": ref}} for ref in refs]
        messages: list[Any] = [
            {"role": "user", "content": [{"type": "text", "text": "Look."}, *parts]}
        ]
        asked = messages
        for turn in range(TURNS):
            before, asked = link.total, messages
            stream = await client.chat_stream(model="any", messages=messages)
            async for _ in stream:
                pass
            up = link.total.up - before.up
            down = link.total.down - before.down
            new_text = sum(len(str(item["content"])) for item in messages[-2:] if turn)
            assert turn == 0 or up <= 1000 + new_text
            assert len(ANSWER) <= down <= len(ANSWER) + MAX_HEADER_BYTES
            question = {"role": "user", "content": f"And now, the {turn}th time?"}
            messages = [*messages, stream.message, question]
        images = sum(map(len, photographs))
        assert images <= link.total.up <= 1.01 * images + 15_000
        assert link.total.down <= 15_000
    return asked, refs


def assert_inline(seen: list[JsonObject], asked: list[Any], photographs: list[bytes]) -> None:
    """The provider got what the client would have sent inline, each turn in whole."""
    assert len(seen) == TURNS
    last = seen[-1]["messages"]
    assert isinstance(last, list)
    inlined = ref_form(named_dialect("openai.chat"), last)
    assert [blob.digest for blob in inlined.inline] == [Digest.of(data) for data in photographs]
    assert prompt_digests("openai.chat", inlined.messages) == prompt_digests("openai.chat", asked)


async def test_ten_turns_cost_the_images_once_and_the_new_text(serve: Fixture) -> None:
    async with provider() as (upstream, seen):
        served = serve(f'[[upstream]]\nname = "provider"\nbase_url = "{upstream}"')
        asked, _ = await converse(served.url, None, PHOTOGRAPHS)
    assert_inline(seen, asked, PHOTOGRAPHS)


async def test_through_a_daemon_alone_images_cross_from_the_store_once(
    serve: Fixture, tmp_path: Path
) -> None:
    daemon_key, [alice, bob] = await make_keys(tmp_path / "data", "alice", "bob")
    served = await asyncio.to_thread(serve, name="api")
    store_port = int(served.url.rpartition(":")[2])
    images = sum(map(len, PHOTOGRAPHS))
    async with (
        provider() as (upstream, seen),
        ShapingProxy(store_port, LinkShape()) as link,
        run_daemon(
            tmp_path,
            link.url,
            daemon_key,
            f'[[upstream]]\nname = "provider"\nbase_url = "{upstream}"',
        ) as daemon,
    ):
        asked, refs = await converse(daemon.url, alice, PHOTOGRAPHS)
        assert_inline(seen, asked, PHOTOGRAPHS)
        assert images <= link.total.down <= 1.01 * images + 50_000

        # Bob's is another tenant: his own copy is received in full, and fetched no more.
        async with AsyncClient(daemon.url, bob) as client:
            with pytest.raises(BlobNotFoundError):
                await client.chat(model="any", messages=asked)
            for ref in refs:
                with pytest.raises(BlobNotFoundError):
                    await client.get(ref)
        seen.clear()
        before = link.total
        asked, _ = await converse(daemon.url, bob, PHOTOGRAPHS)
        assert_inline(seen, asked, PHOTOGRAPHS)
        assert link.total.up - before.up >= images
        assert link.total.down - before.down <= 50_000
        async with AsyncClient(daemon.url, alice) as client:
            before = link.total
            assert [await client.get(ref) for ref in refs] == PHOTOGRAPHS
            assert link.total.down - before.down <= 5_000
        assert await asyncio.to_thread(daemon.stop) == 0
