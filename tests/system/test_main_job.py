"""The main job in figures: ten turns about three photographs, every byte counted at the sockets."""

import random
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from coatcheck.cli.shaping_proxy import LinkShape, ShapingProxy
from coatcheck.client import AsyncClient
from coatcheck.protocol import Digest, JsonObject, decode_json, prompt_digests, ref_form
from coatcheck.protocol import dialect as named_dialect

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


async def test_ten_turns_cost_the_images_once_and_the_new_text(serve: Fixture) -> None:
    async with provider() as (upstream, seen):
        served = serve(f'[[upstream]]\nname = "provider"\nbase_url = "{upstream}"')
        port = int(served.url.rpartition(":")[2])
        async with (
            ShapingProxy(port, LinkShape()) as link,
            AsyncClient(link.url) as client,
        ):
            refs = [(await client.put(data)).ref for data in PHOTOGRAPHS]
            parts = [{"type": "image_url", "image_url": {"url": ref}} for ref in refs]
            messages: list[Any] = [
                {"role": "user", "content": [{"type": "text", "text": "Look."}, *parts]}
            ]
            for turn in range(TURNS):
                before = link.total
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
            images = sum(map(len, PHOTOGRAPHS))
            assert images <= link.total.up <= 1.01 * images + 15_000
            assert link.total.down <= 15_000

    # What the provider got is what the client would have sent inline, each turn in whole.
    assert len(seen) == TURNS
    last = seen[-1]["messages"]
    assert isinstance(last, list)
    inlined = ref_form(named_dialect("openai.chat"), last)
    assert [blob.digest for blob in inlined.inline] == [Digest.of(data) for data in PHOTOGRAPHS]
    sent = messages[: len(last)]
    assert prompt_digests("openai.chat", inlined.messages) == prompt_digests("openai.chat", sent)
